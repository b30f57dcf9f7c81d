//! How fast messages are taken apart and put together again.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tenantvault::format::pieces::{LineEncoder, split};

const SIZE: usize = 16 << 20;

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = LineEncoder::new(76, true);
    encoder.push(bytes, &mut out);
    encoder.finish(&mut out);
    out
}

fn pieces(c: &mut Criterion) {
    let prose = "Dear all, the meeting of Tuesday is moved to Thursday; please bring your notes.\r\n".repeat(SIZE / 82);
    let words = "Pneumonoultramicroscopic\r\nsilicovolcano\r\nconiosis\r\n".repeat(SIZE / 51);
    let decoded = noise(SIZE);
    let encoded = encode(&decoded);
    let mut group = c.benchmark_group("pieces");
    group.throughput(Throughput::Bytes(SIZE as u64));
    for (name, bytes) in [("prose", prose.as_bytes()), ("words", words.as_bytes()), ("binary", &decoded)] {
        group.bench_function(format!("split {name}"), |b| b.iter(|| split(black_box(bytes), 1024).len()));
    }
    group.throughput(Throughput::Bytes(encoded.len() as u64));
    group.bench_function("split base64", |b| b.iter(|| split(black_box(&encoded), 1024).len()));
    group.bench_function("join base64", |b| b.iter(|| encode(black_box(&decoded)).len()));
    group.finish();
}

criterion_group!(benches, pieces);
criterion_main!(benches);
