//! `cargo bench -p hypostyle --bench executor`: the serial part of a replica, for each operation, and what replies cost
//! beside it.
#![allow(missing_docs)]

mod serial;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hypostyle::reply::{Answer, ReplyGroup, ReplyMessage, encode_reply, seal_tree};
use hypostyle_app_api::{ClientId, Digest, Number, PillarId, ReplicaId, View};
use hypostyle_crypto::{Entry, Seal};
use serial::{Load, OPERATIONS, Shape};

const SHAPES: [Shape; 5] = [
    Shape { pillars: 1, clients: 24, outstanding: 100 },
    Shape { pillars: 4, clients: 24, outstanding: 100 },
    Shape { pillars: 1, clients: 240, outstanding: 10 },
    Shape { pillars: 1, clients: 2400, outstanding: 1 },
    Shape { pillars: 1, clients: 1, outstanding: 2400 },
];

/// Time is per operation.
fn serial_part(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("serial-part");
    group.throughput(Throughput::Elements(OPERATIONS)).sample_size(20);
    for shape in SHAPES {
        let load = Load::new(shape);
        let name = format!("P={} {}x{}", shape.pillars, shape.clients, shape.outstanding);
        group.bench_function(name, |bencher| {
            let setup = || (load.serial(), load.rest());
            let run = |(mut serial, slots): (serial::Serial, Vec<_>)| {
                assert_eq!(serial.run(slots), OPERATIONS);
                serial
            };
            bencher.iter_batched(setup, run, BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// A turn's 24 groups of 4 answers: the tree, the messages, and decoding one.
fn replies(criterion: &mut Criterion) {
    let groups: Vec<_> = (0..24).map(|client| group(client, 4)).collect();
    let tree = seal_tree(&groups);
    let entries = vec![Entry::Replies { root: tree.root() }];
    let seal = Seal { signer: ReplicaId(0), entries, signature: Bytes::from(vec![0; 256]) };
    let mut message = Vec::new();
    encode_reply(&groups[3], 3, &tree, &seal, &mut message);
    let message = Bytes::from(message);

    let mut bench = criterion.benchmark_group("replies");
    bench.throughput(Throughput::Elements(24 * 4));
    bench.bench_function("seal-tree of 24x4", |bencher| bencher.iter(|| seal_tree(&groups)));
    let mut out = Vec::new();
    bench.bench_function("encode 24x4", |bencher| {
        bencher.iter(|| {
            out.clear();
            groups
                .iter()
                .enumerate()
                .for_each(|(index, group)| encode_reply(group, index, &tree, &seal, &mut out));
        });
    });
    bench.throughput(Throughput::Elements(4));
    bench.bench_function("decode 4", |bencher| bencher.iter(|| ReplyMessage::decode(message.clone())));
    bench.finish();
}

fn group(client: u32, answers: u64) -> ReplyGroup {
    let mut group = ReplyGroup::new(ReplicaId(0), PillarId(0), View(0), ClientId(client));
    for number in 1..=answers {
        group.push(&Answer::result(Number(number), &Digest::ZERO, &number.to_le_bytes()), None);
    }
    group
}

criterion_group!(benches, serial_part, replies);
criterion_main!(benches);
