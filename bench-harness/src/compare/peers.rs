use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use super::ours::{self, Ours};
use crate::bench::{Places, settings_alone};
use crate::children;
use crate::cli::{CompareArgs, PeerArg};
use crate::environment::{self, Environment};
use crate::error::{Failure, usage};
use crate::files::{Files, Manifest};
use crate::measure::Measured;
use crate::peers::{self, Auth, Install, Launcher, Limits, PeerPoint, PeerWork, System};
use crate::point::Point;
use crate::progress::Progress;

/// Ours beside other systems: the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// R, T or D.
    pub setting: Auth,
    /// Who signs what in ours.
    pub signed: String,
    /// Our measurements.
    pub points: Vec<Point>,
    /// Those of the others.
    pub peers: Vec<PeerPoint>,
    /// Who gave no figures, and why.
    pub failed: Vec<Failed>,
    /// The exact command.
    pub command: Vec<String>,
    /// Commit of the sources.
    pub commit: String,
    /// The machine.
    pub environment: Environment,
    /// Where the files are.
    pub files: PathBuf,
}

/// Why a system gave no figures, or none any more.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// The system's name.
    pub system: String,
    /// Its measurements before.
    pub repeats_before: u32,
    /// The reason.
    pub error: String,
}

/// A peer as long as it gives figures.
struct Peer {
    system: System,
    install: Install,
}

/// Measures ours and the peers that `flags` name, interleaved. The second value is a failed check when one of them gave
/// no figures: the report holds what the rest gave.
///
/// # Errors
/// When nothing could be measured at all.
pub fn peers(
    flags: &CompareArgs,
    places: &Places,
    progress: &Progress,
) -> anyhow::Result<(Report, Option<anyhow::Error>)> {
    check_systems(&flags.peer)?;
    let open_files = children::raise_open_files();
    let environment = Environment::now(open_files);
    let ours = Ours::prepare(flags, places, open_files, progress)?;
    let configuration = settings_alone(&ours.setting().cluster);
    let limits = Limits { start: flags.start_timeout, stall: flags.stall_timeout };
    let launcher = Launcher::new(&places.program, &places.cache.join("bench-run"), limits)?;
    let files = places.files(&flags.output)?;
    let began = SystemTime::now();
    let mut report = Report {
        setting: flags.setting,
        signed: ours::signed(flags.setting).to_owned(),
        points: Vec::new(),
        peers: Vec::new(),
        failed: Vec::new(),
        command: std::env::args().collect(),
        commit: environment::commit(),
        environment,
        files: files.directory().to_owned(),
    };
    measure(flags, progress, ours, launcher, &files, &mut report)?;
    let error = check(&report).err();
    files.write_manifest(&Manifest {
        command: &report.command,
        commit: &report.commit,
        program: &environment::program(),
        began,
        environment: &report.environment,
        configurations: &[configuration],
        points: report.points.len() + report.peers.len(),
        error: error.as_ref().map(ToString::to_string),
    })?;
    Ok((report, error))
}

fn check_systems(peers: &[PeerArg]) -> anyhow::Result<()> {
    if peers.is_empty() {
        return usage("nothing to compare: name two results of ours, or other systems with --peer NAME=DIR");
    }
    for (index, peer) in peers.iter().enumerate() {
        if peers[..index].iter().any(|before| before.system == peer.system) {
            return usage(format!("--peer {} is given twice: one install each", peer.system.flag()));
        }
    }
    Ok(())
}

fn work(flags: &CompareArgs) -> PeerWork {
    PeerWork {
        auth: flags.setting,
        clients: flags.clients,
        outstanding: flags.outstanding,
        payload: flags.payload,
        batch_max: flags.batch_max,
        pillars: flags.pillars,
        warmup: flags.warmup,
        duration: flags.duration,
    }
}

/// Who fails once is not tried again; the others go on.
fn measure(
    flags: &CompareArgs,
    progress: &Progress,
    ours: Ours,
    mut launcher: Launcher,
    files: &Files,
    report: &mut Report,
) -> anyhow::Result<()> {
    let work = work(flags);
    let mut ours = Some(ours);
    let mut peers = installed(flags, &work, report);
    for repeat in 0..flags.repeat {
        let spinner =
            |name: &str| progress.spinner(&format!("measuring {name}, {} of {}", repeat + 1, flags.repeat));
        if let Some(meter) = &mut ours {
            let bar = spinner("Hypostyle");
            let measured = meter.measure(repeat);
            bar.finish_and_clear();
            match measured {
                Ok(measured) => keep(measured, files, report)?,
                Err(error) => {
                    ours = None;
                    report.fail("Hypostyle", repeat, &error);
                }
            }
        }
        let mut left = Vec::new();
        for peer in peers {
            let bar = spinner(peer.system.name());
            let measured = peer.measure(&mut launcher, &work, repeat);
            bar.finish_and_clear();
            match measured {
                Ok(point) => {
                    report.peers.push(point);
                    files.write_columns("peers.csv", report.peers.iter().map(PeerPoint::columns))?;
                    left.push(peer);
                }
                Err(error) => report.fail(peer.system.name(), repeat, &error),
            }
        }
        peers = left;
    }
    Ok(())
}

fn keep(measured: Measured, files: &Files, report: &mut Report) -> anyhow::Result<()> {
    files.write_latencies(&measured.point, &measured.latencies, measured.began, measured.measured)?;
    report.points.push(measured.point);
    files.write_points(&report.points)
}

/// The peers that can be started; the others are told as failed.
fn installed(flags: &CompareArgs, work: &PeerWork, report: &mut Report) -> Vec<Peer> {
    let mut found = Vec::new();
    for PeerArg { system, directory } in &flags.peer {
        match peers::find(*system, directory, &flags.java, work) {
            Ok(install) => found.push(Peer { system: *system, install }),
            Err(why) => report.fail(system.name(), 0, &anyhow::anyhow!(why)),
        }
    }
    found
}

impl Peer {
    fn measure(&self, launcher: &mut Launcher, work: &PeerWork, repeat: u32) -> anyhow::Result<PeerPoint> {
        let (window, reference) = launcher.run(self.system, &self.install, work)?;
        Ok(PeerPoint::of(self.system, work, repeat, &window, reference).map_err(Failure::Invalid)?)
    }
}

impl Report {
    fn fail(&mut self, system: &str, repeats_before: u32, error: &anyhow::Error) {
        self.failed.push(Failed { system: system.to_owned(), repeats_before, error: format!("{error:#}") });
    }
}

fn check(report: &Report) -> anyhow::Result<()> {
    if report.failed.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = report.failed.iter().map(|failed| failed.system.as_str()).collect();
    Err(Failure::Check(format!("no figures, or not all, of {}", names.join(", "))).into())
}
