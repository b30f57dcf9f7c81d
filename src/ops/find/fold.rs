//! Texts as a search compares them: upper and lower case alike, an accent alike however it is written.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;

/// Folds a text: case letter by letter (`ß` is `ss`), then composed (Unicode's NFC). NUL, which parts texts in the
/// search log, goes.
pub(super) fn fold(text: &str) -> Cow<'_, str> {
    let settled = |b: u8| b.is_ascii() && !b.is_ascii_uppercase() && b != 0;
    if text.bytes().all(settled) {
        return Cow::Borrowed(text);
    }
    if text.is_ascii() {
        return Cow::Owned(text.chars().filter(|c| *c != '\0').map(|c| c.to_ascii_lowercase()).collect());
    }
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    let composed = nfc.normalize(text);
    // Letter by letter: the sigma at the end of a word is a sigma.
    let folded: String =
        composed.chars().filter(|c| *c != '\0').flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    Cow::Owned(nfc.normalize(&folded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_the_way_to_write_an_accent_make_no_difference() {
        for (a, b) in [
            ("Quarterly PLAN", "quarterly plan"),
            ("CAFÉ", "cafe\u{301}"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
            ("ΟΔΟΣ", "οδοσ"),
            ("a\0b", "AB"),
        ] {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("café"), fold("cafe"));
    }
}
