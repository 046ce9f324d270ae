//! Messages made by hand, by whoever has the keys.

use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId, ReplicaId, Seq, Timestamp, View};
use hypostyle_crypto::{Entry, Identity, Seal, Signer, Tag};
use hypostyle_pillars::message::{
    Body, BodyBuilder, Bundle, Kind, PeerFrame, Request, RequestLimits, STATEMENT_BYTES, Statement,
};

use super::harness::Frame;

pub(super) const PILLAR: PillarId = PillarId(0);

const LIMITS: RequestLimits =
    RequestLimits { clients: 2, request_operations: 1, request_max: 4096, tags: Some(4) };

pub(super) fn body(requests: &[Bytes]) -> Body {
    let mut builder = BodyBuilder::new();
    requests.iter().for_each(|bytes| builder.push(&Request::decode(bytes.clone(), &LIMITS).unwrap()));
    builder.finish(Timestamp(1))
}

pub(super) fn frame(from: u16, to: u16, kind: u8, bytes: &[u8]) -> Frame {
    let payload = Bytes::from([&[kind], bytes].concat());
    Frame { from: ReplicaId(from), to: ReplicaId(to), pillar: PILLAR, payload }
}

/// About a slot in view 0.
pub(super) fn statement(kind: Kind, seq: u64, digest: Digest) -> Statement {
    Statement { kind, pillar: PILLAR, view: View(0), seq: Seq(seq), digest }
}

/// A bundle in `claimed`'s name, signed by `signer`, who need not be the same. `change` comes after the signature.
pub(super) fn bundle(
    claimed: u16,
    signer: &Identity,
    statements: &[Statement],
    change: impl FnOnce(&mut Vec<Entry>),
) -> Bytes {
    let claimed = ReplicaId(claimed);
    let bundle = Bundle::new(claimed, PILLAR, statements);
    let mut entries = vec![bundle.entry(), Entry::Replies { root: Digest([7; 32]) }];
    let signature = signer.sign(Tag::Seal, &Seal::content(claimed, &entries));
    change(&mut entries);
    bundle.seal(Seal { signer: claimed, entries, signature }).bytes().clone()
}

/// A one-statement bundle with another statement and the entry made to fit it; the signature stays.
pub(super) fn swap_statements(bytes: &Bytes, statements: &[Statement]) -> Bytes {
    let header = 2 + 2 + 1;
    let (mut seal, _) = Seal::decode(&bytes[header + STATEMENT_BYTES..]).unwrap();
    let bundle = Bundle::new(seal.signer, PILLAR, statements);
    seal.entries[0] = bundle.entry();
    bundle.seal(seal).bytes().clone()
}

/// A body and its proposal for a slot, in due form.
pub(super) fn proposal(primary: &Identity, to: u16, seq: u64, body: &Body) -> [Frame; 2] {
    let Signer::Replica(ReplicaId(from)) = primary.signer() else { panic!("a client proposes nothing") };
    let proposal = bundle(from, primary, &[statement(Kind::Propose, seq, body.digest())], |_| {});
    [frame(from, to, PeerFrame::BODY, body.bytes()), frame(from, to, PeerFrame::BUNDLE, &proposal)]
}
