//! What a node exchanges with clients.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hypostyle_app_api::{ClientId, Now, Number, PillarId};
use hypostyle_crypto::{Claim, Session, Sessions};
use hypostyle_pillars::message::{Message, Request};
use hypostyle_pillars::{Config, Rejected, Source};

use super::{Node, NodeOutput, Refusal};
use crate::reply::{CLIENT_FRAME, HINT_FRAME, ReplyGroup, TAGGED_FRAME, encode_tagged_reply};

/// A node's side of its clients' connections.
pub(super) struct ClientSide {
    /// Requests are copied out of the worker's read buffer once, into chunks of this.
    arena: BytesMut,
    /// With `client_auth = "mac"`, by pillar of this node.
    sessions: Option<Vec<Sessions>>,
}

/// Chunks in which client requests are copied out of the read buffer.
const ARENA_CHUNK: usize = 64 * 1024;
/// How long the tags of a client's former session are taken: they may be in bodies that are on their way.
const GRACE: Duration = Duration::from_secs(10);

impl ClientSide {
    pub(super) fn new(configs: &[Config]) -> Self {
        let sessions = |config: &Config| Sessions::new(config.me, config.clients, GRACE);
        let tags = configs.iter().all(|config| config.client_tags);
        Self { arena: BytesMut::new(), sessions: tags.then(|| configs.iter().map(sessions).collect()) }
    }

    /// Whether the tag for this replica holds.
    pub(super) fn holds(&self, now: Now, pillar: usize, claim: &Claim<'_>) -> bool {
        self.sessions.as_ref().is_some_and(|sessions| sessions[pillar].hold(now.instant, claim))
    }

    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if self.arena.capacity() < bytes.len() {
            self.arena = BytesMut::with_capacity(ARENA_CHUNK.max(bytes.len()));
        }
        self.arena.extend_from_slice(bytes);
        self.arena.split().freeze()
    }
}

impl Node {
    /// A client's connection came up, with these keys.
    pub(crate) fn client_connected(
        &mut self,
        now: Now,
        pillar: PillarId,
        client: ClientId,
        session: Session,
    ) {
        let index = self.index(pillar);
        if let (Some(index), Some(sessions)) = (index, &mut self.clients.sessions) {
            sessions[index].connected(now.instant, client, session);
        }
    }

    /// The payload of a frame that came over a client's connection. `Break` says why it is to be closed.
    pub(crate) fn client_frame(
        &mut self,
        now: Now,
        pillar: PillarId,
        client: ClientId,
        payload: &[u8],
    ) -> ControlFlow<Refusal> {
        let source = Source::Client(client);
        let Some(pillar) = self.index(pillar) else {
            return ControlFlow::Break("no such pillar here");
        };
        let Some((&CLIENT_FRAME, request)) = payload.split_first() else {
            self.counters.refuse(source, Rejected::Malformed);
            return ControlFlow::Break("not a client's frame");
        };
        let bytes = self.clients.copy(request);
        match Request::decode(bytes, &self.limits.request) {
            Ok(request) => self.admit(now, pillar, source, Message::Request(request)),
            Err(malformed) => self.malformed(source, malformed),
        }
    }

    /// A request whose tags don't do here: its client hears that a signature would.
    pub(super) fn refuse_tags(&mut self, pillar: usize, client: ClientId, first: Number) {
        self.counters.refuse(Source::Client(client), Rejected::Unsigned);
        let mut frame = vec![HINT_FRAME];
        frame.extend_from_slice(&first.0.to_le_bytes());
        let pillar = self.pillars[pillar].config().pillar;
        self.outputs.push(NodeOutput::ToClient { pillar, client, frame });
    }

    /// Answers: each under its client's tag, or to be sealed.
    pub(super) fn reply(&mut self, groups: Vec<ReplyGroup>) {
        let Some(sessions) = &self.clients.sessions else {
            return self.sealer.replies(groups);
        };
        for group in &groups {
            let (pillar, client) = (group.pillar(), group.client());
            // Without a session there is no connection either.
            let Some(session) = self.index(pillar).and_then(|index| sessions[index].of(client)) else {
                continue;
            };
            let mut frame = vec![TAGGED_FRAME];
            encode_tagged_reply(group, &session.replies, &mut frame);
            self.counters.reply_groups += 1;
            self.outputs.push(NodeOutput::ToClient { pillar, client, frame });
        }
        self.spent.extend(groups);
    }
}
