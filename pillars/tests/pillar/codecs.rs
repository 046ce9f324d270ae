//! Every message type: one encoding a message, one message an encoding, and nothing else decodes or panics.

use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId, ReplicaId, Round, Seq, Timestamp, View};
use hypostyle_pillars::Config;
use hypostyle_pillars::message::{
    Body, BodyBuilder, FrameLimits, Kind, Message, PeerFrame, Recover, Request, SealedBundle, Statement,
    Status, WantedBody,
};
use proptest::prelude::*;
use std::sync::LazyLock;

use crate::fixture::{CLIENTS, Keys, config, frame};

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::new(4));

fn limits() -> FrameLimits {
    Config { request_operations: 64, batch_max: 512, batch_bytes: 64 << 10, ..config(4, 4) }.frame_limits()
}

/// What a frame decodes to, encoded again from its parts.
fn encode(frame: &PeerFrame) -> Bytes {
    match frame {
        PeerFrame::Message(Message::Request(request)) => {
            self::frame(PeerFrame::REQUEST, &encode_request(request))
        }
        PeerFrame::Message(Message::Body(body)) => self::frame(PeerFrame::BODY, &encode_body(body)),
        PeerFrame::Message(Message::Bundle(bundle)) => self::frame(PeerFrame::BUNDLE, &encode_bundle(bundle)),
        PeerFrame::Transfer(bytes) => self::frame(PeerFrame::TRANSFER, bytes),
        PeerFrame::Message(Message::Recover(recover)) => {
            self::frame(PeerFrame::RECOVER, &encode_recover(recover))
        }
        PeerFrame::Status(status) => {
            let mut bytes = Vec::new();
            status.encode(&mut bytes);
            self::frame(PeerFrame::STATUS, &bytes)
        }
        PeerFrame::Message(Message::ViewChange(_) | Message::NewView(_)) => {
            panic!("not among the frames of this file")
        }
    }
}

fn encode_request(request: &Request) -> Vec<u8> {
    use hypostyle_crypto::{Proof, Signed};
    let mut bytes = Vec::new();
    bytes.extend(request.client().0.to_le_bytes());
    bytes.extend(request.first().0.to_le_bytes());
    bytes.extend(request.floor().0.to_le_bytes());
    bytes.push(0);
    bytes.extend(request.count().to_le_bytes());
    for operation in request.operations() {
        bytes.extend(u32::try_from(operation.len()).unwrap().to_le_bytes());
        bytes.extend(operation);
    }
    assert_eq!(hypostyle_crypto::sha256(&[&bytes]), request.digest());
    bytes.push(0);
    let Proof::Signature(signature) = request.claim(0).proof else { panic!("tags") };
    bytes.extend(u16::try_from(signature.len()).unwrap().to_le_bytes());
    bytes.extend(signature);
    bytes
}

fn encode_recover(recover: &Recover) -> Vec<u8> {
    use hypostyle_crypto::{Proof, Signed};
    let mut bytes = Vec::new();
    bytes.extend(recover.replica().0.to_le_bytes());
    bytes.extend(recover.incarnation().to_le_bytes());
    bytes.extend(recover.nonce().0);
    assert_eq!(hypostyle_crypto::sha256(&[&bytes]), recover.claim(0).content);
    let Proof::Signature(signature) = recover.claim(0).proof else { panic!("tags") };
    bytes.extend(u16::try_from(signature.len()).unwrap().to_le_bytes());
    bytes.extend(signature);
    bytes
}

fn encode_body(body: &Body) -> Bytes {
    let mut builder = BodyBuilder::new();
    for r in body.requests() {
        let request = Request::decode(body.request_bytes(r), &limits().request).unwrap();
        assert_eq!((request.client(), request.first(), request.floor()), (r.client, r.first, r.floor));
        assert_eq!((request.count(), request.digest()), (r.count, r.digest));
        builder.push(&request);
    }
    for recover in body.recovers() {
        builder.recover(Recover::decode(encode_recover(recover).into(), limits().replicas).unwrap());
    }
    assert_eq!(builder.operation_count(), body.operation_count());
    let again = builder.finish(body.timestamp());
    assert_eq!((again.digest(), again.requests()), (body.digest(), body.requests()));
    again.bytes().clone()
}

fn encode_bundle(bundle: &SealedBundle) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(bundle.signer().0.to_le_bytes());
    bytes.extend(bundle.pillar().0.to_le_bytes());
    bytes.push(u8::try_from(bundle.statements().len()).unwrap());
    for s in bundle.statements() {
        let kinds = [Kind::Propose, Kind::Prepare, Kind::Commit, Kind::Checkpoint];
        bytes.push(u8::try_from(kinds.iter().position(|kind| *kind == s.kind).unwrap()).unwrap());
        bytes.extend(s.pillar.0.to_le_bytes());
        bytes.extend(s.view.0.to_le_bytes());
        bytes.extend(s.seq.0.to_le_bytes());
        bytes.extend(s.digest.0);
    }
    let (seal, used) = hypostyle_crypto::Seal::decode(&bundle.bytes()[bytes.len()..]).unwrap();
    assert_eq!(bytes.len() + used, bundle.bytes().len());
    seal.encode(&mut bytes);
    bytes
}

fn a_request() -> impl Strategy<Value = Request> {
    let operations = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8);
    (0..CLIENTS, 1u64..u64::MAX / 64, any::<u64>(), operations).prop_map(
        |(client, run, floor, operations)| {
            let operations: Vec<&[u8]> = operations.iter().map(Vec::as_slice).collect();
            KEYS.decoded(&KEYS.request(client, run * 64, floor % (run * 64), &operations))
        },
    )
}

fn a_recover() -> impl Strategy<Value = Recover> {
    (0..4u16, 1..=u64::MAX, any::<u8>())
        .prop_map(|(replica, incarnation, nonce)| KEYS.recover(replica, incarnation, nonce))
}

fn a_statement() -> impl Strategy<Value = Statement> {
    (0..4u8, 0..1000u64, 1..=u64::MAX, any::<[u8; 32]>()).prop_map(|(kind, view, seq, digest)| {
        let (view, seq, digest) = (View(view * 4), Seq(seq), Digest(digest));
        let of = |kind| Statement { kind, pillar: PillarId(1), view, seq, digest };
        match kind {
            0 => of(Kind::Propose),
            1 => Statement { view: View(view.0 + 1), ..of(Kind::Prepare) },
            2 => of(Kind::Commit),
            _ => Statement::checkpoint(Round(seq.0), digest),
        }
    })
}

/// A frame of any type that a correct replica might send.
fn a_frame() -> impl Strategy<Value = Bytes> {
    let content = (prop::collection::vec(a_request(), 0..5), prop::collection::vec(a_recover(), 0..4));
    let body = (1..=u64::MAX, content).prop_map(|(timestamp, (requests, recovers))| {
        let mut builder = BodyBuilder::new();
        let is_empty = requests.is_empty() && recovers.is_empty();
        requests.iter().for_each(|request| builder.push(request));
        recovers.into_iter().for_each(|recover| builder.recover(recover));
        let timestamp = if is_empty { Timestamp(0) } else { Timestamp(timestamp) };
        frame(PeerFrame::BODY, builder.finish(timestamp).bytes())
    });
    let bundle = prop::collection::vec(a_statement(), 1..65).prop_map(|statements| {
        frame(PeerFrame::BUNDLE, KEYS.bundle(ReplicaId(1), PillarId(1), &statements).bytes())
    });
    let wanted = (any::<u64>(), any::<[u8; 32]>())
        .prop_map(|(seq, digest)| WantedBody { seq: Seq(seq), digest: Digest(digest) });
    let status = (any::<[u64; 4]>(), any::<bool>(), prop::collection::vec(wanted, 0..=64));
    let status = status.prop_map(|(numbers, active, wanted)| {
        let [view, stable, frontier, accepted] = numbers;
        let (frontier, accepted) = (Seq(frontier), Seq(accepted));
        encode(&PeerFrame::Status(Status {
            view: View(view),
            stable: Round(stable),
            frontier,
            accepted,
            wanted_changes: wanted.iter().map(|body| body.digest).collect(),
            wanted,
            active,
        }))
    });
    prop_oneof![
        a_request().prop_map(|request| frame(PeerFrame::REQUEST, request.bytes())),
        a_recover().prop_map(|recover| frame(PeerFrame::RECOVER, recover.bytes())),
        body,
        bundle,
        status
    ]
}

fn assert_canonical(bytes: &Bytes) {
    if let Ok(decoded) = PeerFrame::decode(bytes, &limits()) {
        assert_eq!(encode(&decoded), *bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_decodes_encodes_to_the_same_bytes_and_verifies(bytes in a_frame()) {
        let decoded = PeerFrame::decode(&bytes, &limits()).unwrap();
        prop_assert_eq!(encode(&decoded), bytes);
        if let PeerFrame::Message(message) = decoded {
            prop_assert!(KEYS.keyring.verify(message).is_ok());
        }
    }

    #[test]
    fn no_truncation_decodes(bytes in a_frame()) {
        for length in 0..bytes.len() {
            prop_assert!(PeerFrame::decode(&bytes.slice(..length), &limits()).is_err(), "{} bytes", length);
        }
    }

    #[test]
    fn nothing_may_trail(bytes in a_frame(), tail in prop::collection::vec(any::<u8>(), 1..5)) {
        let longer = Bytes::from([bytes.as_ref(), &tail].concat());
        prop_assert!(PeerFrame::decode(&longer, &limits()).is_err());
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_what_it_says(bytes in a_frame(), flip in 1..=255u8) {
        for index in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[index] ^= flip;
            assert_canonical(&Bytes::from(changed));
        }
    }

    #[test]
    fn any_length_or_number_may_be_at_its_end(bytes in a_frame(), at in any::<prop::sample::Index>(), width in 1usize..9) {
        for fill in [0, 0xff] {
            let mut changed = bytes.to_vec();
            let at = at.index(changed.len());
            let end = changed.len().min(at + width);
            changed[at..end].fill(fill);
            assert_canonical(&Bytes::from(changed));
        }
    }

    #[test]
    fn noise_is_refused_or_canonical(kind in 0..9u8, noise in prop::collection::vec(any::<u8>(), 0..300)) {
        assert_canonical(&frame(kind, &noise));
    }

    #[test]
    fn two_frames_spliced_are_refused_or_canonical(
        one in a_frame(), two in a_frame(), at in any::<prop::sample::Index>(), from in any::<prop::sample::Index>()
    ) {
        let spliced = [&one[..at.index(one.len())], &two[from.index(two.len())..]].concat();
        assert_canonical(&Bytes::from(spliced));
    }
}

fn refused(kind: u8, bytes: &[u8]) -> &'static str {
    PeerFrame::decode(&frame(kind, bytes), &limits()).map(|_| ()).unwrap_err().what
}

#[test]
fn counts_and_lengths_that_promise_more_than_follows_allocate_nothing() {
    let body = [&[0; 8][..], &u32::MAX.to_le_bytes(), &[0; 2]].concat();
    assert_eq!(refused(PeerFrame::BODY, &body), "more requests than it can hold");
    let body = [&[0; 8][..], &512u32.to_le_bytes(), &[0; 100]].concat();
    assert_eq!(refused(PeerFrame::BODY, &body), "more requests than it can hold");
    let body = [&[0; 8][..], &1u32.to_le_bytes(), &[0; 2], &u32::MAX.to_le_bytes(), &[0; 100]].concat();
    assert_eq!(refused(PeerFrame::BODY, &body), "truncated");
    let request = [&[0; 4][..], &64u64.to_le_bytes(), &[0; 9], &u16::MAX.to_le_bytes(), &[0; 64]].concat();
    assert_eq!(refused(PeerFrame::REQUEST, &request), "truncated");
    let request = [&[0; 4][..], &64u64.to_le_bytes(), &[0; 9], &1u16.to_le_bytes(), &[0xff; 64]].concat();
    assert_eq!(refused(PeerFrame::REQUEST, &request), "truncated");
    assert_eq!(refused(PeerFrame::BUNDLE, &[1, 0, 0, 0, 255]), "truncated");
    assert_eq!(refused(PeerFrame::STATUS, &[&[0; 32][..], &[255]].concat()), "truncated");
    let status = [&[0; 32][..], &[65], &[0; 65 * 40]].concat();
    assert_eq!(refused(PeerFrame::STATUS, &status), "too long");
    assert!(PeerFrame::decode(&Bytes::new(), &limits()).is_err());
    assert_eq!(refused(0, &[]), "unknown type byte");
}

#[test]
fn the_empty_body_has_one_form() {
    let empty = Body::empty();
    assert!(PeerFrame::decode(&frame(PeerFrame::BODY, empty.bytes()), &limits()).is_ok());
    assert_eq!(
        refused(PeerFrame::BODY, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        "an empty body has timestamp 0"
    );
}

#[test]
fn requests_outside_the_configuration_are_refused() {
    let change = |at: usize, bytes: &[u8]| {
        let mut request = KEYS.request(0, 64, 0, &[b"a", b"b"]).to_vec();
        request[at..at + bytes.len()].copy_from_slice(bytes);
        refused(PeerFrame::REQUEST, &request)
    };
    assert_eq!(change(0, &CLIENTS.to_le_bytes()), "unregistered client");
    assert_eq!(change(4, &0u64.to_le_bytes()), "number out of range");
    assert_eq!(change(4, &u64::MAX.to_le_bytes()), "number out of range");
    assert_eq!(change(4, &63u64.to_le_bytes()), "crosses a multiple of request_operations");
    assert_eq!(change(12, &64u64.to_le_bytes()), "acknowledges itself");
    assert_eq!(change(20, &[1]), "unknown flags");
    assert_eq!(change(21, &[0, 0]), "no operation");
    let operations: Vec<&[u8]> = vec![b"x"; 65];
    let many = KEYS.request(0, 64, 0, &operations);
    assert_eq!(refused(PeerFrame::REQUEST, &many), "more operations than request_operations");
    let long = KEYS.request(0, 64, 0, &[&[0; 5000]]);
    assert_eq!(refused(PeerFrame::REQUEST, &long), "longer than request_max");
}

#[test]
fn bodies_beyond_batch_max_operations_or_batch_bytes_are_refused() {
    let mut builder = BodyBuilder::new();
    let operations: Vec<&[u8]> = vec![b""; 64];
    (1..=9).for_each(|run| builder.push(&KEYS.decoded(&KEYS.request(0, run * 64, 0, &operations))));
    let body = builder.finish(Timestamp(1));
    assert_eq!(refused(PeerFrame::BODY, body.bytes()), "more operations than batch_max");
    let mut builder = BodyBuilder::new();
    (1..=17).for_each(|run| builder.push(&KEYS.decoded(&KEYS.request(0, run * 64, 0, &[&[0; 4000]]))));
    let body = builder.finish(Timestamp(1));
    assert_eq!(refused(PeerFrame::BODY, body.bytes()), "longer than batch_bytes");
}

#[test]
fn a_body_has_a_replicas_recover_once_and_in_order() {
    let of = |recovers: &[Recover]| {
        let count = u16::try_from(recovers.len()).unwrap();
        let mut bytes = [&1u64.to_le_bytes()[..], &[0; 4], &count.to_le_bytes()].concat();
        recovers.iter().for_each(|recover| bytes.extend_from_slice(recover.bytes()));
        bytes
    };
    let (one, two, other) = (KEYS.recover(1, 1, 1), KEYS.recover(2, 1, 1), KEYS.recover(1, 2, 2));
    assert!(Body::decode(of(&[one.clone(), two.clone()]).into(), &limits()).is_ok());
    assert_eq!(refused(PeerFrame::BODY, &of(&[two.clone(), one.clone()])), "recovers out of order");
    assert_eq!(refused(PeerFrame::BODY, &of(&[one.clone(), other])), "recovers out of order");
    assert_eq!(refused(PeerFrame::BODY, &of(&vec![one.clone(); 5])), "more recovers than replicas");
    assert_eq!(refused(PeerFrame::RECOVER, &[&[4, 0][..], &one.bytes()[2..]].concat()), "unknown replica");
    let zeroth = [&one.bytes()[..2], &[0; 8], &one.bytes()[10..]].concat();
    assert_eq!(refused(PeerFrame::RECOVER, &zeroth), "incarnation 0 is the first, which nobody asks for");
}

#[test]
fn bundles_that_cannot_be_their_signers_are_refused() {
    let said = Statement {
        kind: Kind::Commit,
        pillar: PillarId(1),
        view: View(0),
        seq: Seq(1),
        digest: Digest::ZERO,
    };
    let refused = |signer: u16, pillar: u16, statement| {
        refused(PeerFrame::BUNDLE, KEYS.bundle(ReplicaId(signer), PillarId(pillar), &[statement]).bytes())
    };
    assert_eq!(refused(1, 1, Statement { seq: Seq(0), ..said }), "sequence number 0");
    assert_eq!(refused(1, 2, said), "statement of another pillar");
    let checkpoint = Statement { kind: Kind::Checkpoint, ..said };
    assert_eq!(refused(1, 1, checkpoint), "a checkpoint with pillar or view");
    let propose = Statement { kind: Kind::Propose, ..said };
    assert_eq!(refused(2, 1, propose), "proposal of a replica that isn't primary");
    let prepare = Statement { kind: Kind::Prepare, ..said };
    assert_eq!(refused(1, 1, prepare), "the primary doesn't prepare");
    let sealed = KEYS.bundle(ReplicaId(3), PillarId(1), &[said]);
    let three = FrameLimits { replicas: 3, ..limits() };
    assert_eq!(SealedBundle::decode(sealed.bytes().clone(), &three).unwrap_err().what, "unknown signer");
    // The seal of one bundle on another.
    let other = KEYS.bundle(ReplicaId(3), PillarId(1), &[Statement { seq: Seq(2), ..said }]);
    let mixed = [&sealed.bytes()[..5 + 51], &other.bytes()[5 + 51..]].concat();
    let verdict = SealedBundle::decode(Bytes::from(mixed), &limits()).unwrap_err();
    assert_eq!(verdict.what, "the seal covers something else");
}
