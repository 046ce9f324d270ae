use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypostyle_crypto::{Identity, Keyring};

use crate::frame::HEADER_LEN;
use crate::handshake::{SUMMARY_MAX, TicketKey};
use crate::link_mac::TAG_LEN;
use crate::peer::{Peer, Role};

/// What a [`Transport`](crate::Transport) is, and its limits.
#[derive(Clone)]
pub struct Settings {
    /// Everybody's public keys.
    pub keyring: Arc<Keyring>,
    /// Our private key.
    pub identity: Arc<Identity>,
    /// Who we are: the identity's name.
    pub me: Peer,
    /// How many pillars there are.
    pub pillars: u16,
    /// The configuration's canonical lines `name=value\n`, at most 16 KiB: told to a peer whose configuration hash
    /// differs, so that both sides can name the first field that does.
    pub summary: Bytes,
    /// Longest payload of a frame between replicas, in bytes.
    pub frame_max_replica: usize,
    /// Longest payload of a frame between a replica and a client, in bytes.
    pub frame_max_client: usize,
    /// Most bytes waiting to be written on one connection, but at least one longest frame.
    pub write_buffer_max: usize,
    /// Most accepted connections in the middle of their handshake. Once reached, each newer one displaces the oldest.
    pub handshakes_max: usize,
    /// Most connections of all kinds.
    pub connections_max: usize,
    /// How long a handshake may take, from `connect` or `accept` on.
    pub handshake_timeout: Duration,
    /// Source address of outgoing connections.
    pub source: Option<IpAddr>,
    /// The process's ticket key, shared by its workers.
    pub tickets: Arc<TicketKey>,
}

impl Settings {
    pub(crate) fn check(&self) -> io::Result<()> {
        let fault = if self.me != self.identity.signer().into() {
            "the identity is not ours"
        } else if self.summary.len() > SUMMARY_MAX {
            "the configuration summary exceeds 16 KiB"
        } else if self.frame_max_replica.max(self.frame_max_client) > 1 << 30 {
            "a frame limit exceeds 1 GiB"
        } else if self.handshakes_max == 0 || self.connections_max == 0 {
            "a limit of connections is 0"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, fault))
    }

    /// The limits of a connection between us, as `me`, and `peer`.
    pub(crate) fn limits(&self, me: Peer, peer: Peer) -> Limits {
        let (payload_max, trailer) = match (me.role, peer.role) {
            (Role::Replica, Role::Replica) => (self.frame_max_replica, TAG_LEN),
            _ => (self.frame_max_client, 0),
        };
        Limits { payload_max, write_max: self.write_buffer_max.max(HEADER_LEN + payload_max + trailer) }
    }
}

/// What one connection may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) payload_max: usize,
    pub(crate) write_max: usize,
}
