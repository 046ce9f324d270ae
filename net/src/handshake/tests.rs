#![allow(clippy::unwrap_used)]

use super::*;
use crate::frame::HEADER_LEN;
use crate::handshake::messages::{FromResponder, Hello};
use hypostyle_app_api::{ClientId, Instant, ReplicaId};
use hypostyle_crypto::{Domain, Identity, Signer, SigningKey, Suite};
use proptest::prelude::*;

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
}

impl<'a> Run<'a> {
    fn new(initiator: &'a Process, responder: &'a Process) -> Self {
        let admits = Peer::from(initiator.identity.signer()).role;
        let expects = responder.identity.signer().into();
        Self { initiator, responder, expects, pillar: PILLAR, admits, resumption: None }
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
        let mut allowance = Allowance::default();
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
        out.write_to(&mut bytes).unwrap();
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
fn links_with_clients_have_no_mac() {
    let cluster = Cluster::new();
    let (a, b) = Run::new(&cluster.side(CLIENT_0), &cluster.side(REPLICA_0)).go().agreed();
    assert!(a.macs.is_none() && b.macs.is_none());
    assert_eq!(b.peer, CLIENT_0);
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

/// Flips each bit of message `number`: who receives it never agrees, and who sent it only if it was the last one.
fn assert_no_bit_can_be_flipped(run: impl Fn() -> Run<'static>, number: usize, last: usize) {
    let mut length = 0;
    run().tampered(|n, message| length = if n == number { message.len() } else { length });
    assert!(length > 0);
    for bit in 0..length * 8 {
        let outcome = run().tampered(|n, message| {
            if n == number {
                message[bit / 8] ^= 1 << (bit % 8);
            }
        });
        let to_responder = number.is_multiple_of(2);
        let (receiver, sender) = match to_responder {
            true => (outcome.responder, outcome.initiator),
            false => (outcome.initiator, outcome.responder),
        };
        assert!(!matches!(receiver, Some(Ok(_))), "bit {bit} of message {number}");
        assert_eq!(matches!(sender, Some(Ok(_))), number == last, "bit {bit} of message {number}");
    }
}

fn leaked(process: Process) -> &'static Process {
    Box::leak(Box::new(process))
}

#[test]
fn no_bit_of_a_signed_handshake_can_be_flipped() {
    let cluster = Cluster::new();
    let (one, zero) = (leaked(cluster.side(REPLICA_1)), leaked(cluster.side(REPLICA_0)));
    for number in 0..4 {
        assert_no_bit_can_be_flipped(|| Run::new(one, zero), number, 3);
    }
}

#[test]
fn no_bit_of_a_resumed_handshake_can_be_flipped() {
    let cluster = Cluster::new();
    let (one, zero) = (leaked(cluster.side(REPLICA_1)), leaked(cluster.side(REPLICA_0)));
    let resumption = resumption(one, zero);
    for number in 0..3 {
        assert_no_bit_can_be_flipped(|| Run::new(one, zero).resuming(&resumption), number, 2);
    }
}

#[test]
fn another_key_is_refused_on_either_side_and_before_the_responder_signs() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let forger = |peer| Process { identity: Arc::clone(other.identity(peer)), ..cluster.side(peer) };
    let outcome = Run::new(&forger(REPLICA_1), &cluster.side(REPLICA_0)).go();
    assert_eq!(outcome.refusal_of_responder(), Some(Refusal::Signature));
    assert_eq!(outcome.refusal_of_initiator(), Some(Refusal::ByPeer));
    let outcome = Run::new(&cluster.side(REPLICA_1), &forger(REPLICA_0)).go();
    assert_eq!(outcome.refusal_of_initiator(), Some(Refusal::Signature));
}

#[test]
fn a_responder_says_nothing_signed_to_who_proved_nothing() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let forger = Process { identity: Arc::clone(other.identity(REPLICA_1)), ..cluster.side(REPLICA_1) };
    let zero = cluster.side(REPLICA_0);
    let mut told = Vec::new();
    Run::new(&forger, &zero).tampered(|n, message| {
        if n % 2 == 1 {
            told.push(message.clone());
        }
    });
    let is_welcome =
        |message: &Vec<u8>| matches!(FromResponder::decode(message), Some(FromResponder::Welcome(_)));
    assert_eq!(told.len(), 2);
    assert!(!told.iter().any(is_welcome));
}

#[test]
fn wrong_identities_roles_and_pillars_are_refused_by_name() {
    let cluster = Cluster::new();
    let (one, zero, client) = (cluster.side(REPLICA_1), cluster.side(REPLICA_0), cluster.side(CLIENT_0));
    let refused = |run: Run<'_>| {
        let outcome = run.go();
        (outcome.refusal_of_initiator(), outcome.refusal_of_responder())
    };
    let by_peer = |reason| (Some(Refusal::ByPeer), Some(reason));
    let run = Run { expects: REPLICA_1, ..Run::new(&client, &zero) };
    assert_eq!(refused(run), (Some(Refusal::UnexpectedIdentity), None));
    let run = Run { admits: Role::Client, ..Run::new(&one, &zero) };
    assert_eq!(refused(run), by_peer(Refusal::Role));
    let run = Run { pillar: PillarId(2), ..Run::new(&one, &zero) };
    assert_eq!(refused(run), by_peer(Refusal::Pillar));
    assert_eq!(refused(Run::new(&zero, &cluster.side(REPLICA_0))), by_peer(Refusal::UnknownIdentity));
    let domain = cluster.keyring.domain();
    for signer in [Signer::Client(ClientId(2)), Signer::Client(ClientId(u32::MAX))] {
        let identity = Arc::new(Identity::new(signer, SigningKey::generate(Suite::Ed25519), domain));
        let stranger = Process { identity, ..cluster.side(CLIENT_0) };
        assert_eq!(refused(Run::new(&stranger, &zero)), by_peer(Refusal::UnknownIdentity));
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
fn a_ticket_serves_its_owner_alone() {
    let cluster = Cluster::new();
    let (mine, other, zero) = (cluster.side(CLIENT_0), cluster.side(CLIENT_1), cluster.side(REPLICA_0));
    let stolen = resumption(&mine, &zero);
    let outcome = Run::new(&other, &zero).resuming(&stolen).go();
    assert_eq!(outcome.refusal_of_responder(), Some(Refusal::Ticket));
}

#[test]
fn a_ticket_without_its_secret_is_worth_nothing() {
    let cluster = Cluster::new();
    let (client, zero) = (cluster.side(CLIENT_0), cluster.side(REPLICA_0));
    let mut seen = resumption(&client, &zero);
    seen.secret = Default::default();
    let outcome = Run::new(&client, &zero).resuming(&seen).go();
    assert_eq!(outcome.refusal_of_initiator(), Some(Refusal::KeyConfirmation));
    assert!(outcome.responder.is_none());
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
fn what_was_said_once_serves_in_no_other_handshake() {
    let cluster = Cluster::new();
    let (one, zero) = (cluster.side(REPLICA_1), cluster.side(REPLICA_0));
    let resumption = resumption(&one, &zero);
    for resumes in [false, true] {
        let run = || match resumes {
            true => Run::new(&one, &zero).resuming(&resumption),
            false => Run::new(&one, &zero),
        };
        let mut recorded = Vec::new();
        let last = run().tampered(|_, message| recorded.push(message.clone())).messages;
        assert!(matches!(replay(&zero, &recorded), Some(Err(_))), "replayed whole");
        for replayed in 1..last {
            let outcome = run().tampered(|n, message| {
                if n == replayed {
                    *message = recorded[n].clone();
                }
            });
            let receiver = if replayed % 2 == 0 { outcome.responder } else { outcome.initiator };
            assert!(matches!(receiver, Some(Err(_))), "message {replayed}");
        }
    }
}

/// The initiator's messages of before, sent to a new responder of the same process.
fn replay(process: &Process, recorded: &[Vec<u8>]) -> Option<Result<Agreed, Failure>> {
    let mut allowance = Allowance::default();
    let mut gate = Gate {
        local: &process.local,
        identity: &process.identity,
        now: process.now,
        serves: &|_| true,
        allowance: &mut allowance,
    };
    let (mut responder, mut out) = (Responder::new(Role::Replica), WriteBuffer::default());
    recorded.iter().step_by(2).find_map(|message| over(responder.step(&mut gate, message, &mut out)))
}

#[test]
fn own_messages_reflected_are_refused() {
    let cluster = Cluster::new();
    let (one, zero) = (cluster.side(REPLICA_1), cluster.side(REPLICA_0));
    let mut previous = Vec::new();
    for reflected in 1..4 {
        let outcome = Run::new(&one, &zero).tampered(|n, message| {
            let sent = message.clone();
            if n == reflected {
                message.clone_from(&previous);
            }
            previous = sent;
        });
        let receiver = if reflected % 2 == 0 { outcome.responder } else { outcome.initiator };
        assert!(matches!(receiver, Some(Err(_))), "message {reflected}");
    }
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn garbage_at_every_stage_is_refused(
        number in 0usize..4,
        garbage in proptest::collection::vec(any::<u8>(), 0..180),
        kind in proptest::option::of(1u8..7),
    ) {
        let cluster = Cluster::new();
        let (one, zero) = (cluster.side(REPLICA_1), cluster.side(REPLICA_0));
        let outcome = Run::new(&one, &zero).tampered(|n, message| {
            if n == number {
                message.clone_from(&garbage);
                if let (Some(first), Some(kind)) = (message.first_mut(), kind) {
                    *first = kind;
                }
            }
        });
        let receiver = if number % 2 == 0 { outcome.responder } else { outcome.initiator };
        prop_assert!(!matches!(receiver, Some(Ok(_))));
    }

    #[test]
    fn a_hello_of_any_content_is_survived(
        id: u32, replica: bool, pillar: u16, nonce: [u8; 32], share: [u8; 32], known: bool, ticket: bool,
    ) {
        let cluster = Cluster::new();
        let zero = cluster.side(REPLICA_0);
        let hello = Hello {
            from: Peer { role: if replica { Role::Replica } else { Role::Client }, id },
            pillar: PillarId(pillar),
            nonce,
            share,
            configuration: if known { Digest([7; 32]) } else { Digest(nonce) },
            ticket: ticket.then_some([1; ticket::TICKET_LEN]),
        };
        let outcome = Run::new(&cluster.side(CLIENT_0), &zero).tampered(|n, message| {
            if n == 0 {
                *message = hello.encode().to_vec();
            }
        });
        prop_assert!(!matches!(outcome.responder, Some(Ok(_))));
    }
}
