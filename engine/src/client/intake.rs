use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use hypostyle_app_api::ClientId;
use hypostyle_crypto::{Identity, Keyring};
use hypostyle_net::{ConnectionId, Payload, Peer, Reject, Settings, TicketKey, Transport};

use crate::config::ClusterConfig;
use crate::reply::Incoming;

/// What was read from one connection, at most as much as its read budget holds.
#[derive(Debug, Default)]
pub(super) struct Intake {
    frames: VecDeque<Incoming>,
    malformed: Option<&'static str>,
}

impl Intake {
    /// Reads whole frames worth up to `budget` bytes and decodes them. What is left is announced again.
    pub(super) fn read(&mut self, transport: &mut Transport, id: ConnectionId, budget: usize) {
        let (frames, malformed) = (&mut self.frames, &mut self.malformed);
        transport.read(
            id,
            budget,
            &mut |payload: Payload<'_>| match Incoming::decode(&payload.into_bytes()) {
                Ok(frame) => {
                    frames.push_back(frame);
                    ControlFlow::Continue(())
                }
                Err(what) => {
                    *malformed = Some(what);
                    ControlFlow::Break(Reject(what))
                }
            },
        );
    }

    pub(super) fn pop(&mut self) -> Option<Incoming> {
        self.frames.pop_front()
    }

    /// What was wrong with the frame that ended the last read, if one did.
    pub(super) fn malformed(&mut self) -> Option<&'static str> {
        self.malformed.take()
    }
}

/// A client listens to nobody and dials every replica.
pub(super) fn transport_settings(
    cluster: &ClusterConfig,
    keyring: Arc<Keyring>,
    identity: &Arc<Identity>,
    me: ClientId,
) -> Settings {
    let frame_max = cluster.frame_max_client();
    Settings {
        keyring,
        identity: Arc::clone(identity),
        me: Peer::client(me),
        pillars: cluster.pillars,
        summary: cluster.summary(),
        frame_max_replica: cluster.frame_max_replica(),
        frame_max_request: 1 + cluster.request_max,
        frame_max_reply: frame_max,
        write_buffer_max: WRITE_BUFFER_MAX.max(2 * frame_max),
        handshakes_max: usize::MAX,
        connections_max: usize::MAX,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        source: None,
        tickets: Arc::new(TicketKey::generate()),
    }
}

/// Enough for a whole window of small requests.
const WRITE_BUFFER_MAX: usize = 1 << 20;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
