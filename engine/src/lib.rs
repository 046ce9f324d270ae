//! Hypostyle: a pillar-parallel, Byzantine-fault-tolerant replication engine.

pub mod admin;
pub mod config;
pub mod executor;
pub mod order_log;
pub mod pinning;
pub mod reply;
pub mod status;
