//! Load generation and measurement for Hypostyle.

/// A global allocator that counts.
pub mod allocation;
/// Child processes and directories that don't outlive this program.
pub mod children;
/// The machine that a measurement was made on.
pub mod environment;
/// Latency histograms.
pub mod latency;
