use clap::Parser as _;

use crate::bench::Report;
use crate::cli::{Cli, Command, DemoArgs, RunArgs};
use crate::error::Failure;
use crate::point::Point;

/// What `demo` measures: the setting that the project is about, short. Given as flags of `run`, so that a reader can
/// repeat and vary it.
const FLAGS: &str = "run --n 4 --pillars 1,2 --auth rsa-2048 --replies merkle --bundle 64 --batch-max 100 \
                     --clients 8 --outstanding 100 --presign=36000 --warmup 1s --duration 3s --accept-marks";

/// The flags of `run` that `demo` stands for.
///
/// # Panics
/// Never: the flags are constant, and a test parses them.
#[must_use]
pub fn flags(arguments: &DemoArgs) -> RunArgs {
    let cli = Cli::parse_from(std::iter::once("hypostyle-bench").chain(FLAGS.split_whitespace()));
    let Command::Run(run) = cli.command else { unreachable!("the flags begin with run") };
    RunArgs { output: arguments.output.clone(), ..*run }
}

/// The command that repeats the demo's measurement.
#[must_use]
pub fn command() -> String {
    format!("hypostyle-bench {FLAGS}")
}

/// What must hold whatever the machine: replicas verified every client's signature, and seals spread the cost of their own
/// signatures over many operations.
///
/// # Errors
/// A failed check, with the figure that failed it.
pub fn check(report: &Report) -> anyhow::Result<()> {
    report.points.iter().try_for_each(|point| Ok(check_point(point).map_err(Failure::Check)?))
}

fn check_point(point: &Point) -> Result<(), String> {
    let place = format!("P = {}", point.pillars);
    if point.verifications_per_op < f64::from(point.n) {
        return Err(format!(
            "{place}: {} verifications an operation; {} replicas must each verify every client's signature",
            point.verifications_per_op, point.n
        ));
    }
    if point.signatures_per_op > f64::from(point.n) {
        return Err(format!(
            "{place}: {} signatures an operation; seals should spread their cost",
            point.signatures_per_op
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::check_usage;
    use crate::cli::OutputArgs;
    use crate::point::tests::example;

    #[test]
    fn the_demo_is_a_run_of_one_and_two_pillars() {
        let output = OutputArgs { json: true, out: None };
        let flags = flags(&DemoArgs { output });
        check_usage(&flags).expect("sensible");
        assert_eq!(flags.pillars, [1, 2]);
        assert!(flags.output.json && command().contains("--pillars 1,2"));
    }

    #[test]
    fn unverified_requests_fail_the_demo() {
        assert_eq!(check_point(&example()), Ok(()));
        assert!(check_point(&Point { verifications_per_op: 3.0, ..example() }).is_err());
        assert!(check_point(&Point { signatures_per_op: 8.0, ..example() }).is_err());
    }
}
