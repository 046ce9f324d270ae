#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

// The examples' applications serve tests of this crate.
#[cfg(test)]
extern crate self as hypostyle;

pub mod admin;
pub mod client;
pub mod config;
pub mod executor;
mod local;
mod node;
pub mod order_log;
pub mod pinning;
mod recovery;
#[cfg(feature = "simulation")]
pub mod replay;
pub mod replica;
pub mod reply;
pub mod service;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod status;
pub mod transfer;

pub use client::Client;
pub use hypostyle_app_api::*;
pub use hypostyle_crypto as crypto;
pub use local::{Cluster, LocalCluster};
pub use replica::{Replica, RunningReplica};
