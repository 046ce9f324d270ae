//! What each strategy does with a frame to another replica.

use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId, Seq, View};
use hypostyle_crypto::sha256;
use hypostyle_pillars::message::{
    Body, Bundle, Kind, Leave, Message, NewViewContent, PeerFrame, SealedBundle, Statement, Status,
    ViewChange, ViewChangeContent,
};

use super::reseal::seal;
use super::{Behaviour, Byzantine, Sent, Strategy, Type};

/// Frames an adversary remembers.
const OLD_MAX: usize = 64;

impl Byzantine {
    pub(super) fn act(
        &mut self,
        strategy: Strategy,
        to: usize,
        pillar: PillarId,
        payload: &Bytes,
    ) -> Vec<Sent> {
        let kind = payload.first().copied().unwrap_or(0);
        let is = |wanted: u8| kind == wanted;
        let near = to < self.replicas / 2;
        let keeps = |kept: bool| if kept { Vec::new() } else { vec![now(payload.clone())] };
        match strategy {
            Strategy::EquivocatingPrimary if near => vec![now(payload.clone())],
            Strategy::EquivocatingPrimary => self.propose_other(payload, at_another_time),
            Strategy::MadeUpRequests => self.propose_other(payload, |bytes| {
                let fields = Type::Body.fields(bytes).unwrap_or_default();
                if let Some(made_up) = fields.iter().find(|field| field.name == "operation") {
                    bytes[made_up.at.start] ^= 1;
                }
            }),
            Strategy::Silent => Vec::new(),
            Strategy::SilentToOne => keeps(to == self.victim),
            Strategy::SilentPillar => keeps(pillar == self.pillar),
            Strategy::DoubleVote => self.with(payload, |_, s| votes(s.kind).then(|| other(s))),
            Strategy::SelectiveVotes => self.only(payload, |s| near || !votes(s.kind)),
            Strategy::WithheldCommits => self.only(payload, |s| s.kind != Kind::Commit),
            Strategy::WithheldPrepares => self.only(payload, |s| s.kind != Kind::Prepare),
            Strategy::SlowPrimary => self.late(payload),
            Strategy::CensorClient | Strategy::WrongReplies => vec![now(payload.clone())],
            Strategy::Garbage => self.garbage(payload),
            Strategy::StaleReplays => self.replay(payload),
            Strategy::BadBodies => {
                vec![now(if is(PeerFrame::BODY) { self.flip(payload) } else { payload.clone() })]
            }
            Strategy::SeqGaps => self.with(payload, |me, s| {
                (s.kind == Kind::Propose)
                    .then(|| Statement { seq: Seq(s.seq.0 + me.limits.window / 2), ..*s })
            }),
            Strategy::FarViews => {
                let far = 1 + self.random.below(1 << 40);
                self.with(payload, |me, s| {
                    votes(s.kind).then(|| Statement { view: View(s.view.0 + far * me.replicas as u64), ..*s })
                })
            }
            Strategy::PrimaryPrepares => self.with(payload, |_, s| {
                (s.kind == Kind::Propose).then_some(Statement { kind: Kind::Prepare, ..*s })
            }),
            Strategy::BodiesToFew => keeps(is(PeerFrame::BODY) && to != self.victim),
            Strategy::LyingStatus => vec![now(self.lie(payload))],
            Strategy::WrongCheckpoints => self.each(payload, |_, s| match s.kind {
                Kind::Checkpoint => other(s),
                _ => *s,
            }),
            Strategy::FarCheckpoints => {
                let far = self.limits.checkpoint_interval << self.random.below(40);
                self.with(payload, |_, s| {
                    (s.kind == Kind::Checkpoint).then(|| Statement { seq: Seq(s.seq.0 + far), ..*s })
                })
            }
            Strategy::ViewChangeSpam => self.leave_often(pillar, payload),
            Strategy::HidesPrepared => vec![now(self.hide(payload))],
            Strategy::WithheldNewView => keeps(is(PeerFrame::NEW_VIEW) && near),
            Strategy::WrongNewView => vec![now(self.wrong_view(payload))],
            Strategy::LyingDonor => vec![now(self.wrong_chunk(payload))],
            Strategy::LyingTeller => vec![now(self.wrong_telling(payload))],
            Strategy::SilentDonor => keeps(is(PeerFrame::TRANSFER)),
            Strategy::WithheldChunks => keeps(Type::between_replicas(payload) == Some(Type::Chunk)),
            Strategy::AsksConstantly => self.ask_often(payload),
            Strategy::RecoversConstantly => self.recover_often(pillar, payload),
            Strategy::DepartsFromNewView => self.depart(payload),
            Strategy::ForwardsGarbage => {
                vec![now(if is(PeerFrame::REQUEST) { self.flip(payload) } else { payload.clone() })]
            }
            Strategy::BitFlips => {
                vec![now(if self.random.chance(50) { self.flip(payload) } else { payload.clone() })]
            }
            Strategy::Flood => (0..5).map(|delay| Sent { delay, payload: payload.clone() }).collect(),
            Strategy::Reorders => self.reorder(payload),
            Strategy::Hoards => self.hoard(payload),
            Strategy::VotesForAll => self.with(payload, |_, s| {
                (s.kind == Kind::Prepare).then_some(Statement { kind: Kind::Commit, ..*s })
            }),
        }
    }

    /// Whether it takes notice of a frame from a client, or of a request that is passed on.
    pub fn hears(&mut self, from: usize, payload: &Bytes) -> bool {
        if self.behaviour == Behaviour::Strategy(Strategy::DepartsFromNewView) {
            self.spare_body(payload);
        }
        if self.behaviour != Behaviour::Strategy(Strategy::CensorClient) {
            return true;
        }
        let passed_on =
            || payload.first() == Some(&PeerFrame::REQUEST) && client_of(payload) == Some(self.client);
        from != self.replicas + self.client && !passed_on()
    }

    /// A changed body in place of a proposed one, and its own votes as whoever gets it expects them.
    fn propose_other(&mut self, payload: &Bytes, change: impl Fn(&mut [u8])) -> Vec<Sent> {
        if payload.first() == Some(&PeerFrame::BODY) {
            return vec![now(self.replace(payload, change))];
        }
        self.each(payload, |me, s| {
            let digest = me.instead.get(&s.digest).map_or(s.digest, |(digest, _)| *digest);
            Statement { digest, ..*s }
        })
    }

    fn replace(&mut self, payload: &Bytes, change: impl Fn(&mut [u8])) -> Bytes {
        let Ok(body) = Body::decode(payload.slice(1..), &self.limits) else { return payload.clone() };
        if let Some((_, bytes)) = self.instead.get(&body.digest()) {
            return bytes.clone();
        }
        let mut changed = payload.to_vec();
        change(&mut changed);
        let changed = Bytes::from(changed);
        let Ok(other) = Body::decode(changed.slice(1..), &self.limits) else { return payload.clone() };
        self.instead.insert(body.digest(), (other.digest(), changed.clone()));
        changed
    }

    /// Its own statements in a payload.
    pub(super) fn statements(&self, payload: &Bytes) -> Option<SealedBundle> {
        let bundle = (payload.first() == Some(&PeerFrame::BUNDLE)).then(|| payload.slice(1..))?;
        SealedBundle::decode(bundle, &self.limits).ok().filter(|bundle| bundle.signer() == self.me)
    }

    /// Each statement as `change` would have it.
    fn each(&self, payload: &Bytes, change: impl Fn(&Self, &Statement) -> Statement) -> Vec<Sent> {
        let Some(bundle) = self.statements(payload) else { return vec![now(payload.clone())] };
        let changed: Vec<_> = bundle.statements().iter().map(|s| change(self, s)).collect();
        vec![now(self.bundle(bundle.pillar(), &changed))]
    }

    /// What is there, and then what `add` makes of each statement.
    fn with(&self, payload: &Bytes, add: impl Fn(&Self, &Statement) -> Option<Statement>) -> Vec<Sent> {
        let mut sent = vec![now(payload.clone())];
        if let Some(bundle) = self.statements(payload) {
            let added: Vec<_> = bundle.statements().iter().filter_map(|s| add(self, s)).collect();
            if !added.is_empty() {
                sent.push(now(self.bundle(bundle.pillar(), &added)));
            }
        }
        sent
    }

    /// The statements that `keep` leaves.
    fn only(&self, payload: &Bytes, keep: impl Fn(&Statement) -> bool) -> Vec<Sent> {
        let Some(bundle) = self.statements(payload) else { return vec![now(payload.clone())] };
        let left: Vec<_> = bundle.statements().iter().filter(|s| keep(s)).copied().collect();
        if left.is_empty() { Vec::new() } else { vec![now(self.bundle(bundle.pillar(), &left))] }
    }

    pub(super) fn bundle(&self, pillar: PillarId, statements: &[Statement]) -> Bytes {
        let bundle = Bundle::new(self.me, pillar, statements);
        let sealed = seal(self.me, &self.identity, bundle.entry());
        [&[PeerFrame::BUNDLE], &bundle.seal(sealed).bytes()[..]].concat().into()
    }

    fn late(&mut self, payload: &Bytes) -> Vec<Sent> {
        let proposes = |bundle: SealedBundle| bundle.statements().iter().any(|s| s.kind == Kind::Propose);
        let late = self.statements(payload).is_some_and(proposes);
        let delay = if late { self.view_timeout * 4 / 5 } else { 0 };
        vec![Sent { delay, payload: payload.clone() }]
    }

    fn garbage(&mut self, payload: &Bytes) -> Vec<Sent> {
        let mut sent = vec![now(payload.clone())];
        if self.random.chance(100) {
            let length = self.random.index(200);
            let mut bytes: Vec<u8> = (0..length).map(|_| self.random.number().to_le_bytes()[0]).collect();
            if let Some(kind) = bytes.first_mut() {
                *kind %= 10;
            }
            sent.push(now(bytes.into()));
        }
        sent
    }

    fn replay(&mut self, payload: &Bytes) -> Vec<Sent> {
        let mut sent = vec![now(payload.clone())];
        if self.old.len() < OLD_MAX {
            self.old.push(payload.clone());
        } else {
            let place = self.random.index(OLD_MAX);
            sent.push(now(self.old[place].clone()));
            if self.random.chance(30) {
                self.old[place] = payload.clone();
            }
        }
        sent
    }

    pub(super) fn flip(&mut self, payload: &Bytes) -> Bytes {
        let mut bytes = payload.to_vec();
        if bytes.len() > 1 {
            let place = 1 + self.random.index(bytes.len() - 1);
            bytes[place] ^= 1 << self.random.below(8);
        }
        bytes.into()
    }

    fn lie(&mut self, payload: &Bytes) -> Bytes {
        let Ok(PeerFrame::Status(status)) = PeerFrame::decode(payload, &self.limits) else {
            return payload.clone();
        };
        let far = 1 << self.random.below(63);
        let lie = match self.random.below(4) {
            0 => Status { frontier: Seq(status.frontier.0.saturating_add(far)), ..status },
            1 => Status { frontier: Seq(0), stable: hypostyle_app_api::Round(0), ..status },
            2 => Status { view: View(status.view.0.saturating_add(far)), ..status },
            _ => Status { stable: hypostyle_app_api::Round(u64::MAX), accepted: Seq(u64::MAX), ..status },
        };
        let mut bytes = vec![PeerFrame::STATUS];
        lie.encode(&mut bytes);
        bytes.into()
    }

    /// Beside what it sends, every now and then a VIEW-CHANGE for a view further on.
    fn leave_often(&mut self, pillar: PillarId, payload: &Bytes) -> Vec<Sent> {
        let mut sent = vec![now(payload.clone())];
        if self.random.chance(50) {
            let view = View(1 + self.random.skewed(self.acts.min(1 << 40) + 3));
            let leave = Leave {
                signer: self.me,
                incarnation: 0,
                pillar,
                view,
                stable: hypostyle_app_api::Round(0),
                stable_digest: Digest::ZERO,
                blocked: None,
            };
            sent.push(now(self.view_change(ViewChangeContent::new(&leave, Vec::new(), Vec::new()))));
        }
        sent
    }

    /// Its VIEW-CHANGEs claim that nothing was prepared.
    fn hide(&self, payload: &Bytes) -> Bytes {
        let Some(change) = self.own_view_change(payload) else { return payload.clone() };
        let (stable, stable_digest) = change.stable();
        let proves = |bundle: &&std::sync::Arc<SealedBundle>| {
            let checkpoint = Statement::checkpoint(stable, stable_digest);
            bundle.statements().contains(&checkpoint)
        };
        let leave = Leave {
            signer: self.me,
            incarnation: change.incarnation(),
            pillar: change.pillar(),
            view: change.view(),
            stable,
            stable_digest,
            blocked: change.blocked(),
        };
        let bundles = change.bundles().iter().filter(proves).cloned().collect();
        self.view_change(ViewChangeContent::new(&leave, Vec::new(), bundles))
    }

    fn own_view_change(&self, payload: &Bytes) -> Option<std::sync::Arc<ViewChange>> {
        match PeerFrame::decode(payload, &self.limits) {
            Ok(PeerFrame::Message(Message::ViewChange(change))) if change.signer() == self.me => Some(change),
            _ => None,
        }
    }

    fn view_change(&self, content: ViewChangeContent) -> Bytes {
        let sealed = seal(self.me, &self.identity, content.entry());
        [&[PeerFrame::VIEW_CHANGE], &content.seal(sealed).bytes()[..]].concat().into()
    }

    /// Names a VIEW-CHANGE that nobody sent.
    fn wrong_view(&mut self, payload: &Bytes) -> Bytes {
        let Ok(PeerFrame::Message(Message::NewView(new_view))) = PeerFrame::decode(payload, &self.limits)
        else {
            return payload.clone();
        };
        if new_view.signer() != self.me {
            return payload.clone();
        }
        let mut changes = new_view.changes().to_vec();
        let place = self.random.index(changes.len());
        changes[place].1 = sha256(&[&changes[place].1.0]);
        let content = NewViewContent::new(self.me, new_view.pillar(), new_view.view(), changes);
        let sealed = seal(self.me, &self.identity, content.entry());
        [&[PeerFrame::NEW_VIEW], &content.seal(sealed).bytes()[..]].concat().into()
    }

    /// In views after the first it proposes other bodies than its NEW-VIEW chose, and votes for them.
    fn depart(&mut self, payload: &Bytes) -> Vec<Sent> {
        self.spare_body(payload);
        let Some(bundle) = self.statements(payload) else { return vec![now(payload.clone())] };
        let later = |s: &&Statement| s.kind == Kind::Propose && s.view.0 > 0;
        let mut sent = Vec::new();
        if let Some((digest, body)) = &self.spare
            && bundle.statements().iter().any(|s| later(&s))
        {
            sent.push(now(body.clone()));
            for s in bundle.statements().iter().filter(later) {
                self.departs.entry((s.pillar, s.view, s.seq)).or_insert(*digest);
            }
        }
        sent.extend(self.each(payload, |me, s| {
            let digest = me.departs.get(&(s.pillar, s.view, s.seq)).copied().unwrap_or(s.digest);
            Statement { digest, ..*s }
        }));
        sent
    }

    /// Of a body that it sends or hears it makes another valid one.
    fn spare_body(&mut self, payload: &Bytes) {
        if payload.first() == Some(&PeerFrame::BODY)
            && let Ok(body) = Body::decode(payload.slice(1..), &self.limits)
            && !body.is_empty()
        {
            let changed = self.replace(payload, at_another_time);
            self.spare = self.instead.get(&body.digest()).cloned().filter(|(_, other)| *other == changed);
        }
    }

    fn reorder(&self, payload: &Bytes) -> Vec<Sent> {
        let Some(bundle) = self.statements(payload) else { return vec![now(payload.clone())] };
        let one = |s: &Statement| now(self.bundle(bundle.pillar(), &[*s]));
        bundle.statements().iter().rev().map(one).collect()
    }
}

pub(super) fn now(payload: Bytes) -> Sent {
    Sent { delay: 0, payload }
}

fn votes(kind: Kind) -> bool {
    matches!(kind, Kind::Prepare | Kind::Commit)
}

/// The same about a digest that nobody proposed.
fn other(statement: &Statement) -> Statement {
    Statement { digest: sha256(&[&statement.digest.0]), ..*statement }
}

/// Whose request a payload passes on.
fn client_of(payload: &Bytes) -> Option<usize> {
    let bytes = payload.get(1..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

/// A body with the same requests at another time.
fn at_another_time(body: &mut [u8]) {
    body[1] ^= 1;
}
