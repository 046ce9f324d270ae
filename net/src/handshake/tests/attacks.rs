use super::*;
use crate::handshake::messages::{FromResponder, Hello};
use hypostyle_app_api::ClientId;
use proptest::prelude::*;

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
