//! Cut points: the gear table, and where a stream is cut.

use bytes::BytesMut;
use serde_json::{Value, json};
use tenantvault::format::config::RepoConfig;
use tenantvault::repo::Chunker;

use super::{hex, vectors};

const SEED: [u8; 32] = [0x5e; 32];
/// Smallest, average, largest, length of the stream.
const CASES: [(u32, u32, u32, usize); 3] =
    [(2 << 10, 8 << 10, 32 << 10, 300_001), (64 << 10, 256 << 10, 1 << 20, 3_000_000), (64, 256, 1024, 20_000)];

/// The stream of the vectors: BLAKE3's extendable output over a text; its second fifth is zeros.
fn stream(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"the stream of the vectors").finalize_xof().fill(&mut bytes);
    bytes[length / 5..length / 5 * 2].fill(0);
    bytes
}

fn config(min: u32, avg: u32, max: u32) -> RepoConfig {
    let mut config = RepoConfig::new(0);
    config.chunker_seed = SEED;
    (config.chunk_min_bytes, config.chunk_avg_bytes, config.chunk_max_bytes) = (min, avg, max);
    config.check().expect("sizes that work")
}

fn lengths(config: &RepoConfig, stream: &[u8]) -> Vec<usize> {
    let (chunker, mut buffer) = (Chunker::new(config), BytesMut::from(stream));
    chunker.cut(&mut buffer, true).iter().map(bytes::Bytes::len).collect()
}

/// The gear table by the text of the format, not by the chunker's code.
fn gear() -> Vec<u8> {
    let mut table = vec![0; 2048];
    let mut hasher = blake3::Hasher::new_derive_key("tenantvault v1 chunker gear table");
    hasher.update(&SEED).finalize_xof().fill(&mut table);
    table
}

/// Makes the file.
pub fn make() -> Value {
    let table = gear();
    let first: Vec<String> = table
        .chunks_exact(8)
        .take(4)
        .map(|b| format!("0x{:016x}", u64::from_le_bytes(b.try_into().expect("eight"))))
        .collect();
    let cuts = CASES.map(|(min, avg, max, length)| {
        json!({"smallest": min, "average": avg, "largest": max, "length": length, "chunks": lengths(&config(min, avg, max), &stream(length))})
    });
    json!({
        "about": "Vectors of format-spec/files.md, section 11. gear_first: the first entries of the table; gear_hash: BLAKE3 of its 2,048 bytes. A stream of some length is the first bytes of BLAKE3's extendable output (hash mode) over the text in stream_of, with those from length/5 on, up to 2*(length/5) excluded, set to zero (divisions rounded down); chunks: the lengths of its chunks.",
        "seed": hex(&SEED),
        "gear_first": first,
        "gear_hash": blake3::hash(&table).to_string(),
        "stream_of": "the stream of the vectors",
        "cuts": cuts,
    })
}

#[test]
fn streams_are_cut_where_the_vectors_say() {
    assert_eq!(make(), vectors("chunks.json"));
}

/// The text of the format, word by word.
fn by_the_text(stream: &[u8], min: usize, avg: usize, max: usize, masks: (u64, u64)) -> Vec<usize> {
    let table = gear();
    let gear = |byte: u8| u64::from_le_bytes(table[usize::from(byte) * 8..][..8].try_into().expect("eight"));
    let (mut rest, mut lengths) = (stream, Vec::new());
    while !rest.is_empty() {
        let mut cut = rest.len();
        if rest.len() > min {
            let end = rest.len().min(max);
            let middle = end.min(avg);
            let (mut h, mut i) = (0u64, min);
            cut = end;
            while i < end - end % 2 {
                h = (h << 1).wrapping_add(gear(rest[i]));
                if h & (if i < middle { masks.0 } else { masks.1 }) == 0 {
                    cut = i;
                    break;
                }
                i += 1;
            }
        }
        lengths.push(cut);
        rest = &rest[cut..];
    }
    lengths
}

#[test]
fn cut_points_follow_from_the_text_alone() {
    let masks = [
        (0x0000_d90f_0353_0000, 0x0000_d900_0353_0000),
        (0x0000_d917_4753_7000, 0x0000_d903_0353_7000),
        (0x0000_5900_0353_0000, 0x0000_0000_0180_3110),
    ];
    for ((min, avg, max, length), masks) in CASES.into_iter().zip(masks) {
        let stream = stream(length);
        let expected = by_the_text(&stream, min as usize, avg as usize, max as usize, masks);
        assert_eq!(lengths(&config(min, avg, max), &stream), expected);
        assert!(expected.len() > 5);
    }
}
