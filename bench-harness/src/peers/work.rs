use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A system that a comparison can drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// BFT-SMaRt 2.0 (Java).
    BftSmart,
    /// Reptor with PBFT and consensus-oriented parallelization (Java).
    Reptor,
    /// Themis (Rust).
    Themis,
}

/// What authenticates messages: the settings of the design's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Auth {
    /// RSA-2048 everywhere: requests, protocol, replies.
    #[value(name = "R")]
    R,
    /// RSA-2048 between replicas, MACs for clients.
    #[value(name = "T")]
    T,
    /// The fastest that each system offers and that still checks something: MACs or Ed25519.
    #[value(name = "D")]
    D,
}

/// Replicas of every system in a comparison: f = 1.
pub(crate) const REPLICAS: usize = 4;
/// Bytes of a peer's result: the smallest each of them can give.
pub(crate) const REPLY_BYTES: usize = 1;

/// What a peer is asked to do: the same as ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerWork {
    /// What authenticates messages.
    pub(crate) auth: Auth,
    /// Clients.
    pub(crate) clients: u32,
    /// Operations that each keeps in flight.
    pub(crate) outstanding: u32,
    /// Bytes of an operation.
    pub(crate) payload: usize,
    /// Operations a batch at most.
    pub(crate) batch_max: u32,
    /// Pillars; Reptor alone has them.
    pub(crate) pillars: u16,
    /// Load before the window.
    pub(crate) warmup: Duration,
    /// The window.
    pub(crate) duration: Duration,
}

/// A user's install that was found whole.
#[derive(Clone, Debug)]
pub(crate) struct Install {
    /// The system's directory.
    pub(crate) directory: PathBuf,
    /// The program that runs Java, found; unused where nothing is in Java.
    pub(crate) java: PathBuf,
}

impl System {
    /// As flags and files name it.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::BftSmart => "bft-smart",
            Self::Reptor => "reptor",
            Self::Themis => "themis",
        }
    }

    /// As its authors name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BftSmart => "BFT-SMaRt",
            Self::Reptor => "Reptor",
            Self::Themis => "Themis",
        }
    }
}

impl Auth {
    /// As flags and files name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::R => "R",
            Self::T => "T",
            Self::D => "D",
        }
    }
}

impl PeerWork {
    /// Whole seconds that a load which runs by its own clock is told to last: it must not end before the window is
    /// over, wherever in its second the window begins.
    pub(crate) fn load_seconds(&self) -> u64 {
        (self.warmup + self.duration).as_secs() + 10
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// 8 clients with 100 operations each, batches of 100.
    pub(crate) fn work(auth: Auth) -> PeerWork {
        PeerWork {
            auth,
            clients: 8,
            outstanding: 100,
            payload: 100,
            batch_max: 100,
            pillars: 1,
            warmup: Duration::from_secs(3),
            duration: Duration::from_secs(10),
        }
    }

    #[test]
    fn a_load_with_its_own_clock_outlasts_the_window() {
        let load = Duration::from_secs(work(Auth::D).load_seconds());
        assert!(load >= Duration::from_secs(3 + 10 + 2));
    }
}
