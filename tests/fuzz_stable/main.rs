//! The fuzz targets of `fuzz/`, a fixed number of times, with changes that follow from a fixed seed.

#[path = "../../fuzz/targets.rs"]
mod targets;

use targets::{ALL, Target};

/// Changed inputs for each target.
const ROUNDS: u64 = 1_500;

/// SplitMix64 (Steele and others, OOPSLA 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Changes bytes in one of the ways that break decoders.
fn change(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.below(bytes.len());
    let end = at + rng.below(bytes.len() - at);
    match rng.below(9) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << rng.below(8),
        1 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 250, 251, 252, 253, 254, 255][rng.below(10)],
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end.min(at + 8))),
        4 => {
            let part = bytes[at..end.min(at + 40)].to_vec();
            bytes.splice(at..at, part);
        }
        5 => {
            // An integer of full width in the place of a short one.
            let value = [u64::MAX, u64::MAX >> 1, 1 << 32, 1 << 31, 0, 1 << 20][rng.below(6)];
            let integer = [&[253u8][..], &value.to_le_bytes()].concat();
            bytes.splice(at..end.min(at + 1), integer);
        }
        6 => bytes.insert(at, rng.next() as u8),
        7 => bytes.extend((0..rng.below(40)).map(|_| rng.next() as u8).collect::<Vec<_>>()),
        _ => {
            let other = rng.below(bytes.len());
            if !bytes.is_empty() {
                bytes.swap(at, other);
            }
        }
    }
}

fn fuzz(target: &Target) {
    let seeds = (target.seeds)();
    for (number, seed) in seeds.iter().enumerate() {
        // A target that takes nothing would prove nothing.
        assert!((target.run)(seed) || number > 0, "{} refuses its own seed", target.name);
    }
    let mut rng = Rng(0x7e9a);
    for _ in 0..ROUNDS {
        let mut bytes = seeds[rng.below(seeds.len())].clone();
        for _ in 0..=rng.below(4) {
            change(&mut bytes, &mut rng);
        }
        (target.run)(&bytes);
    }
    (target.run)(&[]);
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            fuzz(ALL.iter().find(|target| target.name == stringify!($name)).expect("it is listed"));
        })*

        #[test]
        fn every_target_is_run_and_known_to_cargo_fuzz() {
            let run = [$(stringify!($name)),*];
            let manifest = include_str!("../../fuzz/Cargo.toml");
            for target in ALL {
                assert!(run.contains(&target.name), "{}", target.name);
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{}.rs\"", target.name)), "{}", target.name);
            }
            assert_eq!(run.len(), ALL.len());
        }
    };
}

targets! { pack_header index_file document slot tree_node record pieces_split config_toml export_name graph_error }
