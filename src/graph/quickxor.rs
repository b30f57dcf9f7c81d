//! QuickXorHash.
/// Computes QuickXorHash piece by piece.
#[derive(Debug, Clone, Default)]
pub struct QuickXor {
    length: u64,
}
impl QuickXor {
    /// Starts.
    pub fn new() -> Self {
        Self::default()
    }
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
    }
    /// Ends and gives the 20 bytes.
    pub fn finish(self) -> [u8; 20] {
        todo!()
    }
    /// Ends and gives the hash as Graph writes it, in Base64.
    pub fn finish_base64(self) -> String {
        todo!()
    }
}
