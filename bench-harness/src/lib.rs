#![doc = include_str!("../README.md")]

/// A global allocator that counts.
pub mod allocation;
/// A whole measurement: from flags to figures and files.
pub mod bench;
/// Child processes and directories that don't outlive this program.
pub mod children;
/// The command line.
pub mod cli;
/// Comparison with other systems, and of two of our own results.
pub mod compare;
/// Throughput and latency over load.
pub mod curve;
/// The short measurement that shows that everything works.
pub mod demo;
/// The machine that a measurement was made on.
pub mod environment;
/// Errors and exit codes.
pub mod error;
/// Faults made while a cluster is measured.
pub mod faults;
/// Latency histograms.
pub mod latency;
pub mod peers;
/// One measurement's figures.
pub mod point;
/// Settings that `hypostyle-tune` found.
pub mod profile;
/// Progress on a terminal.
pub mod progress;
pub mod reference;
/// The replica process that is measured.
pub mod replica;
/// Figures and pages from results folders.
pub mod report;
/// One replica alone: what more pillars on more cores bring.
pub mod scaling;
/// Medians and spreads.
pub mod summary;
/// Many settings: over pillars, batches, loads.
pub mod sweep;
/// Figures for a person.
pub mod table;
/// One measurement after another, for who decides on the next by the last.
pub mod trials;
/// Load from a process of its own, or from another machine.
pub mod worker;

mod agreement;
mod arrivals;
mod choice;
mod cluster;
mod columns;
mod counters;
mod evaluate;
mod files;
mod generator;
mod keys;
mod label;
mod load;
mod measure;
mod memory_limit;
mod phases;
mod ports;
mod presign;
mod proc_fs;
mod remote;
mod sample;
mod setting;
mod signing;
mod status;
mod team;
mod timeline;
mod workload;
