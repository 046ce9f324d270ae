//! All orders of delivery of a small case.

mod byzantine;
mod fair;
mod keys;
mod lab;
mod mail;
mod search;
mod seat;
mod set;

pub use byzantine::Byzantine;
pub use search::{Ends, Explored, Scenario, Violation, explore};
