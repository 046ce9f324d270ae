#![doc = include_str!("../README.md")]

/// A global allocator that counts.
pub mod allocation;
/// A whole measurement: from flags to figures and files.
pub mod bench;
/// Child processes and directories that don't outlive this program.
pub mod children;
/// The command line.
pub mod cli;
/// The short measurement that shows that everything works.
pub mod demo;
/// The machine that a measurement was made on.
pub mod environment;
/// Errors and exit codes.
pub mod error;
/// Latency histograms.
pub mod latency;
/// One measurement's figures.
pub mod point;
/// Settings that `hypostyle-tune` found.
pub mod profile;
/// Progress on a terminal.
pub mod progress;
pub mod reference;
/// The replica process that is measured.
pub mod replica;
/// One replica alone: what more pillars on more cores bring.
pub mod scaling;
/// Medians and spreads.
pub mod summary;
/// Figures for a person.
pub mod table;
/// One measurement after another, for who decides on the next by the last.
pub mod trials;

mod agreement;
mod cluster;
mod counters;
mod evaluate;
mod files;
mod generator;
mod keys;
mod load;
mod measure;
mod null;
mod phases;
mod ports;
mod presign;
mod proc_fs;
mod sample;
mod setting;
mod signing;
mod status;
