//! Hypostyle: a pillar-parallel, Byzantine-fault-tolerant replication engine.

pub mod config;
