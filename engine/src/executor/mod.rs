//! What happens after agreement: the merge of the pillars' decided slots into one order, execution against the client
//! table, replies, and checkpoints. Pure state machines: no socket, thread, clock, file or random source.

mod checkpoint;
mod client_table;
mod counters;
#[allow(clippy::module_inception)] // its subject is the executor itself
mod executor;
mod incarnations;
mod merge;
mod monitor;
mod outbox;
mod service;
mod settings;
mod snapshot;
mod voids;

pub use checkpoint::{Checkpoints, Ignored};
pub use client_table::{ClientTable, Due, Known, TableError, TableImage, TableLimits};
pub use counters::ExecutorCounters;
pub use executor::{Executor, Lookup};
pub use incarnations::{Incarnation, Incarnations};
pub use merge::{Merge, Refusal};
pub use monitor::Monitor;
pub use outbox::{ExecutedSlot, ExecutorOutbox, Output};
pub(crate) use service::is_calling_application;
pub use settings::ExecutorSettings;
pub use snapshot::{Captured, InstallError};

#[cfg(test)]
mod tests;
