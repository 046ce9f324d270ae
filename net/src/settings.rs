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
    /// Longest payload of a frame from a client to a replica.
    pub frame_max_request: usize,
    /// Longest payload of a frame from a replica to a client.
    pub frame_max_reply: usize,
    /// Most bytes waiting to be written on one connection, but at least one longest frame; from a replica to a client
    /// no more than four.
    pub write_buffer_max: usize,
    /// Most connections this transport has accepted that are in the middle of their handshake. Once reached, each
    /// newer one displaces the oldest.
    pub handshakes_max: usize,
    /// Most connections of this transport, of all kinds.
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
        let frame_max = self.frame_max_replica.max(self.frame_max_request).max(self.frame_max_reply);
        let fault = if self.me != self.identity.signer().into() {
            "the identity is not ours"
        } else if self.summary.len() > SUMMARY_MAX {
            "the configuration summary exceeds 16 KiB"
        } else if frame_max > 1 << 30 {
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
        let (receive_max, send_max, trailer) = match (me.role, peer.role) {
            (Role::Replica, Role::Replica) => (self.frame_max_replica, self.frame_max_replica, TAG_LEN),
            (Role::Replica, Role::Client) => (self.frame_max_request, self.frame_max_reply, 0),
            (Role::Client, _) => (self.frame_max_reply, self.frame_max_request, 0),
        };
        let longest = HEADER_LEN + send_max + trailer;
        // Clients are many, and one that doesn't read asks again what it missed.
        let most = match peer.role {
            Role::Replica => self.write_buffer_max,
            Role::Client => self.write_buffer_max.min(4 * longest),
        };
        Limits { receive_max, send_max, write_max: most.max(longest) }
    }
}

/// What one connection may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Longest payload received.
    pub(crate) receive_max: usize,
    /// Longest payload sent.
    pub(crate) send_max: usize,
    /// Most bytes waiting to be written.
    pub(crate) write_max: usize,
}
