//! No two different bodies, requests or bundles share a digest (T8), and none serves for another (T1, M1).

use std::collections::BTreeSet;

use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId, ReplicaId, Seq, Timestamp, View};
use hypostyle_crypto::{Entry, Signed, Signer, Tag};
use hypostyle_pillars::message::{
    Body, BodyBuilder, Bundle, Kind, Recover, Request, SealedBundle, Statement,
};

use crate::fixture::{Keys, config};

fn body(timestamp: u64, requests: &[&Request]) -> Body {
    let mut builder = BodyBuilder::new();
    requests.iter().for_each(|request| builder.push(request));
    builder.finish(Timestamp(timestamp))
}

#[test]
fn operations_cut_elsewhere_are_other_requests() {
    let keys = Keys::new(4);
    let cuts: [&[&[u8]]; 6] = [
        &[b"abcd"],
        &[b"ab", b"cd"],
        &[b"", b"abcd"],
        &[b"abcd", b""],
        &[b"abc", b"d"],
        &[b"a", b"b", b"c", b"d"],
    ];
    let digests = cuts.map(|operations| keys.decoded(&keys.request(0, 64, 0, operations)).digest());
    assert_eq!(BTreeSet::from(digests).len(), cuts.len());
}

/// One large operation that looks like two requests is not two requests.
#[test]
fn a_request_that_holds_the_bytes_of_others_is_another_body() {
    let keys = Keys::new(4);
    let (one, two) = (keys.lone(0, 64), keys.lone(0, 65));
    let both = [one.bytes().as_ref(), two.bytes().as_ref()].concat();
    let nested = keys.decoded(&keys.request(0, 64, 0, &[&both]));
    let bodies = [
        body(1, &[&one, &two]),
        body(1, &[&two, &one]),
        body(1, &[&one]),
        body(1, &[&one, &one]),
        body(1, &[&nested]),
        body(2, &[&one, &two]),
        body(0, &[]),
    ];
    let digests: BTreeSet<_> = bodies.iter().map(Body::digest).collect();
    assert_eq!(digests.len(), bodies.len());
}

/// Whether a body is valid has to be a function of its digest, so the authenticator counts there. A request keeps its
/// identity whatever authenticates it.
#[test]
fn another_signature_makes_another_body_of_the_same_request() {
    let keys = Keys::new(4);
    let request = keys.lone(0, 1);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = request.bytes().to_vec();
        change(&mut bytes);
        Request::decode(Bytes::from(bytes), &config(4, 1).frame_limits().request).unwrap()
    };
    let flipped = with(&|bytes| *bytes.last_mut().unwrap() ^= 1);
    let shorter = with(&|bytes| {
        let length = bytes.len() - 64 - 2;
        bytes[length] = 63;
        bytes.pop();
    });
    let bodies = [&request, &flipped, &shorter].map(|request| body(1, &[request]));
    assert!([&flipped, &shorter].iter().all(|other| other.digest() == request.digest()));
    assert_eq!(bodies.iter().map(Body::digest).collect::<BTreeSet<_>>().len(), 3);
    assert!(keys.keyring.verify(bodies[0].clone()).is_ok());
    assert!(bodies[1..].iter().all(|body| keys.keyring.verify(body.clone()).is_err()));
}

fn entry_digest(signer: u16, pillar: u16, statement: Statement) -> Digest {
    match Bundle::new(ReplicaId(signer), PillarId(pillar), &[statement]).entry() {
        Entry::Bundle { digest, .. } => digest,
        _ => panic!("a bundle's entry"),
    }
}

#[test]
fn every_field_of_a_statement_is_signed() {
    let base = Statement {
        kind: Kind::Commit,
        pillar: PillarId(1),
        view: View(1),
        seq: Seq(1),
        digest: Digest([1; 32]),
    };
    let variants = [
        base,
        Statement { kind: Kind::Prepare, ..base },
        Statement { kind: Kind::Propose, ..base },
        Statement { pillar: PillarId(2), ..base },
        Statement { view: View(2), ..base },
        Statement { seq: Seq(2), ..base },
        Statement { digest: Digest([2; 32]), ..base },
    ];
    let mut digests: BTreeSet<_> = variants.iter().map(|s| entry_digest(1, 1, *s)).collect();
    digests.insert(entry_digest(2, 1, base));
    digests.insert(entry_digest(1, 2, base));
    assert_eq!(digests.len(), variants.len() + 2);
}

/// A signed Prepare is no Commit, no statement of another pillar, view, slot or signer: no byte of a sealed bundle can
/// be changed.
#[test]
fn a_sealed_bundle_with_any_bit_changed_is_refused() {
    let keys = Keys::new(4);
    let said = Statement {
        kind: Kind::Prepare,
        pillar: PillarId(0),
        view: View(0),
        seq: Seq(1),
        digest: Digest([1; 32]),
    };
    let bundle = keys.bundle(ReplicaId(1), PillarId(0), &[said]);
    let limits = config(4, 1).frame_limits();
    for index in 0..bundle.bytes().len() * 8 {
        let mut bytes = bundle.bytes().to_vec();
        bytes[index / 8] ^= 1 << (index % 8);
        if let Ok(other) = SealedBundle::decode(Bytes::from(bytes), &limits) {
            assert!(keys.keyring.verify(other).is_err(), "bit {index}");
        }
    }
}

#[test]
fn a_body_claims_one_signature_a_request_and_an_empty_one_none() {
    let keys = Keys::new(4);
    let (one, two) = (keys.lone(0, 1), keys.lone(1, 2));
    let body = body(1, &[&one, &two]);
    assert_eq!(body.claims(), 2);
    assert_eq!([body.claim(0).content, body.claim(1).content], [one.digest(), two.digest()]);
    assert_eq!(Body::empty().claims(), 0);
    assert!(Body::empty().is_empty());
    let bytes: Vec<_> = body.requests().iter().map(|r| body.request_bytes(r)).collect();
    assert_eq!(bytes, [one.bytes().clone(), two.bytes().clone()]);
    let operations: Vec<_> = body.requests().iter().flat_map(|r| body.operations(r)).collect();
    assert_eq!(operations, one.operations().chain(two.operations()).collect::<Vec<_>>());
}

fn recovery(timestamp: u64, requests: &[&Request], recovers: &[&Recover]) -> Body {
    let mut builder = BodyBuilder::new();
    requests.iter().for_each(|request| builder.push(request));
    recovers.iter().for_each(|recover| builder.recover((*recover).clone()));
    builder.finish(Timestamp(timestamp))
}

#[test]
fn every_field_of_a_recover_counts_in_the_digest_and_its_signature_is_claimed() {
    let keys = Keys::new(4);
    let request = keys.lone(0, 1);
    let recovers =
        [keys.recover(1, 1, 1), keys.recover(2, 1, 1), keys.recover(1, 2, 1), keys.recover(1, 1, 2)];
    let unsigned = Recover::new(ReplicaId(1), 1, recovers[0].nonce(), &[]);
    let mut bodies: Vec<_> = recovers.iter().map(|recover| recovery(1, &[], &[recover])).collect();
    bodies.extend(recovers.iter().map(|recover| recovery(1, &[&request], &[recover])));
    bodies.push(recovery(1, &[&request], &[]));
    bodies.push(recovery(2, &[], &[&recovers[0]]));
    bodies.push(recovery(1, &[], &[&recovers[0], &recovers[1]]));
    assert!(bodies.iter().all(|body| !body.is_empty() && keys.keyring.verify(body.clone()).is_ok()));
    bodies.push(recovery(1, &[], &[&unsigned]));
    bodies.push(Body::empty());
    assert_eq!(bodies.iter().map(Body::digest).collect::<BTreeSet<_>>().len(), bodies.len());

    let both = recovery(1, &[&request], &[&recovers[1]]);
    assert_eq!((both.claims(), both.operation_count()), (2, 1));
    let claim = both.claim(1);
    assert_eq!((claim.tag, claim.signer), (Tag::Recover, Signer::Replica(ReplicaId(2))));
    assert!(keys.keyring.verify(recovery(1, &[], &[&unsigned])).is_err());
    let forged = [&recovers[0].bytes()[..10], &[9; 16], &recovers[0].bytes()[26..]].concat();
    let forged = Recover::decode(forged.into(), 4).unwrap();
    assert!(keys.keyring.verify(recovery(1, &[&request], &[&forged])).is_err(), "another nonce");
}
