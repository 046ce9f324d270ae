//! The shell around the search: measures what it asks for, watches the time, writes what was found.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use clap::ArgMatches;
use hypostyle::config::{Count, Executor, Threads};
use hypostyle_bench::bench::Places;
use hypostyle_bench::children;
use hypostyle_bench::cli::{self, Auto, RunArgs};
use hypostyle_bench::environment;
use hypostyle_bench::error::{invalid, usage};
use hypostyle_bench::point::Point;
use hypostyle_bench::profile::{count, executor, is_given};
use hypostyle_bench::progress::Progress;
use hypostyle_bench::reference::SuiteCost;
use hypostyle_bench::trials::Trials;

use crate::cli::TuneArgs;
use crate::report::{Circumstances, Report, workload};
use crate::search::{Search, Took};
use crate::settings::{AXES, Axis, Settings, Space};
use crate::target::Target;

/// Searches until nothing is better, the time is up, or somebody interrupts. The time counts from `began`. The second value
/// is whether somebody did.
///
/// Call it from a thread that lives as long as the replicas should, usually the main one.
///
/// # Errors
/// A usage error when flags make no sense; else when the default can't be measured or the files can't be written.
pub fn run(
    arguments: &TuneArgs,
    matches: &ArgMatches,
    places: &Places,
    progress: &Progress,
    began: Instant,
) -> anyhow::Result<(Report, bool)> {
    check_usage(&arguments.run, matches)?;
    let flags = with_window(&arguments.run, arguments.budget, matches);
    // A trial that hangs is noticed when its window ends.
    let tail = flags.duration + TAIL;
    let stop = Stop::at(began + arguments.budget.saturating_sub(tail))?;

    let mut trials = Trials::open(&flags, places, progress)?;
    let suite = SuiteCost::measure(flags.auth[0])?;
    let axes =
        AXES.into_iter().filter(|axis| !flags_of(*axis).iter().any(|flag| is_given(matches, flag))).collect();
    let space = Space::of_machine(trials.environment().cores, flags.n[0].into(), axes);
    let mut search = Search::new(space, settings(&flags), flags.warmup + flags.duration + OVERHEAD);
    let found = measure_all(&mut search, &mut trials, (&flags, arguments.target), progress, &stop);
    let (points, ended) = match found {
        Ok(found) => found,
        Err(error) => {
            trials.finish(Some(format!("{error:#}")))?;
            return Err(error);
        }
    };
    trials.finish(ended.map(|by| by.to_string()))?;
    let place = Circumstances {
        environment: trials.environment(),
        suite,
        command: std::env::args().collect(),
        commit: environment::commit(),
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
    };
    let files = trials.directory().to_owned();
    let profile = arguments.profile_out.clone().unwrap_or_else(|| files.join("profile.toml"));
    let target = arguments.target.to_string();
    let Some(mut report) = Report::of(&search, &points, &place, target, (profile.clone(), files.clone()))
    else {
        let why = ended.map_or_else(String::new, |by| format!(": {by}"));
        return invalid(format!(
            "the default was not measured once{why}; run it again, or give it a longer --budget"
        ));
    };
    report.interrupted = ended.is_some();
    write(&profile, &report.profile(workload(&flags), &place).to_toml())?;
    write(&files.join("tune.json"), &serde_json::to_string_pretty(&report)?)?;
    Ok((report, ended == Some(EndedBy::Person)))
}

/// What an end takes: files, and a commit asked of git.
const TAIL: Duration = Duration::from_secs(1);
/// What starting, comparing and ending replicas takes, as a first guess.
const OVERHEAD: Duration = Duration::from_secs(2);

/// Runs of the default that may be invalid before it is believed that all are.
const DEFAULT_TRIES: u32 = 3;

/// The point of each trial of `search`, `None` where the run was invalid; and who ended it early.
fn measure_all(
    search: &mut Search,
    trials: &mut Trials<'_>,
    (flags, target): (&RunArgs, Target),
    progress: &Progress,
    stop: &Stop,
) -> anyhow::Result<(Vec<Option<Point>>, Option<EndedBy>)> {
    let mut points: Vec<Option<Point>> = Vec::new();
    let mut failed = 0;
    while let Some(settings) = search.next(stop.left()) {
        let flags = with_settings(flags, settings);
        let start = Instant::now();
        let prepared = trials.prepare(&flags);
        let preparing = start.elapsed();
        let spinner = progress.spinner(&format!("{} s left; measuring {settings}", stop.left().as_secs()));
        let measured = prepared.and_then(|()| trials.measure(&flags).cloned());
        spinner.finish_and_clear();
        if let Some(by) = stop.asked() {
            return Ok((points, Some(by)));
        }
        let point = match measured {
            // Without the default there is nothing to compare with: on a noisy machine one run may be invalid.
            Err(error) if points.is_empty() => {
                failed += 1;
                if failed == DEFAULT_TRIES {
                    return Err(error.context("the default"));
                }
                continue;
            }
            measured => measured.ok(),
        };
        let took = Took { preparing, measuring: start.elapsed().saturating_sub(preparing) };
        search.record(point.as_ref().map(|point| target.score(point)), took);
        points.push(point);
    }
    Ok((points, None))
}

/// Ends the search before it is over, at the deadline or when somebody asks: ends the replicas, so that the measurement that goes
/// on fails at once.
#[derive(Clone)]
struct Stop {
    deadline: Instant,
    asked: Arc<AtomicU8>,
}

/// Who ended a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndedBy {
    Deadline,
    Person,
}

const NOBODY: u8 = 0;
const DEADLINE: u8 = 1;
const PERSON: u8 = 2;

impl Stop {
    /// From now on Ctrl-C, SIGTERM and SIGHUP stop the search, and so does the deadline. A second signal ends the program
    /// as it stands.
    fn at(deadline: Instant) -> anyhow::Result<Self> {
        let stop = Self { deadline, asked: Arc::default() };
        let (on_signal, on_time) = (stop.clone(), stop.clone());
        ctrlc::set_handler(move || {
            if on_signal.asked.swap(PERSON, SeqCst) == PERSON {
                std::process::exit(130);
            }
            children::end_all();
        })?;
        std::thread::Builder::new().name("deadline".into()).spawn(move || {
            while !on_time.left().is_zero() {
                std::thread::park_timeout(on_time.left());
            }
            if on_time.asked.compare_exchange(NOBODY, DEADLINE, SeqCst, SeqCst).is_ok() {
                children::end_all();
            }
        })?;
        Ok(stop)
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn asked(&self) -> Option<EndedBy> {
        match self.asked.load(SeqCst) {
            NOBODY => None,
            DEADLINE => Some(EndedBy::Deadline),
            _ => Some(EndedBy::Person),
        }
    }
}

impl std::fmt::Display for EndedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Deadline => "the time was up in the middle of a measurement",
            Self::Person => "interrupted",
        })
    }
}

fn check_usage(flags: &RunArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    for (flag, values) in [
        ("n", flags.n.len()),
        ("auth", flags.auth.len()),
        ("pillars", flags.pillars.len()),
        ("batch-max", flags.batch_max.len()),
        ("bundle", flags.bundle.len()),
        ("leaders", flags.leaders.len()),
        ("payload", flags.payload.len()),
        ("outstanding", flags.outstanding.len()),
    ] {
        if values != 1 {
            return usage(format!("--{flag}: give one value to keep it; what isn't given is searched"));
        }
    }
    for (flag, why) in [
        ("repeat", "the search decides what it repeats"),
        ("profile", "it makes one"),
        ("rate", "it finds what the most throughput is"),
        ("fault", "a profile is for replicas that work"),
        ("workload", "a profile is of the null service"),
        ("memory_limit", "a profile doesn't keep it"),
        ("generators", "a profile doesn't keep it"),
        ("worker", "a profile doesn't keep it"),
    ] {
        if is_given(matches, flag) {
            return usage(format!("--{flag} is a flag of `hypostyle-bench run`: leave it out here, {why}"));
        }
    }
    Ok(())
}

/// With a window and a warm-up that leave time for some fifty trials, where none are given.
fn with_window(flags: &RunArgs, budget: Duration, matches: &ArgMatches) -> RunArgs {
    let mut flags = flags.clone();
    if !is_given(matches, "duration") {
        flags.duration = (budget / 100).clamp(Duration::from_millis(300), Duration::from_secs(3));
    }
    if !is_given(matches, "warmup") {
        flags.warmup = (flags.duration / 2).clamp(Duration::from_millis(200), Duration::from_secs(1));
    }
    flags
}

/// The flags that keep an axis as it is.
fn flags_of(axis: Axis) -> &'static [&'static str] {
    match axis {
        Axis::Pillars => &["pillars"],
        Axis::BatchMax => &["batch_max"],
        Axis::Workers => &["workers", "executor"],
        Axis::CryptoThreads => &["crypto_threads"],
        Axis::Bundle => &["bundle"],
        Axis::Pipeline => &["pipeline"],
    }
}

fn settings(flags: &RunArgs) -> Settings {
    let count = |auto| match auto {
        Auto::Auto => Count::Auto,
        Auto::Fixed(threads) => Count::Fixed(threads),
    };
    let executor = match flags.executor {
        cli::Executor::Auto => Executor::Auto,
        cli::Executor::Inline => Executor::Inline,
        cli::Executor::Thread => Executor::Thread,
    };
    Settings {
        pillars: flags.pillars[0],
        batch_max: flags.batch_max[0],
        bundle: flags.bundle[0],
        pipeline: flags.pipeline,
        threads: Threads {
            workers: count(flags.workers),
            executor,
            crypto_threads: count(flags.crypto_threads),
        },
    }
}

fn with_settings(flags: &RunArgs, settings: Settings) -> RunArgs {
    let Settings { pillars, batch_max, bundle, pipeline, threads } = settings;
    RunArgs {
        pillars: vec![pillars],
        batch_max: vec![batch_max],
        bundle: vec![bundle],
        pipeline,
        workers: count(threads.workers),
        executor: executor(threads.executor),
        crypto_threads: count(threads.crypto_threads),
        ..flags.clone()
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("{}: cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::FromArgMatches as _;
    use hypostyle_bench::error::exit_code;

    fn parse(arguments: &str) -> (TuneArgs, ArgMatches) {
        let words = ["hypostyle-tune"].into_iter().chain(arguments.split_whitespace());
        let matches = Cli::described().try_get_matches_from(words).expect("parses");
        (Cli::from_arg_matches(&matches).expect("parses").tune, matches)
    }

    #[test]
    fn settings_go_into_flags_and_come_back() {
        let (arguments, _) = parse("--pillars 2 --workers 2 --executor thread --batch-max 100");
        let found = settings(&arguments.run);
        assert_eq!((found.pillars, found.batch_max), (2, 100));
        let again = with_settings(&parse("").0.run, found);
        assert_eq!(settings(&again), found);
    }

    #[test]
    fn the_window_follows_the_budget_unless_it_is_given() {
        let window = |text: &str| {
            let (arguments, matches) = parse(text);
            let flags = with_window(&arguments.run, arguments.budget, &matches);
            (flags.warmup.as_millis(), flags.duration.as_millis())
        };
        assert_eq!(window("--budget 2m"), (600, 1200));
        assert_eq!(window("--budget 10s"), (200, 300));
        assert_eq!(window("--budget 2h"), (1000, 3000));
        assert_eq!(window("--budget 10s --duration 5s --warmup 0"), (0, 5000));
    }

    #[test]
    fn flags_that_mean_nothing_here_are_refused() {
        for wrong in ["--pillars 1,2", "--repeat 3", "--profile x.toml"] {
            let (arguments, matches) = parse(wrong);
            let refused = check_usage(&arguments.run, &matches).expect_err(wrong);
            assert_eq!(exit_code(&refused), 2, "{refused}");
        }
    }
}
