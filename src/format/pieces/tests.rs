use proptest::prelude::*;

use super::*;

/// Bytes without any pattern, the same for the same seed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut bytes = vec![0; length];
    reader.fill(&mut bytes);
    bytes
}

fn encode(bytes: &[u8], line: u16, crlf: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = LineEncoder::new(line, crlf);
    encoder.push(bytes, &mut out);
    encoder.finish(&mut out);
    out
}

fn decoded_parts<'a>(parts: &'a [Part<'_>]) -> Vec<&'a [u8]> {
    parts
        .iter()
        .filter_map(|p| if let Part::Base64 { decoded, .. } = p { Some(decoded.as_slice()) } else { None })
        .collect()
}

fn assert_exact(bytes: &[u8], min_decoded: usize) -> Vec<Part<'_>> {
    let parts = split(bytes, min_decoded);
    assert_eq!(join(&parts), bytes);
    let mut at = 0;
    for part in &parts {
        at += match part {
            Part::Raw(raw) => {
                assert!(!raw.is_empty());
                raw.len()
            }
            Part::Base64 { decoded, line, crlf, source_len } => {
                assert!(decoded.len() >= min_decoded);
                assert_eq!(encoded_len(decoded.len() as u64, *line, *crlf), *source_len as u64);
                assert!((4..=996).contains(line) && line % 4 == 0);
                *source_len
            }
        };
    }
    assert_eq!(at, bytes.len());
    parts
}

#[test]
fn line_encoder_writes_what_others_write() {
    // Python: base64.encodebytes(bytes(range(256)))[:77], and the last line.
    let bytes: Vec<u8> = (0..=255).collect();
    let text = String::from_utf8(encode(&bytes, 76, false)).expect("ASCII");
    assert!(text.starts_with("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4\n"));
    assert!(text.ends_with("5OXm5+jp6uvs7e7v8PHy8/T19vf4+fr7/P3+/w==\n"));
    assert_eq!(text.lines().count(), 5);
    assert_eq!(encode(b"", 76, true), b"");
    assert_eq!(encode(b"abcdef", 4, true), b"YWJj\r\nZGVm\r\n");
}

#[test]
fn an_attachment_is_found_with_its_exact_bytes() {
    for (line, crlf) in [(76, true), (76, false), (60, true), (72, false), (996, true), (4, false)] {
        // 5 MB once; the other forms with less.
        let attachment = noise(if (line, crlf) == (76, true) { 5 << 20 } else { 100_000 }, 1);
        let end = if crlf { "\r\n" } else { "\n" };
        let mut mail = format!("Subject: x{end}Content-Transfer-Encoding: base64{end}{end}").into_bytes();
        let head = mail.len();
        mail.extend(encode(&attachment, line, crlf));
        mail.extend_from_slice(format!("{end}--boundary--{end}").as_bytes());
        let parts = assert_exact(&mail, 1024);
        assert_eq!(parts.len(), 3, "line {line}, crlf {crlf}");
        assert!(matches!(parts[0], Part::Raw(raw) if raw.len() == head));
        assert_eq!(decoded_parts(&parts), [attachment.as_slice()]);
    }
}

#[test]
fn the_same_attachment_in_two_messages_gives_the_same_decoded_bytes() {
    let attachment = noise(10_000, 2);
    let body = encode(&attachment, 76, true);
    let one = [b"From: a@example.org\r\n\r\n".as_slice(), &body, b"\r\n--b1--\r\n"].concat();
    let two = [b"From: b@example.org\r\nX: y\r\n\r\nHello\r\n\r\n".as_slice(), &body, b"--b2\r\n\r\nBye\r\n"].concat();
    let (one, two) = (assert_exact(&one, 512), assert_exact(&two, 512));
    assert_eq!(decoded_parts(&one), decoded_parts(&two));
    assert_eq!(decoded_parts(&one).len(), 1);
}

#[test]
fn every_length_of_the_last_line_joins_exactly() {
    for extra in 0..=120 {
        let data = noise(57 * 20 + extra, extra as u64);
        let text = [encode(&data, 76, true), b"\r\n--b--".to_vec()].concat();
        let parts = assert_exact(&text, 100);
        assert_eq!(decoded_parts(&parts), [data.as_slice()], "extra {extra}");
    }
}

#[test]
fn a_last_line_without_its_end_stays_raw() {
    let data = noise(57 * 10 + 20, 3);
    let mut text = encode(&data, 76, true);
    text.truncate(text.len() - 2);
    let parts = assert_exact(&text, 100);
    assert_eq!(decoded_parts(&parts), [&data[..570]]);
    assert!(matches!(parts.last(), Some(Part::Raw(raw)) if raw.len() == 28));
}

#[test]
fn what_is_not_canonical_stays_raw() {
    let good = encode(&noise(57 * 40, 4), 76, true);
    let spoil = |at: usize, byte: u8| {
        let mut text = good.clone();
        text[at] = byte;
        text
    };
    // A foreign character, a line that ends otherwise, padding in the middle: the run ends before that line.
    for text in [spoil(78 * 20 + 5, b'-'), spoil(78 * 20 + 76, b'A'), spoil(78 * 20 + 5, b'='), spoil(78 * 20 + 5, 0)] {
        let parts = assert_exact(&text, 100);
        assert_eq!(decoded_parts(&parts).first().map(|d| d.len()), Some(57 * 20));
        assert_eq!(decoded_parts(&parts).len(), 2);
    }
    // Bits that the padding must leave zero.
    let stray_bits = [good.as_slice(), b"QUJD\r\nQR==\r\n"].concat();
    let parts = assert_exact(&stray_bits, 100);
    assert_eq!(decoded_parts(&parts)[0].len(), 57 * 40 + 3);
}

#[test]
fn lines_that_end_in_two_ways_are_split_where_they_change() {
    let text = [encode(&noise(57 * 30, 5), 76, true), encode(&noise(57 * 30, 6), 76, false)].concat();
    let parts = assert_exact(&text, 100);
    assert_eq!(decoded_parts(&parts).len(), 2);
}

#[test]
fn small_runs_and_single_lines_stay_raw() {
    let text = [encode(&noise(57 * 10, 7), 76, true), b"\r\n".to_vec()].concat();
    assert_eq!(assert_exact(&text, 571).len(), 1);
    assert_eq!(decoded_parts(&assert_exact(&text, 570)).len(), 1);
    let one_line = encode(&noise(700, 8), 996, true);
    assert_eq!(assert_exact(&one_line, 100).len(), 1);
    assert!(split(b"", 0).is_empty());
}

#[test]
fn a_run_right_behind_one_that_is_too_small_is_found() {
    let large = noise(57 * 20, 12);
    for lines in 1..6 {
        let text = [encode(&noise(45 * lines, 13), 60, true), encode(&large, 76, true), b"\r\n".to_vec()].concat();
        let parts = assert_exact(&text, 300);
        assert_eq!(decoded_parts(&parts), [large.as_slice()], "{lines} lines before");
    }
}

#[test]
fn words_in_columns_are_not_taken_for_attachments() {
    let text = "The quick brown fox jumps over the lazy dog, and so on; and so on.\r\n".repeat(500);
    assert_eq!(assert_exact(text.as_bytes(), 64).len(), 1);
}

#[test]
fn a_message_within_a_message_gives_its_attachments() {
    let picture = noise(20_000, 9);
    let inner = [
        b"Content-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\n\r\nText\r\n--in\r\n\r\n".as_slice(),
        &encode(&picture, 76, true),
        b"\r\n--in--\r\n",
    ]
    .concat();
    let second = noise(3_000, 10);
    let outer = [
        b"Content-Type: multipart/mixed; boundary=out\r\n\r\n--out\r\nContent-Type: message/rfc822\r\n\r\n".as_slice(),
        &inner,
        b"\r\n--out\r\n\r\n",
        &encode(&second, 76, true),
        b"--out--\r\n",
    ]
    .concat();
    let parts = assert_exact(&outer, 1000);
    assert_eq!(decoded_parts(&parts), [picture.as_slice(), second.as_slice()]);
}

#[test]
fn a_message_as_python_writes_it_is_taken_apart() {
    // The shape of email.message.EmailMessage with add_attachment: LF line ends, 76 characters, no blank
    // line before the closing boundary.
    let pdf = noise(2_500, 11);
    let mail = [
        b"Subject: Report\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"===============1==\"\n\n\
          --===============1==\nContent-Type: text/plain; charset=\"utf-8\"\nContent-Transfer-Encoding: 7bit\n\nHi\n\n\
          --===============1==\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\
          Content-Disposition: attachment; filename=\"r.pdf\"\nMIME-Version: 1.0\n\n"
            .as_slice(),
        &encode(&pdf, 76, false),
        b"\n--===============1==--\n",
    ]
    .concat();
    let parts = assert_exact(&mail, 1024);
    assert_eq!(decoded_parts(&parts), [pdf.as_slice()]);
}

/// Stretches that messages are made of, and what comes near to Base64 without being it.
fn stretch() -> impl Strategy<Value = Vec<u8>> {
    let ends = prop_oneof![Just("\r\n"), Just("\n"), Just("\r"), Just("")];
    let base64 = (proptest::collection::vec(any::<u8>(), 0..600), 1u16..30, any::<bool>())
        .prop_map(|(data, quads, crlf)| encode(&data, quads * 4, crlf));
    prop_oneof![
        3 => base64,
        1 => proptest::collection::vec(any::<u8>(), 0..60),
        2 => ("[ -~]{0,90}", ends).prop_map(|(text, end)| format!("{text}{end}").into_bytes()),
        2 => "[A-Za-z0-9+/=\r\n]{0,200}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn joining_what_was_split_gives_the_same_bytes(
        stretches in proptest::collection::vec(stretch(), 0..12),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        min_decoded in 0usize..300,
    ) {
        let mut bytes = stretches.concat();
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        assert_exact(&bytes, min_decoded);
    }

    #[test]
    fn joining_arbitrary_bytes_gives_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        assert_exact(&bytes, 0);
    }

    #[test]
    fn no_run_between_other_lines_is_missed(
        data in proptest::collection::vec(any::<u8>(), 200..3000),
        quads in 1u16..20,
        crlf: bool,
        before in "([ -,.-~]{0,80}-\n){0,20}",
    ) {
        let text = [before.as_bytes(), &encode(&data, quads * 4, crlf), b"--end"].concat();
        let parts = assert_exact(&text, 200);
        prop_assert_eq!(decoded_parts(&parts), vec![data.as_slice()]);
    }

    #[test]
    fn the_encoder_does_not_care_how_its_input_is_cut(
        data in proptest::collection::vec(any::<u8>(), 0..2000),
        cuts in proptest::collection::vec(1usize..300, 0..50),
        quads in 1u16..249,
        crlf: bool,
    ) {
        let mut encoder = LineEncoder::new(quads * 4, crlf);
        let mut out = Vec::new();
        let mut rest = data.as_slice();
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            encoder.push(head, &mut out);
            rest = tail;
        }
        encoder.push(rest, &mut out);
        encoder.finish(&mut out);
        prop_assert_eq!(&out, &encode(&data, quads * 4, crlf));
        prop_assert_eq!(out.len() as u64, encoded_len(data.len() as u64, quads * 4, crlf));
    }
}
