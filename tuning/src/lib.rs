#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// The command line.
pub mod cli;
pub mod model;
pub mod predict;
pub mod report;
pub mod search;
/// The candidates.
pub mod settings;
pub mod stages;
/// What is looked for.
pub mod target;
pub mod tune;

#[cfg(test)]
mod testing;
