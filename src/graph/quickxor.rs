//! QuickXorHash, the hash that OneDrive and SharePoint give for files.
//!
//! 160 bits; byte i of the data is xored in at bit (11·i) mod 160, circularly; at the end the length, as 64-bit
//! little-endian, is xored into the last 8 bytes. As 11 and 160 share no factor the positions repeat every 160 bytes: all
//! bytes with the same index modulo 160 fall on the same place, so they are xored together first (a loop the compiler
//! makes wide), and shifted into place only once, at the end.
//! Source: Microsoft, "QuickXorHash algorithm" (OneDrive developer documentation, code snippets).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// After so many bytes the positions repeat: the width of the hash in bits.
const CYCLE: usize = 160;
const SHIFT: usize = 11;
const HASH_BYTES: usize = 20;

/// Computes a QuickXorHash piece by piece.
#[derive(Clone)]
pub struct QuickXor {
    /// The xor of all bytes with the same index modulo 160.
    columns: [u8; CYCLE],
    length: u64,
}

impl QuickXor {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self { columns: [0; CYCLE], length: 0 }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let at = (self.length % CYCLE as u64) as usize;
        self.length = self.length.wrapping_add(bytes.len() as u64);
        let (head, rest) = bytes.split_at(bytes.len().min((CYCLE - at) % CYCLE));
        xor(self.columns.get_mut(at..).unwrap_or_default(), head);
        let mut cycles = rest.chunks_exact(CYCLE);
        for cycle in &mut cycles {
            xor(&mut self.columns, cycle);
        }
        xor(&mut self.columns, cycles.remainder());
    }

    /// Ends, and gives the hash.
    pub fn finish(self) -> [u8; HASH_BYTES] {
        let mut hash = [0_u8; HASH_BYTES];
        let mut put = |at: usize, byte: u8| {
            if let Some(slot) = hash.get_mut(at % HASH_BYTES) {
                *slot ^= byte;
            }
        };
        for (index, byte) in self.columns.iter().enumerate() {
            let bit = (index * SHIFT) % CYCLE;
            let [low, high] = (u16::from(*byte) << (bit % 8)).to_le_bytes();
            put(bit / 8, low);
            put(bit / 8 + 1, high);
        }
        for (index, byte) in self.length.to_le_bytes().into_iter().enumerate() {
            put(HASH_BYTES - 8 + index, byte);
        }
        hash
    }

    /// Ends, and gives the hash as Graph writes it, in Base64.
    pub fn finish_base64(self) -> String {
        STANDARD.encode(self.finish())
    }
}

impl Default for QuickXor {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for QuickXor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuickXor({} bytes)", self.length)
    }
}

fn xor(into: &mut [u8], from: &[u8]) {
    for (slot, byte) in into.iter_mut().zip(from) {
        *slot ^= byte;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, bit by bit.
    fn by_definition(data: &[u8]) -> [u8; HASH_BYTES] {
        let mut bits = [false; CYCLE];
        let mut flip = |at: usize, byte: u8| {
            for k in 0..8 {
                bits[(at + k) % CYCLE] ^= byte >> k & 1 == 1;
            }
        };
        data.iter().enumerate().for_each(|(i, byte)| flip(i * SHIFT, *byte));
        let mut hash = [0; HASH_BYTES];
        bits.iter().enumerate().filter(|(_, set)| **set).for_each(|(i, _)| hash[i / 8] |= 1 << (i % 8));
        (data.len() as u64).to_le_bytes().iter().enumerate().for_each(|(i, b)| hash[12 + i] ^= b);
        hash
    }

    fn hash(data: &[u8]) -> String {
        let mut h = QuickXor::new();
        h.update(data);
        h.finish_base64()
    }

    /// Vectors of rclone's tests (`backend/onedrive/quickxorhash`), made with Microsoft's own code.
    #[test]
    fn known_hashes_come_out() {
        assert_eq!(hash(b""), "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        for (data, expected) in [
            ("Sg==", "SgAAAAAAAAAAAAAAAQAAAAAAAAA="),
            ("tbQ=", "taAFAAAAAAAAAAAAAgAAAAAAAAA="),
            ("0pZP", "0rDEEwAAAAAAAAAAAwAAAAAAAAA="),
            ("jRRDVA==", "jaDAEKgAAAAAAAAABAAAAAAAAAA="),
            (
                // Longer than one cycle of 160 bytes.
                "PfxMcUd0vIW6VbHG/uj/Y0W6qEoKmyBD0nYebEKazKaKG+UaDqBEcmQjbfQeVnVLuodMoPp7P7TR1htX5n2VnkHh22xDyoJ8C/ZQ\
                 KiSNqQfXvh83judf4RVr9exJCud8Uvgip6aVZTaPrJHVjQhMCp/dEnGvqg0oN5OVkM2qqAXvA0teKUDhgNM71sDBVBCGXxNOR2bp\
                 bD1iM4dnuT0ey4L+loXEHTL0fqMeUcEi2asgImnlNakwenDzz0x57aBwyq3AspCFGB1ncX4yYCr/OaCcS5OKi/00WH+wNQU3",
                "QX/YEpG0gDsmhEpCdWhsxDzsfVE=",
            ),
        ] {
            assert_eq!(hash(&STANDARD.decode(data).unwrap()), expected);
        }
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_hash_of_the_whole(data in proptest::collection::vec(any::<u8>(), 0..1200), cuts in proptest::collection::vec(0_usize..1200, 0..6)) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(data.len())).collect();
            cuts.sort_unstable();
            let mut h = QuickXor::new();
            let mut from = 0;
            for cut in cuts {
                h.update(&data[from..cut]);
                from = cut;
            }
            h.update(&data[from..]);
            prop_assert_eq!(h.finish(), by_definition(&data));
        }
    }
}
