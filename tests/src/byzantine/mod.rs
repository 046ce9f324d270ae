//! Byzantine replicas: the real core runs, and what it sends passes through somebody who means harm. And Byzantine clients.

mod acts;
mod clients;
mod fields;
mod hoard;
mod layout;
mod mutate;
mod rescue;
mod reseal;
mod strategy;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, PillarId, ReplicaId, Seq, View};
use hypostyle_crypto::{Identity, Session};
use hypostyle_pillars::message::FrameLimits;

pub use clients::{ClientAct, ClientStrategy, HostileClient};
pub use fields::{FIELDS, Field, Type};
pub use mutate::{Mutation, Mutator};
pub use strategy::Strategy;

use crate::sim::{Random, Time};
use mutate::Seen;
use reseal::tag_again;

/// What an adversary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Something with a name.
    Strategy(Strategy),
    /// Changes a field of so many of a thousand messages.
    Mutator(Mutator, u64),
    /// Is two: copies that know nothing of each other.
    Twins,
}

/// An adversary with the key of one replica.
pub struct Byzantine {
    me: ReplicaId,
    identity: Arc<Identity>,
    limits: FrameLimits,
    behaviour: Behaviour,
    replicas: usize,
    view_timeout: Time,
    /// Whom, which pillar and which client it has picked.
    victim: usize,
    pillar: PillarId,
    client: usize,
    random: Random,
    seen: Seen,
    /// What it sent, to be sent again.
    old: Vec<Bytes>,
    /// Bodies it proposes to some in place of others.
    instead: BTreeMap<Digest, (Digest, Bytes)>,
    /// A body to propose in place of what is due, and what it proposed so.
    spare: Option<(Digest, Bytes)>,
    departs: BTreeMap<(PillarId, View, Seq), Digest>,
    /// The keys of its clients' connections.
    sessions: BTreeMap<(PillarId, ClientId), Session>,
    /// P.
    pillars: u16,
    /// Frames made to be kept.
    hoarded: u64,
    /// Frames it changed, added or kept back.
    acts: u64,
}

/// A frame of an adversary.
#[derive(Clone, Debug)]
pub struct Sent {
    /// How much later it leaves.
    pub delay: Time,
    /// Type byte and message.
    pub payload: Bytes,
}

/// Who is to be an adversary.
pub struct Casting {
    /// Whose place it takes.
    pub me: ReplicaId,
    /// Its key.
    pub identity: Arc<Identity>,
    /// What frames may hold.
    pub limits: FrameLimits,
    /// How many clients there are.
    pub clients: usize,
    /// How long a pillar may owe a slot.
    pub view_timeout: Time,
    /// P.
    pub pillars: u16,
}

impl Behaviour {
    /// What a seed draws.
    #[must_use]
    pub fn draw(random: &mut Random) -> Self {
        match random.below(10) {
            0..4 => Self::Strategy(random.pick(&Strategy::ALL)),
            4 => Self::Strategy(random.pick(&Strategy::OF_VIEW_CHANGES)),
            5..9 => Self::Mutator(random.pick(&Mutator::all()), random.pick(&[20, 200, 1000])),
            _ => Self::Twins,
        }
    }

    /// Whether it does nothing where no view changes.
    #[must_use]
    pub fn needs_view_changes(self) -> bool {
        matches!(self, Self::Strategy(strategy) if Strategy::OF_VIEW_CHANGES.contains(&strategy))
    }
}

impl Byzantine {
    /// An adversary that has picked its victims.
    #[must_use]
    pub fn new(casting: Casting, behaviour: Behaviour, random: &mut Random) -> Self {
        let replicas = usize::from(casting.limits.replicas);
        let pillar = u16::try_from(random.below(u64::from(casting.pillars))).expect("few pillars");
        Self {
            victim: random.index(replicas),
            client: random.index(casting.clients),
            pillar: PillarId(pillar),
            random: Random::new(random.number()),
            me: casting.me,
            identity: casting.identity,
            limits: casting.limits,
            view_timeout: casting.view_timeout,
            behaviour,
            replicas,
            seen: Seen::default(),
            old: Vec::new(),
            instead: BTreeMap::new(),
            spare: None,
            departs: BTreeMap::new(),
            sessions: BTreeMap::new(),
            pillars: casting.pillars,
            hoarded: 0,
            acts: 0,
        }
    }

    /// What it does.
    #[must_use]
    pub fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    /// How often it did so.
    #[must_use]
    pub fn acts(&self) -> u64 {
        self.acts
    }

    /// What becomes of a frame to another replica.
    pub fn to_replica(&mut self, to: usize, pillar: PillarId, payload: &Bytes) -> Vec<Sent> {
        let sent = match self.behaviour {
            Behaviour::Twins => vec![Sent { delay: 0, payload: payload.clone() }],
            Behaviour::Mutator(mutator, often) => {
                vec![Sent {
                    delay: 0,
                    payload: self.mutated(mutator, often, Type::between_replicas(payload), payload),
                }]
            }
            Behaviour::Strategy(strategy) => self.act(strategy, to, pillar, payload),
        };
        self.acts += u64::from(!matches!(&sent[..], [one] if one.delay == 0 && one.payload == *payload));
        sent
    }

    /// A client has connected.
    pub fn client_connected(&mut self, client: (PillarId, ClientId), session: Session) {
        self.sessions.insert(client, session);
    }

    /// What becomes of a frame to a client.
    pub fn to_client(&mut self, client: (PillarId, ClientId), payload: &Bytes) -> Option<Bytes> {
        let kind = Type::to_client(payload);
        let sent = match self.behaviour {
            Behaviour::Strategy(Strategy::Silent) => None,
            Behaviour::Strategy(Strategy::WrongReplies) => {
                let (message, field) = (kind?, if kind == Some(Type::Hint) { "first" } else { "value" });
                let mutator = Mutator { message, field, mutation: Mutation::Increment };
                Some(self.mutated(mutator, 1000, kind, payload))
            }
            Behaviour::Mutator(mutator, often) => Some(self.mutated(mutator, often, kind, payload)),
            _ => Some(payload.clone()),
        };
        let session = self.sessions.get(&client).filter(|_| kind == Some(Type::TaggedReply));
        let sent = match (sent, session) {
            (Some(changed), Some(session)) if changed != *payload => Some(tag_again(&changed, session)),
            (sent, _) => sent,
        };
        self.acts += u64::from(sent.as_ref() != Some(payload));
        sent
    }

    fn mutated(&mut self, mutator: Mutator, often: u64, kind: Option<Type>, payload: &Bytes) -> Bytes {
        let Some(kind) = kind.filter(|_| self.random.chance(often)) else { return payload.clone() };
        let Self { seen, random, me, identity, .. } = self;
        let changed = mutator.apply(kind, payload, seen, random, (*me, identity));
        changed.map_or_else(|| payload.clone(), Bytes::from)
    }
}
