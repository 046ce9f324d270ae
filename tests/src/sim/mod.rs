//! The deterministic simulator: one seed is one whole run of replicas, clients, network and timers, in one thread and
//! virtual time, through the very cores that run in production.

mod batch;
mod client;
mod cluster;
mod convergence;
mod describe;
mod faults;
mod hostile;
mod marks;
mod network;
mod options;
mod panics;
mod queue;
mod random;
mod replica;
mod rescue;
mod run;
mod scenario;
pub mod service;
pub mod trace;
mod turn;
mod twins;
mod world;

pub use batch::{Batch, Report};
pub use marks::MARKS;
pub use network::NetworkOptions;
pub use options::{FaultOptions, Options};
pub use panics::keep_panics;
pub use queue::{MICROSECOND, MILLISECOND, SECOND, Time};
pub use random::Random;
pub use rescue::Rescue;
pub use run::{Outcome, run, run_with};
pub use scenario::Scenario;
pub use twins::run_scenario;
