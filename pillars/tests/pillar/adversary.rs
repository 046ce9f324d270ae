//! The first f primaries in a row are Byzantine and work together: they equivocate in their views, vote for everything,
//! begin views with different VIEW-CHANGEs at different replicas or not at all, and fall silent in the end. Nobody decides
//! differently (the cluster checks), and all that was asked for is executed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hypostyle_app_api::{Digest, PillarId, ReplicaId, Seq, Timestamp, View};
use hypostyle_pillars::Config;
use hypostyle_pillars::message::{Body, Kind, Leave, Message, PeerFrame, Statement, ViewChange};
use proptest::prelude::*;

use crate::cluster::Cluster;
use crate::fixture::{MS, body_frame, bundle_frame, config};
use crate::forge::{bare, change_frame, leave, new_view, new_view_frame, view_change};
use crate::random::Random;

struct Adversary {
    cluster: Cluster,
    bodies: Vec<Body>,
}

/// Slots they propose for.
const SLOTS: u64 = 3;

impl Adversary {
    fn new(replicas: u16, seed: u64, loss: u64) -> Self {
        let mut cluster = Cluster::new(Config { batch_max: 2, ..config(replicas, 1) });
        cluster.down = (0..(replicas - 1) / 3).map(ReplicaId).collect();
        cluster.random = Random(seed);
        cluster.loss = loss;
        cluster.bundle = 1 + cluster.random.below(3);
        let bodies = (1..=4).map(|n| cluster.keys.body(Timestamp(n), &[n])).collect();
        Self { cluster, bodies }
    }

    fn correct(&self) -> Vec<u16> {
        self.cluster.up().into_iter().map(|id| id.0).collect()
    }

    fn byzantine(&self) -> Vec<u16> {
        self.cluster.down.iter().map(|id| id.0).collect()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.cluster.random.percent(percent)
    }

    fn say(&mut self, from: u16, to: u16, kind: Kind, view: u64, seq: u64, digest: Digest) {
        let statement = Statement { kind, pillar: PillarId(0), view: View(view), seq: Seq(seq), digest };
        let bundle = bundle_frame(&self.cluster.keys.bundle(ReplicaId(from), PillarId(0), &[statement]));
        self.cluster.inject(from, to, 0, bundle);
    }

    /// As primary of `view`: different bodies for different replicas, and all Byzantine votes for whatever was proposed.
    fn equivocate(&mut self, view: u64) {
        let primary = self.cluster.config.primary(View(view)).0;
        for seq in 1..=SLOTS {
            let pair = [0, 1].map(|_| self.cluster.random.below(self.bodies.len()));
            for to in self.correct() {
                let side = usize::from(self.chance(50));
                let body = self.bodies[pair[side]].clone();
                let digest = body.digest();
                if self.chance(90) {
                    self.cluster.inject(primary, to, 0, body_frame(&body));
                    self.say(primary, to, Kind::Propose, view, seq, digest);
                }
                for from in self.byzantine() {
                    for index in pair {
                        let digest = self.bodies[index].digest();
                        if from != primary && self.chance(80) {
                            self.say(from, to, Kind::Prepare, view, seq, digest);
                        }
                        if self.chance(50) {
                            self.say(from, to, Kind::Commit, view, seq, digest);
                        }
                    }
                }
                if self.chance(20) {
                    self.cluster.shuffle();
                }
            }
        }
        self.cluster.shuffle();
    }

    /// The VIEW-CHANGEs for `view` that the Byzantine replicas have heard.
    fn heard(&self, view: u64) -> BTreeMap<u16, Arc<ViewChange>> {
        let limits = self.cluster.config.frame_limits();
        let frames = self.cluster.heard.iter().filter(|e| e.frame[0] == PeerFrame::VIEW_CHANGE);
        let changes = frames.filter_map(|e| match PeerFrame::decode(&e.frame, &limits) {
            Ok(PeerFrame::Message(Message::ViewChange(change))) => Some(change),
            _ => None,
        });
        changes.filter(|c| c.view() == View(view)).map(|c| (c.signer().0, c)).collect()
    }

    /// Own VIEW-CHANGEs: empty, or with certificates taken from others, which are true.
    fn own(&mut self, view: u64, heard: &BTreeMap<u16, Arc<ViewChange>>) -> Vec<Arc<ViewChange>> {
        let mut own = Vec::new();
        for signer in self.byzantine() {
            own.push(bare(&self.cluster.keys, signer, view));
            for other in heard.values() {
                let (stable, stable_digest) = other.stable();
                let leave = Leave { stable, stable_digest, ..leave(signer, view) };
                own.push(view_change(&self.cluster.keys, &leave, other.prepared(), other.bundles()));
            }
        }
        own
    }

    /// As primary of `view`: begins it at each replica with other VIEW-CHANGEs, where it likes to.
    fn begin(&mut self, view: u64) {
        let heard = self.heard(view);
        let own = self.own(view, &heard);
        let primary = self.cluster.config.primary(View(view)).0;
        let quorum = self.cluster.config.quorum();
        for to in self.correct() {
            let mut signers: BTreeSet<u16> = heard.keys().copied().collect();
            signers.extend(self.byzantine());
            while signers.len() > quorum {
                let index = self.cluster.random.below(signers.len());
                let gone = *signers.iter().nth(index).unwrap();
                signers.remove(&gone);
            }
            if signers.len() < quorum || self.chance(15) {
                continue;
            }
            let mut changes = Vec::new();
            for signer in signers {
                let forged: Vec<_> = own.iter().filter(|c| c.signer().0 == signer).collect();
                changes.push(match heard.get(&signer) {
                    Some(change) => Arc::clone(change),
                    None => Arc::clone(forged[self.cluster.random.below(forged.len())]),
                });
            }
            let new_view = new_view(&self.cluster.keys, primary, view, &changes);
            self.cluster.inject(primary, to, 0, new_view_frame(&new_view));
            for change in changes.iter().filter(|change| change.signer().0 != to) {
                self.cluster.inject(primary, to, 0, change_frame(change));
            }
            if self.chance(30) {
                self.cluster.shuffle();
            }
        }
    }

    /// Time passes until every correct replica has left for `view` or gone on.
    fn until_all_left_for(&mut self, view: u64) {
        for _ in 0..200 {
            let views: Vec<_> = self.correct().iter().map(|at| self.cluster.pillar(*at, 0).view()).collect();
            if views.iter().all(|at| *at >= View(view)) {
                return;
            }
            self.cluster.shuffle();
            self.cluster.pass_deadline();
        }
        panic!("not everybody leaves for {view}");
    }

    fn rage(&mut self, requests: &[(u32, u64)]) {
        for (client, number) in requests {
            let request = self.cluster.keys.lone(*client, *number);
            self.cluster.submit_to_all(&request);
        }
        let views = self.byzantine().len() as u64;
        self.equivocate(0);
        for view in 1..views {
            self.until_all_left_for(view);
            self.cluster.shuffle();
            self.begin(view);
            self.equivocate(view);
        }
    }

    fn end(&mut self, requests: &[(u32, u64)]) {
        self.cluster.loss = 0;
        self.cluster.reconnect();
        self.cluster.settle_for(20_000 * MS);
        for _ in 0..4 {
            self.cluster.insist_for(requests, 20_000 * MS);
        }
        self.cluster.assert_executed(requests);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn one_equivocating_primary(seed in any::<u64>(), loss in 0u64..30) {
        let requests = [(0, 1), (1, 1), (2, 1)];
        let mut adversary = Adversary::new(4, seed, loss);
        adversary.rage(&requests);
        adversary.end(&requests);
    }

    #[test]
    fn two_equivocating_primaries_in_a_row(seed in any::<u64>(), loss in 0u64..30) {
        let requests = [(0, 1), (1, 1), (2, 1)];
        let mut adversary = Adversary::new(7, seed, loss);
        adversary.rage(&requests);
        adversary.end(&requests);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn three_equivocating_primaries_in_a_row(seed in any::<u64>(), loss in 0u64..20) {
        let requests = [(0, 1), (1, 1)];
        let mut adversary = Adversary::new(10, seed, loss);
        adversary.rage(&requests);
        adversary.end(&requests);
    }

    /// The new primary alone is Byzantine: views begin with what the others say.
    #[test]
    fn a_new_primary_that_begins_its_view_differently_for_each(seed in any::<u64>(), loss in 0u64..30) {
        let requests = [(0, 1), (1, 1), (2, 1)];
        let mut adversary = Adversary::new(4, seed, loss);
        adversary.cluster.down = [ReplicaId(1)].into();
        for (client, number) in requests {
            let request = adversary.cluster.keys.lone(client, number);
            adversary.cluster.submit_to_all(&request);
        }
        // Some way into view 0, then its primary is cut off until the others have left.
        for _ in 0..adversary.cluster.random.below(60) {
            if let Some(id) = adversary.cluster.up().into_iter().find(|id| adversary.cluster.has_unsealed(*id)) {
                adversary.cluster.seal(id);
            } else if !adversary.cluster.wire.is_empty() {
                let index = adversary.cluster.random.below(adversary.cluster.wire.len());
                let envelope = adversary.cluster.wire.swap_remove(index);
                adversary.cluster.deliver(&envelope);
            }
        }
        adversary.cluster.isolated.insert(ReplicaId(0));
        adversary.cluster.wire.clear();
        for _ in 0..20 {
            adversary.cluster.shuffle();
            adversary.cluster.pass_deadline();
        }
        adversary.cluster.isolated.clear();
        adversary.cluster.reconnect();
        adversary.cluster.shuffle();
        adversary.begin(1);
        adversary.equivocate(1);
        adversary.end(&requests);
    }
}
