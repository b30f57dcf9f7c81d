//! QuickXorHash, from Microsoft's description: every byte is XORed into a 160-bit ring, 11 bits further
//! on than the byte before it; last, the length (64 bits, little endian) is XORed into the last 8 bytes.
//!
//! 11 and 160 have no common divisor, so byte `i` and byte `i + 160` meet at the same bit: 160 columns of
//! XOR are kept while reading, and turned into the ring once, at the end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const RING_BITS: usize = 160;

/// Computes a QuickXorHash over bytes given in any portions.
#[derive(Clone)]
pub(super) struct QuickXor {
    columns: [u8; RING_BITS],
    length: u64,
}

impl QuickXor {
    pub(super) fn new() -> Self {
        Self { columns: [0; RING_BITS], length: 0 }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        let mut at = (self.length % RING_BITS as u64) as usize;
        let lead = data.len().min((RING_BITS - at) % RING_BITS);
        let (head, rest) = data.split_at(lead);
        for byte in head {
            self.columns[at] ^= byte;
            at = (at + 1) % RING_BITS;
        }
        let mut wide = [0u64; RING_BITS / 8];
        let blocks = rest.chunks_exact(RING_BITS);
        let tail = blocks.remainder();
        for block in blocks {
            for (column, word) in wide.iter_mut().zip(block.as_chunks::<8>().0) {
                *column ^= u64::from_le_bytes(*word);
            }
        }
        for (column, byte) in self.columns.iter_mut().zip(wide.iter().flat_map(|w| w.to_le_bytes())) {
            *column ^= byte;
        }
        for (column, byte) in self.columns.iter_mut().zip(tail) {
            *column ^= byte;
        }
        self.length += data.len() as u64;
    }

    /// Ends the hash; base64 as Graph shows it.
    pub(super) fn finish(&self) -> String {
        let mut ring = [0u8; RING_BITS / 8];
        for (i, byte) in self.columns.iter().enumerate() {
            let bit = i * 11 % RING_BITS;
            let wide = u16::from(*byte) << (bit % 8);
            ring[bit / 8] ^= (wide & 0xff) as u8;
            ring[(bit / 8 + 1) % ring.len()] ^= (wide >> 8) as u8;
        }
        for (slot, byte) in ring[12..].iter_mut().zip(self.length.to_le_bytes()) {
            *slot ^= byte;
        }
        STANDARD.encode(ring)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule word for word, bit by bit.
    fn by_the_bit(data: &[u8]) -> String {
        let mut bits = [false; 160];
        for (i, byte) in data.iter().enumerate() {
            for b in 0..8 {
                if byte >> b & 1 == 1 {
                    bits[(i * 11 + b) % 160] ^= true;
                }
            }
        }
        for b in 0..64 {
            if data.len() as u64 >> b & 1 == 1 {
                bits[96 + b] ^= true;
            }
        }
        let bytes: Vec<u8> = bits.chunks(8).map(|c| c.iter().rev().fold(0, |v, b| v << 1 | u8::from(*b))).collect();
        STANDARD.encode(bytes)
    }

    #[test]
    fn equals_the_rule_bit_by_bit_in_any_portions() {
        let data: Vec<u8> = (0..2000u32).map(|i| ((i * i) >> 3) as u8).collect();
        for (len, portion) in [(0, 1), (1, 1), (159, 7), (160, 160), (161, 3), (1999, 333), (2000, 2000)] {
            let mut hash = QuickXor::new();
            data[..len].chunks(portion).for_each(|c| hash.update(c));
            assert_eq!(hash.finish(), by_the_bit(&data[..len]), "{len} bytes in portions of {portion}");
        }
    }
}
