//! Names of rows: 128 random bits, so that nobody can guess another account's.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::crypto::random_bytes;
use crate::error::{Error, Result};

/// The length of an id as text.
const LENGTH: usize = 32;

/// The id of a row: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^[0-9a-f]{32}$", example = "6a1f0c3e5b7d49218e0f6c2d4a9b7e13")]
pub(crate) struct Id(String);

impl Id {
    /// Makes a new one.
    pub(crate) fn random() -> Self {
        Self(hex(&random_bytes::<16>()))
    }

    /// Takes text that is one.
    ///
    /// # Errors
    /// `NotFound`: nothing has such an id.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let good = text.len() == LENGTH && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Self(text.to_owned())) } else { Err(Error::not_found("There is nothing with this id")) }
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_have_been_made_is_an_id() {
        let id = Id::random();
        assert_eq!(Id::parse(id.as_str()).expect("it is one"), id);
        for bad in ["", "6a1f", &"A".repeat(32), &"g".repeat(32), &"0".repeat(33), "../../../../../../../../etc/passwd"]
        {
            Id::parse(bad).expect_err(bad);
        }
    }
}
