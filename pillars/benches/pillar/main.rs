//! Decoding and encoding, and a slot on the cores of its primary and of a backup, step by step. Signatures are made and
//! checked outside of what is measured.

mod workloads;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use workloads::{Fixture, StepTimes};

fn codecs(criterion: &mut Criterion) {
    let fixture = Fixture::new(100);
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(100));
    group.bench_function("decode a body of 100 requests", |b| {
        b.iter_batched(|| fixture.body_frame(), |frame| fixture.decode(&frame), BatchSize::SmallInput);
    });
    for statements in [1, 16] {
        let frame = fixture.bundle_frame(statements);
        group.throughput(Throughput::Elements(statements));
        group.bench_function(format!("decode a bundle of {statements}"), |b| {
            b.iter(|| fixture.decode(&frame))
        });
        let seal = fixture.seal(statements);
        group.bench_function(format!("encode a bundle of {statements}"), |b| {
            b.iter_batched(|| seal.clone(), |seal| fixture.encode(statements, seal), BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// Each step in turn: the time of the others is not counted.
fn slots(criterion: &mut Criterion) {
    for requests in [1, 100] {
        let mut group = criterion.benchmark_group(format!("slot of {requests}"));
        for step in StepTimes::STEPS {
            group.bench_function(step, |b| {
                b.iter_custom(|slots| workloads::slots(requests, slots).of(step));
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots().sample_size(20);
    targets = codecs, slots
}
criterion_main!(benches);
