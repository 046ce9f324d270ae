#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod application;
mod ids;
mod time;

pub use application::{Application, ApplicationError, Context, Snapshot};
pub use ids::{ClientId, Digest, Number, PillarId, Position, ReplicaId, Round, Seq, View};
pub use time::{Instant, Now, Timestamp};
