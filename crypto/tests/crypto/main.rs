//! Tests of the public interface.
#![allow(clippy::unwrap_used)]

mod cluster;
mod key_files;
mod keys;
mod macs;
mod merkle;
mod pool;
mod seals;
