//! Whole slots on the cores of four replicas, stepped by hand: propose, prepare, commit.

use crate::fixture::{Fixture, REPLICAS, config};
use crate::measured;
use hypostyle_app_api::{Instant, Now, ReplicaId, Seq, Timestamp};
use hypostyle_crypto::Verified;
use hypostyle_pillars::message::{Message, Statement};
use hypostyle_pillars::{Admission, Executed, Input, Output, Pillar, Source};
use std::collections::VecDeque;
use std::sync::Arc;

const SLOTS: u64 = 10;
const NOW: Now = Now { instant: Instant(1_000_000_000), wall: Timestamp(1_000_000_000) };

struct Cluster {
    fixture: Fixture,
    pillars: Vec<Pillar>,
    /// What is on its way: from whom, to whom.
    inputs: VecDeque<(ReplicaId, ReplicaId, Input)>,
    out: Vec<Output>,
    decided: u64,
}

/// Slots with `requests` requests each; an operation is a request, in all four replicas together.
pub(crate) fn run(requests: u64) -> u64 {
    let fixture = Fixture::new();
    let pillars = (0..REPLICAS).map(|id| Pillar::new(config(ReplicaId(id)))).collect();
    let mut cluster = Cluster { fixture, pillars, inputs: VecDeque::new(), out: Vec::new(), decided: 0 };
    for slot in 1..=SLOTS {
        cluster.order(requests, Seq(slot));
        assert_eq!(cluster.decided, slot * u64::from(REPLICAS), "every replica decides every slot");
    }
    SLOTS * requests
}

impl Cluster {
    fn order(&mut self, requests: u64, seq: Seq) {
        let primary = self.pillars[0].progress().primary;
        for _ in 0..requests {
            let request = self.fixture.decoded_request();
            let client = request.client();
            let request = self.verified(Message::Request(request));
            assert!(self.admits(primary, Source::Client(client), &request));
            self.step(primary, Input::Message(request));
        }
        self.step(primary, Input::Tick);
        while let Some((from, to, input)) = self.inputs.pop_front() {
            // A Commit that comes after the decision is dropped here.
            if !matches!(&input, Input::Message(message) if !self.admits(to, Source::Peer(from), message)) {
                self.step(to, input);
            }
        }
        for id in 0..REPLICAS {
            self.step(
                ReplicaId(id),
                Input::Executed(Executed { seq, floors: [].into(), past: vec![], far: vec![] }),
            );
        }
    }

    fn verified(&self, message: Message) -> Verified<Message> {
        self.fixture.keyring.verify(message).expect("signed above")
    }

    fn admits(&self, at: ReplicaId, source: Source, message: &Message) -> bool {
        measured(|| self.pillars[at.index()].admit(source, message)) == Admission::Verify
    }

    fn step(&mut self, at: ReplicaId, input: Input) {
        let (pillar, out) = (&mut self.pillars[at.index()], &mut self.out);
        measured(|| pillar.step(NOW, input, out));
        for output in std::mem::take(&mut self.out) {
            self.carry_out(at, output);
        }
    }

    fn carry_out(&mut self, from: ReplicaId, output: Output) {
        match output {
            Output::Statement(statement) => self.seal(from, statement),
            Output::SendBody(_, body) => self.send(from, Message::Body((*body).clone())),
            Output::Decided(_) => self.decided += 1,
            Output::Demand(_) => {}
            other => panic!("not in the normal case: {other:?}"),
        }
    }

    fn seal(&mut self, signer: ReplicaId, statement: Statement) {
        let bundle = self.fixture.bundle(signer, &[statement]);
        self.inputs.push_back((signer, signer, Input::Sealed(Arc::new(bundle.clone()))));
        self.send(signer, Message::Bundle(bundle));
    }

    fn send(&mut self, from: ReplicaId, message: Message) {
        let message = self.verified(message);
        for to in (0..REPLICAS).map(ReplicaId).filter(|to| *to != from) {
            self.inputs.push_back((from, to, Input::Message(message.clone())));
        }
    }
}
