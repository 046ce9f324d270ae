//! A simulated client: the production core, and somebody who wants something of it.

use std::sync::Arc;

use bytes::Bytes;
use hypostyle::client::{ClientCore, ClientOutput, ClientSettings, Completion};
use hypostyle::config::ClusterConfig;
use hypostyle::reply::{CLIENT_FRAME, Incoming};
use hypostyle_app_api::{ClientId, Digest, Instant, Number, PillarId, ReplicaId};
use hypostyle_crypto::{Identity, Keyring, Session};

use super::queue::Time;
use super::random::Random;
use super::service::Service;

pub(super) struct SimClient {
    pub(super) id: ClientId,
    pub(super) core: ClientCore,
    keyring: Arc<Keyring>,
    output: ClientOutput,
    /// Operations it still wants to submit.
    pub(super) wants: u64,
    outstanding: u64,
    think: Time,
    /// Bytes of some operations, if they are to be long.
    pub(super) operation_bytes: usize,
    /// It sends nothing new before.
    rests_until: Time,
    /// When it is woken next.
    pub(super) wake_at: Option<Time>,
}

/// A request that was signed.
pub(super) struct Submitted {
    pub(super) first: Number,
    pub(super) count: u16,
    pub(super) digest: Digest,
}

impl SimClient {
    pub(super) fn new(
        config: &ClusterConfig,
        identity: &Arc<Identity>,
        keyring: &Arc<Keyring>,
        (outstanding, think): (u64, Time),
    ) -> Self {
        let core = ClientCore::new(ClientSettings::of(config), Arc::clone(identity), Number(1));
        Self {
            id: core.client(),
            core,
            keyring: Arc::clone(keyring),
            output: ClientOutput::default(),
            wants: 0,
            outstanding,
            think,
            operation_bytes: 0,
            rests_until: 0,
            wake_at: None,
        }
    }

    /// Sends nothing new before this time.
    pub(super) fn rest(&mut self, until: Time) {
        self.rests_until = until;
    }

    /// Submits a request if it wants to and may.
    pub(super) fn submit(&mut self, now: Time, random: &mut Random) -> Option<Submitted> {
        let room = self.core.room();
        if self.wants == 0 || room == 0 || now < self.rests_until {
            return None;
        }
        if self.core.in_flight() as u64 >= self.outstanding {
            return None;
        }
        let count = random.within(1..=self.wants.min(u64::from(room)));
        let operations: Vec<_> = (0..count).map(|_| self.operation(random)).collect();
        let operations: Vec<&[u8]> = operations.iter().map(Vec::as_slice).collect();
        let first = self.core.submit(instant(now), &operations, &mut self.output).expect("there is room");
        let digest = self.core.digest(first).expect("just submitted");
        self.wants -= count;
        if self.think > 0 {
            self.rests_until = now + random.below(self.think);
        }
        Some(Submitted { first, count: u16::try_from(count).expect("at most a request's"), digest })
    }

    fn operation(&self, random: &mut Random) -> Vec<u8> {
        match self.operation_bytes > 0 && random.chance(500) {
            true => vec![9; self.operation_bytes],
            false => Service::operation(random),
        }
    }

    pub(super) fn connected(&mut self, replica: ReplicaId, pillar: PillarId, session: Session) {
        self.core.connected(replica, pillar, Some(session), &mut self.output);
    }

    pub(super) fn disconnected(&mut self, replica: ReplicaId, pillar: PillarId) {
        self.core.disconnected(replica, pillar, &mut self.output);
    }

    /// A frame from a replica, on a pillar's connection.
    pub(super) fn frame(&mut self, now: Time, from: (ReplicaId, PillarId), payload: &Bytes) {
        let now = instant(now);
        let reply = match Incoming::decode(payload) {
            Ok(Incoming::Reply(reply)) => reply,
            Ok(Incoming::Hint(first)) => return self.core.on_hint(now, from, first, &mut self.output),
            Err(_) => return,
        };
        if self.core.admit(from.0, &reply).is_err() {
            return;
        }
        let verified = match self.core.settings().tags {
            true => self.core.verify_tag(reply),
            false => self.keyring.verify(reply),
        };
        if let Ok(reply) = verified {
            self.core.on_verified(now, &reply, &mut self.output);
        }
    }

    pub(super) fn tick(&mut self, now: Time) {
        self.core.tick(instant(now), &mut self.output);
    }

    /// What it wants sent, as frames' payloads.
    pub(super) fn sends(&mut self) -> Vec<(ReplicaId, PillarId, Bytes)> {
        let sends = self.output.sends.drain(..);
        sends
            .map(|send| (send.replica, send.pillar, [&[CLIENT_FRAME], &send.request[..]].concat().into()))
            .collect()
    }

    pub(super) fn completions(&mut self) -> Vec<Completion> {
        self.output.completions.drain(..).collect()
    }

    /// When it has something to do without any reply.
    pub(super) fn next_time(&self, now: Time) -> Option<Time> {
        let rested = (self.wants > 0 && self.rests_until > now).then_some(self.rests_until);
        let due = self.core.next_deadline().map(|Instant(at)| at);
        rested.into_iter().chain(due).min()
    }

    /// Whether nothing it wanted is left.
    pub(super) fn is_done(&self) -> bool {
        self.wants == 0 && self.core.in_flight() == 0
    }
}

fn instant(now: Time) -> Instant {
    Instant(now)
}
