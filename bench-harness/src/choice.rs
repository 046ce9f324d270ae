use std::collections::BTreeSet;

use hypostyle::crypto::Suite;
use serde::{Deserialize, Serialize};

use crate::cli::{Arrivals, Leaders, RunArgs};
use crate::error::usage;
use crate::faults::Fault;
use crate::setting::client_window;

/// What the flags of a command leave open: one value of each list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Choice {
    /// Replicas.
    pub(crate) n: u16,
    /// Pillars.
    pub(crate) pillars: u16,
    /// Signatures.
    pub(crate) auth: Suite,
    /// Statements under one signature at most.
    pub(crate) bundle: u16,
    /// Operations a batch at most.
    pub(crate) batch_max: u32,
    /// Who leads the pillars at first.
    pub(crate) leaders: Leaders,
    /// Bytes of an operation, or of a record.
    pub(crate) payload: usize,
    /// When clients send.
    pub(crate) pace: Pace,
}

/// When clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pace {
    /// Each client keeps so many operations in flight.
    Closed {
        /// Operations in flight.
        outstanding: u32,
    },
    /// All clients together send so many a second, whatever is answered.
    Open {
        /// Operations a second.
        rate: u32,
        /// At which moments.
        arrivals: Arrivals,
    },
}

/// The largest window of a client that the configuration allows.
pub(crate) const CLIENT_WINDOW_MAX: u32 = 65_536;

impl Choice {
    /// Every combination; what varies fastest is the load.
    #[must_use]
    pub(crate) fn all(flags: &RunArgs) -> Vec<Self> {
        let mut choices = Vec::new();
        for &n in &flags.n {
            for &auth in &flags.auth {
                for &leaders in &flags.leaders {
                    for &bundle in &flags.bundle {
                        for &batch_max in &flags.batch_max {
                            for &payload in &flags.payload {
                                for &pillars in &flags.pillars {
                                    let choice = |pace| Self {
                                        n,
                                        pillars,
                                        auth,
                                        bundle,
                                        batch_max,
                                        leaders,
                                        payload,
                                        pace,
                                    };
                                    choices.extend(Pace::all(flags).map(choice));
                                }
                            }
                        }
                    }
                }
            }
        }
        choices
    }
}

impl Pace {
    fn all(flags: &RunArgs) -> Box<dyn Iterator<Item = Self> + '_> {
        if flags.rate.is_empty() {
            Box::new(flags.outstanding.iter().map(|&outstanding| Self::Closed { outstanding }))
        } else {
            Box::new(flags.rate.iter().map(|&rate| Self::Open { rate, arrivals: flags.arrivals }))
        }
    }

    /// The part of generator `index` of `count`.
    #[must_use]
    pub(crate) fn share(self, index: u32, count: u32) -> Self {
        match self {
            Self::Closed { .. } => self,
            Self::Open { rate, arrivals } => Self::Open { rate: share(rate, index, count), arrivals },
        }
    }

    /// As a part of a setting's name.
    #[must_use]
    pub(crate) fn name(self) -> String {
        match self {
            Self::Closed { outstanding } => format!("x{outstanding}"),
            Self::Open { rate, arrivals: Arrivals::Constant } => format!("c{rate}"),
            Self::Open { rate, arrivals: Arrivals::Poisson } => format!("p{rate}"),
        }
    }

    /// The load model's name in results.
    #[must_use]
    pub(crate) fn model(self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Open { arrivals: Arrivals::Constant, .. } => "constant",
            Self::Open { arrivals: Arrivals::Poisson, .. } => "poisson",
        }
    }

    /// Operations each client keeps in flight; 0 in an open loop.
    #[must_use]
    pub(crate) fn outstanding(self) -> u32 {
        match self {
            Self::Closed { outstanding } => outstanding,
            Self::Open { .. } => 0,
        }
    }

    /// Operations that are due each second; 0 in a closed loop.
    #[must_use]
    pub(crate) fn rate(self) -> u32 {
        match self {
            Self::Closed { .. } => 0,
            Self::Open { rate, .. } => rate,
        }
    }
}

/// The part of `all` that falls to `index` of `count`: equal parts but for one.
#[must_use]
pub(crate) fn share(all: u32, index: u32, count: u32) -> u32 {
    all / count + u32::from(index < all % count)
}

/// Checks what can be checked before keys are made.
///
/// # Errors
/// A usage error that names the flag and the remedy.
pub(crate) fn check_usage(flags: &RunArgs) -> anyhow::Result<()> {
    for (flag, value) in [("--clients", flags.clients), ("--repeat", flags.repeat)] {
        if value == 0 {
            return usage(format!("{flag} 0: use 1 or more"));
        }
    }
    let generators = generators(flags);
    if generators == 0 || generators > flags.clients {
        return usage(format!(
            "{generators} generators for {} clients: each needs one at least",
            flags.clients
        ));
    }
    if flags.presign.is_some() && (generators > 1 || !flags.worker.is_empty()) {
        return usage(
            "--presign with --generators or --worker: presigned requests stay in this process; leave out one",
        );
    }
    if flags.records == 0 {
        return usage("--records 0: a store needs one at least");
    }
    if flags.duration.is_zero() {
        return usage("--duration 0: nothing is measured in no time; use 1s or more");
    }
    check_faults(flags)?;
    let choices = Choice::all(flags);
    choices.iter().enumerate().try_for_each(|(index, choice)| {
        if choices[..index].contains(choice) {
            return usage("a list holds the same value twice: name each once, and repeat with --repeat");
        }
        check_choice(flags, choice)
    })
}

fn generators(flags: &RunArgs) -> u32 {
    let workers = u32::try_from(flags.worker.len()).unwrap_or(u32::MAX);
    workers.max(flags.generators.into())
}

/// More faulty replicas than f, and nothing would be acknowledged any more.
fn check_faults(flags: &RunArgs) -> anyhow::Result<()> {
    let replicas: BTreeSet<usize> = flags.fault.iter().map(Fault::replica).collect();
    let n = usize::from(flags.n.iter().copied().min().unwrap_or(0));
    let f = n.saturating_sub(1) / 3;
    if replicas.len() > f || replicas.last().is_some_and(|&last| last >= n) {
        return usage(format!(
            "--fault: {n} replicas, 0 to {}, bear faults of {f} of them",
            n.saturating_sub(1)
        ));
    }
    if flags.presign.is_some() && !flags.fault.is_empty() {
        return usage(
            "--fault with --presign: the window ends when requests are used up, perhaps before the fault; leave out one",
        );
    }
    if let Some(late) = flags.fault.iter().find(|fault| fault.end() >= flags.duration) {
        return usage(format!("--fault {late}: it must be over within the window of --duration"));
    }
    Ok(())
}

fn check_choice(flags: &RunArgs, choice: &Choice) -> anyhow::Result<()> {
    let n = choice.n;
    if n < 4 || !(n - 1).is_multiple_of(3) {
        return usage(format!("--n {n}: f faults need 3f+1 replicas; use 4, 7, 10..."));
    }
    if choice.batch_max == 0 {
        return usage("--batch-max 0: use 1 or more");
    }
    let outstanding = match choice.pace {
        Pace::Closed { outstanding: 0 } => return usage("--outstanding 0: use 1 or more"),
        Pace::Open { rate, .. } if rate < generators(flags) => {
            return usage(format!(
                "--rate {rate}: use 1 or more for each of {} generators",
                generators(flags)
            ));
        }
        pace => pace.outstanding(),
    };
    let needed = u64::from(flags.clients) * u64::from(outstanding.max(1)) * 2;
    if let Some(count) = flags.presign.filter(|&count| count < needed) {
        return usage(format!(
            "--presign={count}: too few for {} clients with {outstanding} operations outstanding each; use {needed} or more",
            flags.clients,
        ));
    }
    let window = client_window(flags, choice);
    if window < outstanding {
        return usage(format!(
            "--outstanding {outstanding}: more than the client window of {window}; use fewer a client and more --clients{}",
            if flags.client_window.is_some() { ", or raise --client-window" } else { "" }
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;
    use crate::setting::tests::flags;

    #[test]
    fn lists_are_combined_each_with_each() {
        let choices = Choice::all(&flags("--n 4,7 --pillars 1,2,4 --batch-max 10,100 --rate 500,1000"));
        assert_eq!(choices.len(), 2 * 3 * 2 * 2);
        assert_eq!(choices[1].pace, Pace::Open { rate: 1000, arrivals: Arrivals::Poisson });
        assert_eq!((choices[0].n, choices[23].n), (4, 7));
    }

    #[test]
    fn nonsense_is_a_usage_error_with_a_remedy() {
        for (text, word) in [
            ("--n 4,5", "4, 7, 10"),
            ("--clients 0", "--clients"),
            ("--outstanding 100 --client-window 50", "--client-window"),
            ("--outstanding 70000", "--clients"),
            ("--presign=10", "1600"),
            ("--duration 0s", "--duration"),
            ("--rate 1000,0", "--rate"),
            ("--batch-max 0", "--batch-max"),
            ("--fault crash:0@1s --fault crash:1@2s", "1 of them"),
            ("--fault crash:4@1s", "0 to 3"),
            ("--clients 2 --generators 3", "each needs one"),
            ("--generators 2 --presign", "leave out one"),
            ("--fault pause:0@1s+5s", "within the window"),
            ("--fault crash:0@1s --presign", "leave out one"),
            ("--rate 1 --generators 2", "each of 2"),
            ("--pillars 1,2,1", "--repeat"),
        ] {
            let error = check_usage(&flags(text)).expect_err(text);
            assert!(exit_code(&error) == 2 && error.to_string().contains(word), "{text}: {error}");
        }
    }
}
