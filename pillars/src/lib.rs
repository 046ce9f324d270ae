#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod batches;
mod clients;
mod config;
mod evidence;
mod log;
mod marks;
pub mod message;
mod outbox;
mod passed;
mod pillar;
mod placement;
mod recovers;
mod rejected;
mod requests;
mod slot;
mod votes;

pub use config::Config;
pub use evidence::Evidence;
pub use outbox::{
    CheckpointVote, Decided, Declaration, Declared, Demand, Executed, Input, Output, SignerProgress, Stable,
    Target,
};
pub use pillar::{Admission, Pillar, Progress, Source};
pub use placement::{Assign, Leaders, assigned_pillar, crosses_run, primary};
pub use rejected::Rejected;
