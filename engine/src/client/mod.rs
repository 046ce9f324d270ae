//! The client: a pure core and its shells.
//!
//! [`ClientCore`] decides, and [`Driver`] moves bytes and time for one or many of them on one thread: what the load
//! generator uses. [`Client`] is what an application uses: a driver on a thread of its own behind a cheap handle.

mod api;
mod clock;
mod core;
mod counters;
mod driver;
mod error;
mod intake;
mod mailbox;
mod outcome;
mod output;
mod pending;
mod retry;
mod settings;
mod tally;
mod views;
mod window;
mod worker;

#[cfg(test)]
mod tests;

pub use self::core::ClientCore;
pub use api::{Client, OpenError};
pub use counters::DriverCounters;
pub use driver::{Driver, DriverError, Registration, Settled};
pub use error::{NotSent, OperationError, Rejected};
pub use output::{ClientOutput, Completion, Transmission};
pub use pending::{CallError, CallResult, Pending, Unresolved};
pub use settings::ClientSettings;

/// Encodes and signs a request; with [`ClientSettings::floor_ahead`], ahead of its time.
pub use hypostyle_pillars::message::encode_request;
