#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod connection;
mod counters;
mod dialer;
mod event;
mod frame;
mod handshake;
mod link_mac;
mod peer;
mod read_buffer;
mod replay;
mod settings;
mod transport;
mod wire;
mod write_buffer;

pub use counters::{Counters, Refusal};
pub use event::{Arrival, ConnectionId, Event, Payload, ReadOutcome, Reject};
pub use handshake::TicketKey;
pub use peer::{Peer, Role};
pub use replay::{Gate, RecordedFrame, Replay, Track};
pub use settings::Settings;
pub use transport::Transport;
pub use wire::Wire;
