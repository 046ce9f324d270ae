//! What a search came to: the object of `--json`, the profile, and a table for a person. Pure.

use std::fmt::Write as _;
use std::path::PathBuf;

use hypostyle::config::{self, Figures, Machine, Measured, Profile, Workload};
use hypostyle_bench::environment::Environment;
use hypostyle_bench::point::Point;
use hypostyle_bench::reference::SuiteCost;
use hypostyle_bench::summary::Spread;
use serde::Serialize;

use crate::search::{Reason, Search, Trial};
use crate::settings::Settings;
use crate::stages::Bottleneck;

/// What a search came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was looked for.
    pub target: String,
    /// The default, measured beside the chosen settings.
    pub default: Measurement,
    /// The chosen settings; the default's figures again where it is kept.
    pub chosen: Measurement,
    /// Why these.
    pub reason: Reason,
    /// Every measurement, in the order in which they were made.
    pub trials: Vec<Trial>,
    /// Measurements that are marked as no result: a noisy machine, a generator that was the bottleneck.
    pub marked: usize,
    /// Whether the time, or a person, ended the search early.
    pub interrupted: bool,
    /// CPU time of a signature and a verification here.
    pub suite: SuiteCost,
    /// The profile.
    pub profile: PathBuf,
    /// Where the other files are.
    pub files: PathBuf,
}

/// The repetitions of one setting.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// What was measured.
    pub settings: Settings,
    /// Repetitions: of the final where there was one, else all.
    pub repeats: usize,
    /// Operations a second.
    pub throughput_ops_per_s: Spread,
    /// Latency of 99 of 100 operations, µs.
    pub latency_us_p99: Spread,
    /// Σ over the replicas, raw, CPU-µs.
    pub replica_cpu_us_per_op: Spread,
    /// Which stage is the bottleneck: of the repetition with the median throughput.
    pub bottleneck: Bottleneck,
}

/// What belongs to the machine and the command rather than to the search.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    /// The machine.
    pub environment: &'a Environment,
    /// A signature and a verification here.
    pub suite: SuiteCost,
    /// The exact command.
    pub command: Vec<String>,
    /// Commit of the sources.
    pub commit: String,
    /// When, in UTC.
    pub date: String,
}

impl Measurement {
    /// Of the points of these settings. `measured` has a point for each trial of the search that was valid.
    fn of(
        search: &Search,
        measured: &[Option<Point>],
        settings: Settings,
        place: &Circumstances<'_>,
    ) -> Option<Self> {
        let mut points: Vec<&Point> =
            search.counted(settings).filter_map(|index| measured.get(index)?.as_ref()).collect();
        points.sort_by(|a, b| a.throughput_ops_per_s.total_cmp(&b.throughput_ops_per_s));
        let middle = points.get(points.len() / 2)?;
        let spread = |value: fn(&Point) -> f64| Spread::of(points.iter().map(|point| value(point)).collect());
        Some(Self {
            settings,
            repeats: points.len(),
            throughput_ops_per_s: spread(|point| point.throughput_ops_per_s),
            latency_us_p99: spread(|point| point.latency_us.p99),
            replica_cpu_us_per_op: spread(|point| point.replica_cpu_us_per_op),
            bottleneck: Bottleneck::of(middle, place.suite, place.environment.cores),
        })
    }

    fn figures(&self) -> Figures {
        Figures {
            repeats: u32::try_from(self.repeats).ok(),
            ops_per_s: whole(self.throughput_ops_per_s.median),
            ops_per_s_min: whole(self.throughput_ops_per_s.min),
            ops_per_s_max: whole(self.throughput_ops_per_s.max),
            p99_us: whole(self.latency_us_p99.median),
            replica_cpu_ns_per_op: whole(self.replica_cpu_us_per_op.median * 1e3),
        }
    }
}

impl Report {
    /// Of a search and the points of its trials; `None` when the default was never measured.
    #[must_use]
    pub fn of(
        search: &Search,
        measured: &[Option<Point>],
        place: &Circumstances<'_>,
        target: String,
        (profile, files): (PathBuf, PathBuf),
    ) -> Option<Self> {
        let verdict = search.verdict();
        Some(Self {
            target,
            default: Measurement::of(search, measured, search.default(), place)?,
            chosen: Measurement::of(search, measured, verdict.chosen, place)?,
            reason: verdict.reason,
            trials: search.trials().to_vec(),
            marked: measured.iter().flatten().filter(|point| !point.marks.is_empty()).count(),
            interrupted: false,
            suite: place.suite,
            profile,
            files,
        })
    }

    /// What `replica` and `hypostyle-bench run` read.
    #[must_use]
    pub fn profile(&self, workload: Workload, place: &Circumstances<'_>) -> Profile {
        let Environment { cpu_model, cores, kernel, memory_mb, .. } = place.environment;
        let machine = Machine {
            cpu_model: Some(cpu_model.clone()),
            cores: u32::try_from(*cores).ok(),
            kernel: Some(kernel.clone()),
            memory_mb: u32::try_from(*memory_mb).ok(),
        };
        let measured = Measured {
            target: Some(self.target.clone()),
            command: Some(place.command.join(" ")),
            commit: Some(place.commit.clone()),
            date: Some(place.date.clone()),
            default: self.default.figures(),
            chosen: self.chosen.figures(),
        };
        Profile { why: Some(self.why()), workload, machine, measured, ..self.chosen.settings.profile() }
    }

    fn why(&self) -> String {
        let mut why = self.conclusion();
        if self.reason == Reason::NoWorse {
            let _ = write!(why, "\nchosen: {}", self.chosen.bottleneck.why);
        }
        let _ = write!(why, "\ndefault: {}", self.default.bottleneck.why);
        if self.marked > 0 {
            let (marked, all) = (self.marked, self.trials.len());
            let _ = write!(why, "\n{marked} of {all} measurements are marked as no result: see points.csv");
        }
        if self.interrupted {
            why.push_str("\nthe search was ended early");
        }
        why
    }

    fn conclusion(&self) -> String {
        match self.reason {
            Reason::NoWorse => {
                let ratio = |value: fn(&Measurement) -> f64| value(&self.chosen) / value(&self.default);
                format!(
                    "{:.2} times the default's throughput, {:.2} times its p99, {:.2} times its CPU time, measured in turn",
                    ratio(|m| m.throughput_ops_per_s.median),
                    ratio(|m| m.latency_us_p99.median),
                    ratio(|m| m.replica_cpu_us_per_op.median),
                )
            }
            Reason::NothingBetter => "the default is kept: nothing beside it was better".to_owned(),
            Reason::WorseInFinal => {
                "the default is kept: what seemed better measured worse, in turn with it".to_owned()
            }
            Reason::NoTime => {
                "the default is kept: no time was left to measure another in turn with it".to_owned()
            }
        }
    }

    /// The figures for a person.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (name, one) in [("default", &self.default), ("chosen", &self.chosen)] {
            let Spread { median, min, max } = one.throughput_ops_per_s;
            let _ = writeln!(
                out,
                "{name:<8} {median:>9.0} op/s ({min:.0}-{max:.0})  p99 {:.2} ms  {:.2} CPU-µs/op  {} repetitions\n         {}",
                one.latency_us_p99.median / 1e3,
                one.replica_cpu_us_per_op.median,
                one.repeats,
                one.settings,
            );
        }
        let _ = write!(out, "\n{}\n\nprofile: {}", self.why(), self.profile.display());
        out
    }
}

/// The workload of these flags, as a profile says it.
#[must_use]
pub fn workload(flags: &hypostyle_bench::cli::RunArgs) -> Workload {
    use hypostyle_bench::cli::{ClientAuth, Replies};
    Workload {
        n: flags.n.first().copied(),
        auth: flags.auth.first().copied(),
        client_auth: Some(match flags.client_auth {
            ClientAuth::Signature => config::ClientAuth::Signature,
            ClientAuth::Mac => config::ClientAuth::Mac,
        }),
        replies: Some(match flags.replies {
            Replies::Merkle => config::Replies::Merkle,
            Replies::Each => config::Replies::Each,
        }),
        clients: Some(flags.clients),
        outstanding: flags.outstanding.first().copied(),
        payload: flags.payload.first().and_then(|&bytes| u32::try_from(bytes).ok()),
        reply_bytes: u32::try_from(flags.reply_bytes).ok(),
        presign: u32::try_from(flags.presign.unwrap_or(0)).ok(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is held within the range")]
fn whole(value: f64) -> Option<u32> {
    value.is_finite().then(|| value.round().clamp(0.0, f64::from(u32::MAX)) as u32)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::search::{Part, Took};

    use super::*;
    use crate::settings::tests::{DEFAULT, small};
    use crate::testing::point;

    /// A search in which twice the batch brings a quarter more, and the points of its trials.
    fn searched(gain: f64, pairs: usize) -> (Search, Vec<Option<Point>>) {
        let mut search = Search::new(small(), DEFAULT, Duration::from_secs(1));
        let mut points = Vec::new();
        while let Some(settings) = search.next(Duration::from_secs(100_000)) {
            if points.len() > 400
                || search.trials().iter().filter(|t| t.part == Part::Final).count() >= 2 * pairs
            {
                break;
            }
            let ops = if settings.batch_max == 800 { 1000.0 * gain } else { 1000.0 };
            let mut one = point();
            one.throughput_ops_per_s = ops;
            one.replica_cpu_us_per_op = 4.0;
            search.record(Some(ops), Took::default());
            points.push(Some(one));
        }
        (search, points)
    }

    fn report(gain: f64, pairs: usize) -> (Report, Profile) {
        let environment = Environment::now(1024);
        let place = Circumstances {
            environment: &environment,
            suite: SuiteCost { sign_us: 261.0, verify_us: 13.0 },
            command: vec!["hypostyle-tune".into(), "--budget".into(), "2m".into()],
            commit: "c".into(),
            date: "2026-11-21T00:00:00Z".into(),
        };
        let (search, points) = searched(gain, pairs);
        let report =
            Report::of(&search, &points, &place, "throughput".into(), ("p.toml".into(), "files".into()))
                .expect("measured");
        let profile = report.profile(Workload::default(), &place);
        (report, profile)
    }

    #[test]
    fn a_profile_tells_default_and_chosen_of_the_final() {
        let (report, profile) = report(1.25, 3);
        assert_eq!((report.reason, report.default.repeats, report.chosen.repeats), (Reason::NoWorse, 3, 3));
        assert_eq!((profile.cluster.batch_max, profile.cluster.pillars), (Some(800), Some(1)));
        assert_eq!(
            (profile.measured.default.ops_per_s, profile.measured.chosen.ops_per_s),
            (Some(1000), Some(1250))
        );
        let why = profile.why.clone().expect("it says why");
        assert!(why.starts_with("1.25 times the default's throughput"), "{why}");
        assert!(why.contains("\nchosen: ") && why.contains("\ndefault: "), "{why}");
        let reread = Profile::parse(&profile.to_toml(), "p.toml").expect("it reads back");
        assert_eq!(reread, profile);
    }

    #[test]
    fn a_kept_default_says_so() {
        let (report, profile) = report(0.9, 3);
        assert_eq!(report.reason, Reason::NothingBetter);
        assert_eq!(profile.cluster.batch_max, Some(400));
        assert!(profile.why.expect("why").starts_with("the default is kept"));
        assert!(report.text().contains("profile: p.toml"));
    }

    #[test]
    fn json_has_the_medians_of_both() {
        let json = serde_json::to_value(report(1.25, 3).0).expect("serializes");
        assert_eq!(json["default"]["throughput_ops_per_s"]["median"], 1000.0);
        assert_eq!(json["chosen"]["settings"]["batch_max"], 800);
        assert_eq!(json["chosen"]["settings"]["workers"], "auto");
        assert_eq!(json["reason"], "no_worse");
    }

    #[test]
    fn a_search_without_its_default_has_nothing_to_tell() {
        let mut search = Search::new(small(), DEFAULT, Duration::from_secs(1));
        let first = search.next(Duration::from_secs(100)).expect("the default");
        assert_eq!(first, DEFAULT);
        search.record(None, Took::default());
        let environment = Environment::now(1024);
        let suite = SuiteCost { sign_us: 1.0, verify_us: 1.0 };
        let place = Circumstances {
            environment: &environment,
            suite,
            command: Vec::new(),
            commit: String::new(),
            date: String::new(),
        };
        let places = (PathBuf::new(), PathBuf::new());
        assert!(Report::of(&search, &[None], &place, "throughput".into(), places).is_none());
    }
}
