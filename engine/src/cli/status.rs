use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context, bail};
use clap::Args;
use hypostyle::status::{EvidenceStatus, ReplicaStatus};

use super::admin::{addresses, get};

/// Tell where replicas stand: pillars, execution, checkpoints, counters, refusals by reason.
#[derive(Args)]
#[command(after_help = "Examples:
  hypostyle status demo
  hypostyle status demo/replica-0 --json | jq .pillars
  hypostyle status 127.0.0.1:7402
  hypostyle status demo --evidence

With --json a line for each replica, one object.")]
pub(super) struct Status {
    /// Admin addresses, homes of replicas, or directories that `init` wrote.
    #[arg(default_value = ".")]
    targets: Vec<String>,
    /// Print one JSON object for each replica.
    #[arg(long)]
    json: bool,
    /// Print who has contradicted himself under his signature instead; with --json both messages whole.
    #[arg(long)]
    evidence: bool,
}

impl Status {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let addresses: Vec<_> =
            self.targets.iter().map(|target| addresses(target)).collect::<anyhow::Result<Vec<_>>>()?.concat();
        let mut silent = 0;
        for address in &addresses {
            match get(*address, if self.evidence { "/evidence" } else { "/status" }) {
                Ok(text) => self.print(&text).with_context(|| format!("{address}: no status"))?,
                Err(error) if addresses.len() == 1 => return Err(error),
                Err(error) => {
                    silent += 1;
                    eprintln!("error: {error:#}");
                }
            }
        }
        if silent > 0 {
            bail!("{silent} of {} replicas gave no status", addresses.len());
        }
        Ok(())
    }

    fn print(&self, text: &str) -> anyhow::Result<()> {
        if self.evidence {
            let evidence: Vec<EvidenceStatus> = serde_json::from_str(text)?;
            let shown =
                if self.json { serde_json::to_string(&evidence)? + "\n" } else { accusations(&evidence) };
            return Ok(std::io::stdout().write_all(shown.as_bytes())?);
        }
        let status: ReplicaStatus = serde_json::from_str(text)?;
        let shown = if self.json { serde_json::to_string(&status)? + "\n" } else { table(&status) };
        Ok(std::io::stdout().write_all(shown.as_bytes())?)
    }
}

fn accusations(evidence: &[EvidenceStatus]) -> String {
    let line = |e: &EvidenceStatus| {
        let EvidenceStatus { replica, pillar, what, digests: [first, second], .. } = e;
        format!("replica {replica} in pillar {pillar}: {what}\n  first  {first}\n  second {second}\n")
    };
    match evidence {
        [] => "no evidence against any replica\n".to_owned(),
        evidence => evidence.iter().map(line).collect(),
    }
}

fn table(status: &ReplicaStatus) -> String {
    let ReplicaStatus { mode, execution, .. } = status;
    let mut out = format!(
        "replica {} of {} in {} (configuration {}), {}\n  threads: {} workers, executor {}, {} crypto, {}\n",
        status.replica,
        status.replicas,
        status.cluster_id,
        short(&status.configuration),
        match (status.ready(), &status.recovering) {
            (true, _) => "ready",
            (false, Some(_)) => "recovering",
            (false, None) => "without a quorum of links",
        },
        mode.workers,
        mode.executor,
        mode.crypto_threads,
        if mode.pinned { "pinned" } else { "not pinned" },
    );
    if let Some(recovering) = &status.recovering {
        let _ = writeln!(out, "  recovering without its log, it may not vote: waits for {recovering}");
    } else if execution.incarnation > 0 {
        let _ = writeln!(
            out,
            "  incarnation {}: it has lost its log so often and recovered",
            execution.incarnation
        );
    }
    let _ = writeln!(
        out,
        "  executed: {} positions, {} operations; stable round {} ({}), state of round {} ({})",
        execution.executed_position,
        execution.executed_operations,
        execution.stable_round,
        short(&execution.stable_digest),
        execution.state_round,
        short(&execution.state_digest),
    );
    out.push_str("  pillar  view  primary  decided     high  in flight  owed  queued  peers\n");
    for pillar in &status.pillars {
        let _ = writeln!(
            out,
            "  {:>6}  {:>4}  {:>7}  {:>7}  {:>7}  {:>9}  {:>4}  {:>6}  {:>5}",
            pillar.pillar,
            pillar.view,
            pillar.primary,
            pillar.decided,
            pillar.decided_high,
            pillar.in_flight,
            pillar.owed,
            pillar.queued,
            pillar.peers,
        );
    }
    // All reasons exist from the start; a person wants to see those that occurred.
    let refused = status.refusals.iter().filter(|(_, count)| **count > 0).collect();
    for (title, counts) in [("counters", status.counters.iter().collect::<Vec<_>>()), ("refusals", refused)] {
        let _ = writeln!(out, "  {title}:{}", if counts.is_empty() { " none" } else { "" });
        for (name, count) in counts {
            let _ = writeln!(out, "  {count:>12}  {name}");
        }
    }
    out
}

fn short(digest: &str) -> &str {
    if digest.is_empty() { "none" } else { digest.get(..8).unwrap_or(digest) }
}
