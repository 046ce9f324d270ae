//! Users' own installs of other systems, driven with the same work as ours. Each system has three parts: its
//! configuration, its commands and its output, all of them pure; `launch` is the one shell that runs them.

mod bft_smart;
mod install;
mod launch;
mod output;
mod plan;
mod point;
#[cfg(test)]
mod recordings;
mod reptor;
mod themis;
mod work;

use output::{Interval, PeerLatency};
use plan::{Need, Plan, Site};

pub(crate) use install::find;
pub(crate) use launch::{Launcher, Limits};
pub use point::PeerPoint;
pub use work::{Auth, System};
pub(crate) use work::{Install, PeerWork};

/// Whose output tells how the load goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reporter {
    /// The first replica's.
    Replica,
    /// The load generator's.
    Client,
}

impl System {
    /// Who signs what with these settings, in one sentence.
    ///
    /// # Errors
    /// When the system can't do it: why.
    pub(crate) fn signed(self, auth: Auth) -> Result<&'static str, &'static str> {
        match self {
            Self::BftSmart => bft_smart::signed(auth),
            Self::Reptor => reptor::signed(auth),
            Self::Themis => themis::signed(auth),
        }
    }

    /// Why this work can't be given to the system, if it can't.
    fn refuse(self, work: &PeerWork) -> Result<(), String> {
        self.signed(work.auth)?;
        match self {
            Self::BftSmart | Self::Themis => Ok(()),
            Self::Reptor => reptor::refuse(work),
        }
    }

    /// What an install must hold for this work.
    fn needs(self, work: &PeerWork) -> Vec<Need> {
        match self {
            Self::BftSmart => bft_smart::needs(),
            Self::Reptor => reptor::needs(work),
            Self::Themis => themis::needs(),
        }
    }

    fn is_java(self) -> bool {
        self != Self::Themis
    }

    /// Free addresses that a run needs.
    fn addresses(self) -> usize {
        match self {
            Self::BftSmart => bft_smart::ADDRESSES,
            Self::Reptor => reptor::ADDRESSES,
            Self::Themis => themis::ADDRESSES,
        }
    }

    /// What is written and started for a run.
    ///
    /// # Errors
    /// When a file of the install can't be used.
    fn plan(self, work: &PeerWork, site: Site<'_>) -> anyhow::Result<Plan> {
        match self {
            Self::BftSmart => Ok(bft_smart::plan(work, site)),
            Self::Reptor => reptor::plan(work, site),
            Self::Themis => themis::plan(work, site),
        }
    }

    /// Whether a replica that has printed this is ready for clients.
    fn replica_is_ready(self, output: &str) -> bool {
        match self {
            Self::BftSmart => bft_smart::output::is_ready(output),
            Self::Reptor => reptor::output::is_ready(output),
            Self::Themis => themis::output::is_ready(output),
        }
    }

    /// Whether a load generator that has printed this waits for the datagram that begins the run.
    fn client_is_ready(self, output: &str) -> bool {
        self != Self::Reptor || reptor::output::is_ready(output)
    }

    /// Whether every client of a load generator that has printed this is at work.
    fn load_has_begun(self, output: &str) -> bool {
        match self {
            Self::BftSmart => bft_smart::output::load_has_begun(output),
            Self::Reptor => reptor::output::load_has_begun(output),
            Self::Themis => themis::output::load_has_begun(output),
        }
    }

    /// Checks that a replica that is ready authenticates as it was asked to, where it tells.
    fn check_authentication(self, auth: Auth, output: &str) -> Result<(), String> {
        match self {
            Self::Reptor => reptor::output::check_certification(auth, output),
            Self::BftSmart | Self::Themis => Ok(()),
        }
    }

    /// Whose output [`Self::intervals`] reads.
    fn reporter(self) -> Reporter {
        match self {
            Self::BftSmart => Reporter::Replica,
            Self::Reptor | Self::Themis => Reporter::Client,
        }
    }

    /// The stretches of a run that its output tells of so far, in order.
    fn intervals(self, output: &str) -> Vec<Interval> {
        match self {
            Self::BftSmart => bft_smart::output::intervals(output),
            Self::Reptor => reptor::output::intervals(output),
            Self::Themis => themis::output::intervals(output),
        }
    }

    /// Latencies of a window: from its intervals, or from what the load generator printed in it.
    fn latency(self, window: &[Interval], client: &str) -> PeerLatency {
        match self {
            Self::BftSmart => bft_smart::output::latency(client),
            Self::Reptor => output::latency_of_intervals(window, "every operation; the greatest of them too"),
            Self::Themis => output::latency_of_intervals(
                window,
                "every operation, each cut to whole ms, averaged over 3 s; the client takes replies in order",
            ),
        }
    }

    /// Pillars that order its requests.
    fn pillars(self, work: &PeerWork) -> u16 {
        match self {
            Self::Reptor => work.pillars,
            Self::BftSmart | Self::Themis => 1,
        }
    }

    /// How its load generator keeps operations in flight, where it differs from ours.
    fn load_note(self, work: &PeerWork) -> String {
        match self {
            Self::BftSmart => bft_smart::load_note(work),
            Self::Reptor => "closed: one load thread for all clients".to_owned(),
            Self::Themis => "closed: a thread each client; requests go to the primary only".to_owned(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::point::tests::example;
}
