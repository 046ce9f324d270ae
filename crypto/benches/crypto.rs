//! What authentication costs on this machine: signatures of each suite with parsed keys, tags, digests, reply trees.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hypostyle_app_api::Digest;
use hypostyle_crypto::{MacKey, SUITES, SigningKey, VerifyingKey, merkle, random, sha256};
use std::hint::black_box;
use zeroize::Zeroizing;

/// Bytes of a request of 100 bytes before its authenticator.
const REQUEST: usize = 127;
/// Of such a request a body's digest covers its digest and its four tags.
const IN_A_BODY: usize = 32 + 3 + 4 * 16;

fn signatures(criterion: &mut Criterion) {
    for suite in SUITES {
        let key = SigningKey::generate(suite);
        let verifying = VerifyingKey::new(&key.public()).expect("a key made here parses");
        let message = [7; 64];
        let signature = key.sign(&message);
        let mut group = criterion.benchmark_group(suite.to_string());
        group.bench_function("sign", |b| b.iter(|| key.sign(black_box(&message))));
        group.bench_function("verify", |b| b.iter(|| verifying.verify(black_box(&message), &signature)));
        group.bench_function("parse a key", |b| b.iter(|| VerifyingKey::new(&key.public())));
        group.finish();
    }
}

fn tags(criterion: &mut Criterion) {
    let key = MacKey::new(Zeroizing::new(random()));
    let digest = Digest(random());
    criterion.bench_function("tag of a digest", |b| b.iter(|| key.tag(black_box(&digest))));
}

fn digests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("digest");
    for (what, length) in [
        ("a request of 100 bytes", REQUEST),
        ("a body of 100 such requests", 100 * IN_A_BODY),
        ("4 KiB", 4096),
    ] {
        let bytes = vec![7; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(what, |b| b.iter(|| sha256(&[black_box(&bytes)])));
    }
    group.finish();
}

fn trees(criterion: &mut Criterion) {
    let leaves: Vec<Digest> = (0..100).map(|_| Digest(random())).collect();
    let mut group = criterion.benchmark_group("replies of 100 clients");
    group.bench_function("root", |b| b.iter(|| merkle::Tree::new(black_box(leaves.clone())).root()));
    let tree = merkle::Tree::new(leaves.clone());
    let path = tree.path(42);
    group.bench_function("root from a path", |b| {
        b.iter(|| merkle::root_from_path(black_box(leaves[42]), 42, leaves.len(), &path));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots().sample_size(20);
    targets = signatures, tags, digests, trees
}
criterion_main!(benches);
