use std::io::{BufWriter, Write};

use anyhow::{Context, bail};
use clap::Args;
use hypostyle::order_log::OrderEntry;

use super::admin::{addresses, get};

/// Print the order that a replica executed recently: position, pillar, view, digest, requests.
#[derive(Args)]
#[command(after_help = "Examples:
  hypostyle order-log demo/replica-0
  hypostyle order-log 127.0.0.1:7402 --json | jq '.[-1].requests'

The whole order, from the start, is written to the file that `order_log` names in replica.toml.")]
pub(super) struct OrderLog {
    /// An admin address or the home of a replica.
    #[arg(default_value = ".")]
    target: String,
    /// Print one JSON array, an entry a line.
    #[arg(long)]
    json: bool,
}

impl OrderLog {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let addresses = addresses(&self.target)?;
        let [address] = addresses[..] else {
            let (target, count) = (&self.target, addresses.len());
            bail!("{target}: {count} replicas\n  remedy: name one of them, such as {target}/replica-0");
        };
        let text = get(address, "/order-log")?;
        let entries: Vec<OrderEntry> =
            serde_json::from_str(&text).with_context(|| format!("{address}: no order log"))?;
        let mut out = BufWriter::new(std::io::stdout());
        if self.json {
            out.write_all(text.as_bytes())?;
        } else {
            print(&entries, &mut out)?;
        }
        Ok(out.flush()?)
    }
}

fn print(entries: &[OrderEntry], out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{:>10}  {:>6}  {:>4}  {:>10}  {:<16}  requests",
        "position", "pillar", "view", "seq", "digest"
    )?;
    for entry in entries {
        let OrderEntry { position, pillar, view, seq, .. } = entry;
        let digest = entry.digest.to_string();
        write!(
            out,
            "{position:>10}  {pillar:>6}  {view:>4}  {seq:>10}  {}  {}",
            &digest[..16],
            entry.requests.len()
        )?;
        for request in entry.requests.iter().take(SHOWN) {
            let operations = if request.count > 1 { format!("+{}", request.count) } else { String::new() };
            write!(out, "  {}:{}{operations}", request.client, request.number)?;
        }
        writeln!(out, "{}", if entry.requests.len() > SHOWN { "  …" } else { "" })?;
    }
    Ok(())
}

/// Requests shown of a slot; --json has all.
const SHOWN: usize = 8;
