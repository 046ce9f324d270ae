//! The client: a pure core ([`ClientCore`]) and its shells.

mod core;
mod error;
mod outcome;
mod output;
mod retry;
mod settings;
mod tally;
mod views;
mod window;

pub use self::core::ClientCore;
pub use error::{NotSent, OperationError, Rejected};
pub use output::{ClientOutput, Completion, Transmission};
pub use settings::ClientSettings;
