//! Builds and edits trees in memory: records a second, and the price of ten scattered edits.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use tenantvault::tree::memory::MemoryStore;
use tenantvault::tree::{Tree, TreeRoot};

const RECORDS: u64 = 1_000_000;

/// A key of about the length of Graph's ids; `n` orders it.
fn key(n: u64) -> Vec<u8> {
    [&[b'A'; 92][..], &n.to_be_bytes()].concat()
}

fn build(store: &MemoryStore, records: u64) -> Option<TreeRoot> {
    let value = [7; 200];
    let edits = (0..records).map(|n| (key(n), Some(value)));
    block_on(Tree::new(store).edit(None, edits)).expect("memory holds it")
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tree");
    group.sample_size(10);
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("build 1,000,000 records of 300 bytes", |bencher| {
        bencher.iter_batched(MemoryStore::new, |store| black_box(build(&store, RECORDS)), BatchSize::PerIteration);
    });

    let store = MemoryStore::new();
    let root = build(&store, RECORDS);
    let tree = Tree::new(&store);
    group.throughput(Throughput::Elements(10));
    group.bench_function("10 scattered edits of 1,000,000 records", |bencher| {
        let mut version = 0u64;
        bencher.iter(|| {
            version += 1;
            let edits = (0..10).map(|n| (key(n * (RECORDS / 10)), Some([version.to_le_bytes(); 25].concat())));
            black_box(block_on(tree.edit(root, edits)).expect("memory holds it"))
        });
    });
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("read 1,000,000 records", |bencher| {
        bencher.iter(|| {
            let mut cursor = tree.range(root, ..);
            while !block_on(cursor.next_batch()).expect("memory holds it").is_empty() {}
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
