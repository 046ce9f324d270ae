//! Bytes to messages: every length checked, every digest computed, no signature verified.

use crate::fixture::{Fixture, config};
use crate::measured;
use hypostyle_app_api::{Digest, PillarId, ReplicaId, Seq, Timestamp, View};
use hypostyle_pillars::message::{Body, BodyBuilder, Kind, Request, SealedBundle, Statement};

const ROUNDS: u64 = 50;
const REQUESTS: u64 = 100;
const STATEMENTS: u64 = 16;

/// An operation is a request.
pub(crate) fn requests() -> u64 {
    let mut fixture = Fixture::new();
    let limits = config(ReplicaId(0)).frame_limits().request;
    for _ in 0..ROUNDS {
        let bytes = fixture.request();
        measured(|| Request::decode(bytes, &limits)).expect("well-formed");
    }
    ROUNDS
}

/// An operation is one of the 100 requests of a body.
pub(crate) fn bodies() -> u64 {
    let mut fixture = Fixture::new();
    let mut builder = BodyBuilder::new();
    (0..REQUESTS).for_each(|_| builder.push(&fixture.decoded_request()));
    let body = builder.finish(Timestamp(1));
    let limits = config(ReplicaId(0)).frame_limits();
    for _ in 0..ROUNDS {
        let bytes = body.bytes().clone();
        measured(|| Body::decode(bytes, &limits)).expect("well-formed");
    }
    ROUNDS * REQUESTS
}

/// An operation is one of the 16 statements of a bundle.
pub(crate) fn bundles() -> u64 {
    let signer = ReplicaId(1);
    let statement = |seq| Statement {
        kind: Kind::Prepare,
        pillar: PillarId(0),
        view: View(0),
        seq: Seq(seq),
        digest: Digest([3; 32]),
    };
    let bundle = Fixture::new().bundle(signer, &(1..=STATEMENTS).map(statement).collect::<Vec<_>>());
    let limits = config(signer).frame_limits();
    for _ in 0..ROUNDS {
        let bytes = bundle.bytes().clone();
        measured(|| SealedBundle::decode(bytes, &limits)).expect("well-formed");
    }
    ROUNDS * STATEMENTS
}
