use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use hypostyle::reply::{
    Answer, CLIENT_FRAME, HINT_FRAME, Incoming, ReplyGroup, TAGGED_FRAME, encode_reply, encode_tagged_reply,
    seal_tree,
};
use hypostyle::transfer::{Telling, TransferMessage, Wanted};
use hypostyle_app_api::{
    ClientId, Digest, Number, PillarId, Position, ReplicaId, Round, Seq, Timestamp, View,
};
use hypostyle_crypto::{Domain, Entry, Identity, MacKey, Seal, Signer, SigningKey};
use hypostyle_pillars::Leaders;
use hypostyle_pillars::message::{
    BodyBuilder, Bundle, FrameLimits, Kind, Leave, NewViewContent, Nonce, PeerFrame, Prepared, Recover,
    Request, RequestLimits, Statement, Status, ViewChangeContent, WantedBody, encode_request,
};
use zeroize::Zeroizing;

use super::*;

const ME: ReplicaId = ReplicaId(2);
const PILLAR: PillarId = PillarId(1);
const SOME: Digest = Digest([7; 32]);

/// What every byte pair at the beginning of a payload is to the decoder: every type it knows has fields here, and every
/// type here is one that it knows.
#[test]
fn every_frame_that_is_decoded_has_fields() {
    let unknown = |what: &str| what.starts_with("unknown");
    let mut types = BTreeSet::new();
    for kind in 0..=u8::MAX {
        let to_client = Incoming::decode(&Bytes::from(vec![kind]));
        let known = !to_client.is_err_and(|what| what.contains("unknown type"));
        assert_eq!(Type::to_client(&[kind]).is_some(), known, "type byte {kind}");
        types.extend(Type::to_client(&[kind]));
        for second in 0..=u8::MAX {
            let payload = Bytes::from(vec![kind, second]);
            let known = match PeerFrame::decode(&payload, &limits()) {
                Ok(PeerFrame::Transfer(rest)) => {
                    !TransferMessage::decode(&rest).is_err_and(|malformed| unknown(malformed.what))
                }
                other => !other.is_err_and(|malformed| unknown(malformed.what)),
            };
            let covered = Type::between_replicas(&payload);
            assert_eq!(covered.is_some(), known, "type byte {kind}, then {second}");
            types.extend(covered);
        }
    }
    assert_eq!(types, FIELDS.iter().map(|(message, _)| *message).collect());
    assert_eq!(types.len(), FIELDS.len());
}

/// Mutators change what the layout says: it fits the bytes that the encoders make, with every field that is listed.
#[test]
fn the_fields_of_every_message_are_where_its_encoder_puts_them() {
    let samples = samples();
    for (message, names) in FIELDS {
        let payload = samples.iter().find(|(kind, _)| kind == message).map(|(_, payload)| payload);
        let payload = payload.unwrap_or_else(|| panic!("no sample of {message:?}"));
        if [Type::Reply, Type::TaggedReply, Type::Hint].contains(message) {
            assert_eq!(Type::to_client(payload), Some(*message));
            assert!(Incoming::decode(payload).is_ok(), "{message:?}");
        } else {
            assert_eq!(Type::between_replicas(payload), Some(*message));
            assert!(PeerFrame::decode(payload, &limits()).is_ok(), "{message:?}");
        }
        let fields = message.fields(payload).unwrap_or_else(|| panic!("no layout fits {message:?}"));
        let found: BTreeSet<_> = fields.iter().map(|field| field.name).collect();
        assert_eq!(found, names.iter().copied().collect(), "{message:?}");
        let bytes: usize = fields.iter().map(|field| field.at.len()).sum();
        assert_eq!(bytes, payload.len());
    }
}

/// A field is changed, and what the adversary signs itself holds a signature that verifies.
#[test]
fn every_mutator_changes_its_message() {
    let mut random = Random::new(5);
    for mutator in Mutator::all() {
        let mut seen = Seen::default();
        let (_, payload) =
            samples().into_iter().find(|(kind, _)| *kind == mutator.message).expect("there is one");
        let changes = (0..3).any(|_| {
            let identity = identity();
            mutator.apply(mutator.message, &payload, &mut seen, &mut random, (ME, &identity)).is_some()
        });
        // What has that value already, or comes for the first time, stays as it is.
        let may_stay = matches!(mutator.mutation, Mutation::Zero | Mutation::Max | Mutation::Other);
        assert!(changes || may_stay, "{mutator:?}");
    }
}

fn samples() -> Vec<(Type, Bytes)> {
    let framed = |kind: u8, rest: &[u8]| Bytes::from([&[kind], rest].concat());
    let request = encode_request(&client(), ClientId(1), Number(5), Number(3), &[b"one", b"two"]);
    let recover = Recover::new(ME, 1, Nonce([9; 16]), &[4; 32]);
    let mut builder = BodyBuilder::new();
    builder.push(&Request::decode(request.clone(), &limits().request).expect("well-formed"));
    builder.recover(recover.clone());
    let wanted = vec![WantedBody { seq: Seq(3), digest: SOME }];
    let (view, frontier, accepted, stable) = (View(4), Seq(5), Seq(6), Round(4));
    let status =
        Status { view, active: true, stable, frontier, accepted, wanted, wanted_changes: vec![SOME] };
    let mut status_bytes = Vec::new();
    status.encode(&mut status_bytes);
    let mut samples = vec![
        (Type::Body, framed(PeerFrame::BODY, builder.finish(Timestamp(8)).bytes())),
        (Type::Bundle, framed(PeerFrame::BUNDLE, bundle(Kind::Commit, 3).bytes())),
        (Type::Status, framed(PeerFrame::STATUS, &status_bytes)),
        (Type::Request, framed(PeerFrame::REQUEST, &request)),
        (Type::ViewChange, framed(PeerFrame::VIEW_CHANGE, view_change().bytes())),
        (Type::Recover, framed(PeerFrame::RECOVER, recover.bytes())),
        (Type::Reply, reply()),
        (Type::TaggedReply, tagged_reply()),
        (Type::Hint, framed(HINT_FRAME, &[3; 8])),
    ];
    let named = (0..3).map(|id| (ReplicaId(id), SOME)).collect();
    let new_view = NewViewContent::new(ReplicaId(2), PILLAR, View(1), named);
    let entry = new_view.entry();
    samples.push((Type::NewView, framed(PeerFrame::NEW_VIEW, new_view.seal(seal(entry)).bytes())));
    let telling = Telling { position: Position(6), digest: SOME, root: SOME, length: 70_000 };
    let (id, root, data) = (3, SOME, Bytes::from_static(b"chunk"));
    let about_transfers = [
        (Type::Ask, TransferMessage::Ask { id, round: Round(8) }),
        (Type::Standing, TransferMessage::Standing { id, position: Position(6), writing: true }),
        (Type::Tell, TransferMessage::Tell { id, telling }),
        (Type::Fetch, TransferMessage::Fetch { root, wanted: vec![Wanted { index: 1, have: SOME }] }),
        (Type::Chunk, TransferMessage::Chunk { root, index: 1, path: vec![SOME], data }),
        (Type::Gone, TransferMessage::Gone { root }),
        (Type::Close, TransferMessage::Close { id }),
    ];
    let framed =
        |(kind, message): (_, TransferMessage)| (kind, framed(PeerFrame::TRANSFER, &message.encode()));
    samples.extend(about_transfers.into_iter().map(framed));
    samples
}

fn bundle(kind: Kind, seq: u64) -> hypostyle_pillars::message::SealedBundle {
    let view = View(0);
    let statement = Statement { kind, pillar: PILLAR, view, seq: Seq(seq), digest: SOME };
    let bundle = Bundle::new(ME, PILLAR, &[statement]);
    let entry = bundle.entry();
    bundle.seal(seal(entry))
}

fn view_change() -> hypostyle_pillars::message::ViewChange {
    let (signer, pillar, view, stable) = (ME, PILLAR, View(1), Round(0));
    let leave =
        Leave { signer, incarnation: 0, pillar, view, stable, stable_digest: Digest::ZERO, blocked: None };
    let statement = |kind, signer: u16| {
        let statement = Statement { kind, pillar, view: View(0), seq: Seq(1), digest: SOME };
        let bundle = Bundle::new(ReplicaId(signer), pillar, &[statement]);
        let entry = bundle.entry();
        Arc::new(bundle.seal(Seal { signer: ReplicaId(signer), ..seal(entry) }))
    };
    let bundles = vec![statement(Kind::Propose, 1), statement(Kind::Prepare, 2), statement(Kind::Prepare, 3)];
    let prepared = vec![Prepared { seq: Seq(1), view: View(0), digest: SOME }];
    let content = ViewChangeContent::new(&leave, prepared, bundles);
    let entry = content.entry();
    content.seal(seal(entry))
}

fn group(client: u32) -> ReplyGroup {
    let mut group = ReplyGroup::new(ME, PILLAR, View(1), ClientId(client));
    let result = [5; 100];
    group.push(&Answer::result(Number(1), &SOME, &result), Some(Bytes::copy_from_slice(&result)));
    group
}

fn tagged_reply() -> Bytes {
    let mut bytes = vec![TAGGED_FRAME];
    encode_tagged_reply(&group(1), &MacKey::new(Zeroizing::new([4; 32])), &mut bytes);
    bytes.into()
}

fn reply() -> Bytes {
    let groups = [group(0), group(1)];
    let tree = seal_tree(&groups);
    let other = Entry::Bundle { pillar: PILLAR, digest: SOME };
    let seal = Seal { entries: vec![other, Entry::Replies { root: tree.root() }], ..seal(other) };
    let mut bytes = vec![CLIENT_FRAME];
    encode_reply(&groups[1], 1, &tree, &seal, &mut bytes);
    bytes.into()
}

fn seal(entry: Entry) -> Seal {
    Seal { signer: ME, entries: vec![entry], signature: Bytes::from_static(&[1; 32]) }
}

fn identity() -> Identity {
    Identity::new(Signer::Replica(ME), SigningKey::simulated([1, 2]), Domain { configuration: SOME })
}

fn client() -> Identity {
    let signer = Signer::Client(ClientId(1));
    Identity::new(signer, SigningKey::simulated([3, 4]), Domain { configuration: SOME })
}

fn limits() -> FrameLimits {
    let request = RequestLimits { clients: 4, request_operations: 4, request_max: 4096, tags: None };
    FrameLimits {
        request,
        batch_max: 64,
        batch_bytes: 65536,
        replicas: 4,
        leaders: Leaders::Spread,
        checkpoint_interval: 4,
        window: 8,
    }
}
