//! A whole cluster of nodes, stepped by hand: what honest, broken and lying members bring about.
#![allow(clippy::unwrap_used)]

mod clients;
mod flips;
mod forge;
mod harness;
mod lies;
mod recovery;
mod tags;
mod transfer;
