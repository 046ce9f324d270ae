#![allow(clippy::unwrap_used)]

mod attacks;

use super::*;
use crate::frame::HEADER_LEN;
use hypostyle_app_api::{Instant, ReplicaId};
use hypostyle_crypto::{Domain, Identity, MacKey, Signer, SigningKey, Suite};

const NOW: Instant = Instant(1_000);
const PILLAR: PillarId = PillarId(1);
const REPLICA_0: Peer = Peer { role: Role::Replica, id: 0 };
const REPLICA_1: Peer = Peer { role: Role::Replica, id: 1 };
const CLIENT_0: Peer = Peer { role: Role::Client, id: 0 };
const CLIENT_1: Peer = Peer { role: Role::Client, id: 1 };

/// Two replicas and two clients.
struct Cluster {
    keyring: Arc<Keyring>,
    identities: Vec<Arc<Identity>>,
}

impl Cluster {
    fn new() -> Self {
        let keys: Vec<_> = (0..4).map(|_| SigningKey::generate(Suite::Ed25519)).collect();
        let public: Vec<_> = keys.iter().map(SigningKey::public).collect();
        let domain = Domain { configuration: Digest([7; 32]) };
        let keyring = Arc::new(Keyring::new(domain, &public[..2], &public[2..]).unwrap());
        let identities = [REPLICA_0, REPLICA_1, CLIENT_0, CLIENT_1].into_iter().zip(keys);
        let identity = |(peer, key): (Peer, _)| Arc::new(Identity::new(peer.signer().unwrap(), key, domain));
        Self { keyring, identities: identities.map(identity).collect() }
    }

    fn identity(&self, peer: Peer) -> &Arc<Identity> {
        self.identities.iter().find(|identity| Peer::from(identity.signer()) == peer).unwrap()
    }

    /// A process of it, with a ticket key of its own.
    fn local(&self) -> Local {
        let summary = Bytes::from_static(b"pillars=2\nbundle=64\n");
        let tickets = Arc::new(TicketKey::generate());
        Local { keyring: Arc::clone(&self.keyring), pillars: 2, summary, tickets }
    }

    fn side(&self, me: Peer) -> Process {
        Process { local: self.local(), identity: Arc::clone(self.identity(me)), now: NOW }
    }
}

struct Process {
    local: Local,
    identity: Arc<Identity>,
    now: Instant,
}

/// What both sides came to.
struct Outcome {
    initiator: Option<Result<Agreed, Failure>>,
    responder: Option<Result<Agreed, Failure>>,
    messages: usize,
}

impl Outcome {
    fn agreed(self) -> (Agreed, Agreed) {
        (self.initiator.unwrap().unwrap(), self.responder.unwrap().unwrap())
    }

    fn refusal_of_initiator(&self) -> Option<Refusal> {
        self.initiator.as_ref()?.as_ref().err().map(|failure| failure.refusal)
    }

    fn refusal_of_responder(&self) -> Option<Refusal> {
        self.responder.as_ref()?.as_ref().err().map(|failure| failure.refusal)
    }
}

/// One handshake; `tamper` sees every message, by number, on its way.
struct Run<'a> {
    initiator: &'a Process,
    responder: &'a Process,
    expects: Peer,
    pillar: PillarId,
    admits: Role,
    resumption: Option<Resumption>,
    allowance: Allowance,
}

impl<'a> Run<'a> {
    fn new(initiator: &'a Process, responder: &'a Process) -> Self {
        let admits = Peer::from(initiator.identity.signer()).role;
        let expects = responder.identity.signer().into();
        Self {
            initiator,
            responder,
            expects,
            pillar: PILLAR,
            admits,
            resumption: None,
            allowance: Allowance::default(),
        }
    }

    fn resuming(self, resumption: &Resumption) -> Self {
        Self { resumption: Some(resumption.clone()), ..self }
    }

    fn go(self) -> Outcome {
        self.tampered(|_, _| ())
    }

    fn tampered(self, mut tamper: impl FnMut(usize, &mut Vec<u8>)) -> Outcome {
        let (mut up, mut down) = (WriteBuffer::default(), WriteBuffer::default());
        let identity = Arc::clone(&self.initiator.identity);
        let local = &self.initiator.local;
        let mut initiator =
            Initiator::start(local, identity, self.expects, self.pillar, self.resumption, &mut up);
        let mut responder = Responder::new(self.admits);
        let mut allowance = self.allowance;
        let mut gate = Gate {
            local: &self.responder.local,
            identity: &self.responder.identity,
            now: self.responder.now,
            serves: &|_| true,
            allowance: &mut allowance,
        };
        let mut outcome = Outcome { initiator: None, responder: None, messages: 0 };
        while !up.is_empty() || !down.is_empty() {
            for mut message in messages(&mut up) {
                tamper(outcome.messages, &mut message);
                outcome.messages += 1;
                if outcome.responder.is_none() {
                    assert!(message.len() <= responder.message_max());
                    outcome.responder = over(responder.step(&mut gate, &message, &mut down));
                }
            }
            for mut message in messages(&mut down) {
                tamper(outcome.messages, &mut message);
                outcome.messages += 1;
                if outcome.initiator.is_none() {
                    outcome.initiator = over(initiator.step(local, &message, &mut up));
                }
            }
        }
        outcome
    }
}

fn over(step: Result<Step, Failure>) -> Option<Result<Agreed, Failure>> {
    match step {
        Ok(Step::Agreed(agreed)) => Some(Ok(*agreed)),
        Ok(_) => None,
        Err(failure) => Some(Err(failure)),
    }
}

/// Takes the messages out of a write buffer.
fn messages(out: &mut WriteBuffer) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    while !out.is_empty() {
        out.write_to(&mut bytes, usize::MAX).unwrap();
    }
    let (mut rest, mut messages) = (&bytes[..], Vec::new());
    while let frame::Front::Whole(extent) = frame::front(rest, REFUSAL_MAX, 0) {
        messages.push(rest[HEADER_LEN..extent.payload_end].to_vec());
        rest = &rest[extent.end..];
    }
    assert!(rest.is_empty());
    messages
}

/// A signed handshake between two processes, for what it leaves behind.
fn resumption(initiator: &Process, responder: &Process) -> Resumption {
    Run::new(initiator, responder).go().agreed().0.resumption.unwrap()
}

fn assert_macs_fit(a: &mut Macs, b: &mut Macs) {
    let frame = [&7u32.to_le_bytes()[..], b"payload"].concat();
    let (to_b, to_a) = (a.send.seal(&frame), b.send.seal(&frame));
    assert_ne!(to_a, to_b, "each direction has its key");
    assert!(b.receive.verify(&frame, &to_b));
    assert!(a.receive.verify(&frame, &to_a));
    let reflected = a.send.seal(&frame);
    assert!(!a.receive.verify(&frame, &reflected), "a reflected frame");
}

#[test]
fn both_sides_agree_with_signatures() {
    let cluster = Cluster::new();
    let (one, zero) = (cluster.side(REPLICA_1), cluster.side(REPLICA_0));
    let outcome = Run::new(&one, &zero).go();
    assert_eq!(outcome.messages, 4);
    let (mut a, mut b) = outcome.agreed();
    assert_eq!((a.me, a.peer, a.pillar, a.resumed), (REPLICA_1, REPLICA_0, PILLAR, false));
    assert_eq!((b.me, b.peer, b.pillar, b.resumed), (REPLICA_0, REPLICA_1, PILLAR, false));
    assert!(a.resumption.is_some() && b.resumption.is_none());
    assert_macs_fit(&mut a.macs.take().unwrap(), &mut b.macs.take().unwrap());
}

#[test]
fn both_sides_agree_with_a_ticket_for_any_pillar_and_with_other_keys() {
    let cluster = Cluster::new();
    let (one, zero) = (cluster.side(REPLICA_1), cluster.side(REPLICA_0));
    let resumption = resumption(&one, &zero);
    let again = |pillar| Run { pillar, ..Run::new(&one, &zero).resuming(&resumption) }.go();
    assert_eq!(again(PILLAR).messages, 3);
    let (mut a, mut b) = again(PillarId(0)).agreed();
    assert!(a.resumed && b.resumed && a.resumption.is_none());
    assert_eq!((b.peer, b.pillar), (REPLICA_1, PillarId(0)));
    let (mut a, mut b) = (a.macs.take().unwrap(), b.macs.take().unwrap());
    assert_macs_fit(&mut a, &mut b);
    let other =
        again(PillarId(0)).agreed().1.macs.unwrap().receive.verify(b"\0\0\0\0", &a.send.seal(b"\0\0\0\0"));
    assert!(!other, "every connection has its keys");
}

#[test]
fn links_with_clients_have_no_mac_but_keys_for_what_they_carry() {
    let cluster = Cluster::new();
    let agree = || Run::new(&cluster.side(CLIENT_0), &cluster.side(REPLICA_0)).go().agreed();
    let (a, b) = agree();
    assert!(a.macs.is_none() && b.macs.is_none());
    assert_eq!(b.peer, CLIENT_0);
    let (a, b, other) = (a.session.unwrap(), b.session.unwrap(), agree().1.session.unwrap());
    let tag = |key: &MacKey| key.tag(&Digest::ZERO);
    assert_eq!((tag(&a.requests), tag(&a.replies)), (tag(&b.requests), tag(&b.replies)));
    assert_ne!(tag(&a.requests), tag(&a.replies));
    assert_ne!(tag(&a.requests), tag(&other.requests), "every connection has its keys");
}

#[test]
fn every_suite_shakes_hands() {
    for suite in hypostyle_crypto::SUITES {
        let keys = [SigningKey::generate(suite), SigningKey::generate(suite)];
        let public = keys.each_ref().map(SigningKey::public);
        let domain = Domain { configuration: Digest([7; 32]) };
        let keyring = Arc::new(Keyring::new(domain, &public, &[]).unwrap());
        let mut processes = keys.into_iter().zip(0..).map(|(key, id)| {
            let identity = Arc::new(Identity::new(Signer::Replica(ReplicaId(id)), key, domain));
            let local = Local {
                keyring: Arc::clone(&keyring),
                pillars: 2,
                summary: Bytes::new(),
                tickets: Arc::new(TicketKey::generate()),
            };
            Process { local, identity, now: NOW }
        });
        let (zero, one) = (processes.next().unwrap(), processes.next().unwrap());
        Run::new(&one, &zero).go().agreed();
    }
}

#[test]
fn both_sides_name_the_first_field_that_differs() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let domain = Domain { configuration: Digest([8; 32]) };
    let keys: Vec<_> = (0..2).map(|_| SigningKey::generate(Suite::Ed25519).public()).collect();
    let mut one = other.side(REPLICA_1);
    one.local.keyring = Arc::new(Keyring::new(domain, &keys, &keys).unwrap());
    one.local.summary = Bytes::from_static(b"pillars=4\nbundle=1\n");
    let outcome = Run::new(&one, &cluster.side(REPLICA_0)).go();
    let initiator = outcome.initiator.unwrap().err().unwrap().to_string();
    let responder = outcome.responder.unwrap().err().unwrap().to_string();
    assert_eq!(initiator, "another cluster configuration: pillars is 4 here and 2 at replica 0");
    assert_eq!(responder, "another cluster configuration: pillars is 2 here and 4 at replica 1");
}

#[test]
fn an_unknown_or_expired_ticket_falls_back_to_signatures() {
    let cluster = Cluster::new();
    let (client, zero) = (cluster.side(CLIENT_0), cluster.side(REPLICA_0));
    let resumption = resumption(&client, &zero);
    let restarted = cluster.side(REPLICA_0);
    let (a, b) = Run::new(&client, &restarted).resuming(&resumption).go().agreed();
    assert!(!a.resumed && !b.resumed && a.resumption.is_some());
    let (a, _) = Run::new(&client, &cluster.side(REPLICA_1)).resuming(&resumption).go().agreed();
    assert!(!a.resumed, "a ticket of another replica");
    let later = Process { now: NOW + TICKET_LIFETIME, ..zero };
    let (a, b) = Run::new(&client, &later).resuming(&resumption).go().agreed();
    assert!(!a.resumed && !b.resumed);
}

#[test]
fn a_ticket_used_too_often_does_not_serve() {
    let cluster = Cluster::new();
    let (client, zero) = (cluster.side(CLIENT_0), cluster.side(REPLICA_0));
    let resumption = resumption(&client, &zero);
    let resumes = |spender: Peer| {
        let mut allowance = Allowance::default();
        while allowance.may_resume(spender, NOW) {
            allowance.resumed(spender, NOW);
        }
        let (a, b) = Run { allowance, ..Run::new(&client, &zero).resuming(&resumption) }.go().agreed();
        assert_eq!(a.resumed, b.resumed);
        b.resumed
    };
    assert!(!resumes(CLIENT_0) && resumes(CLIENT_1));
}

#[test]
fn a_hello_for_another_workers_pillar_is_passed_on() {
    let cluster = Cluster::new();
    let (one, zero) = (cluster.side(REPLICA_1), cluster.side(REPLICA_0));
    let mut out = WriteBuffer::default();
    Initiator::start(&one.local, Arc::clone(&one.identity), REPLICA_0, PILLAR, None, &mut out);
    let mut allowance = Allowance::default();
    let mut gate = Gate {
        local: &zero.local,
        identity: &zero.identity,
        now: NOW,
        serves: &|pillar| pillar != PILLAR,
        allowance: &mut allowance,
    };
    let hello = messages(&mut out).remove(0);
    let step = Responder::new(Role::Replica).step(&mut gate, &hello, &mut out);
    assert!(matches!(step, Ok(Step::Elsewhere { peer: REPLICA_1, pillar: PILLAR })));
    assert!(out.is_empty());
}

#[test]
fn nothing_secret_is_printed() {
    let cluster = Cluster::new();
    assert_eq!(format!("{:?}", cluster.local().tickets), "TicketKey");
}
