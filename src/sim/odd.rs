//! Messages that are legal or tolerated, and break parsers: whoever takes MIME apart must give these
//! back byte for byte too.

use super::letter::{Cast, Letter, Shape};
use super::mime::{Out, attachment, body, text_part};

/// The same letter in the usual form.
fn usual(letter: &Letter) -> Letter {
    Letter { shape: Shape::Usual, ..letter.clone() }
}

/// Writes the rest of a message (after `MIME-Version`) in the odd way of that number.
pub(super) fn write(cast: &Cast, letter: &Letter, way: u8, out: &mut Out) {
    let usual = usual(letter);
    match way {
        0 => raw_eight_bit(out),
        1 => preamble_and_epilogue(&usual, out),
        2 => unclosed(&usual, out),
        3 => {
            out.columns = 60;
            body(cast, &usual, out);
        }
        4 => {
            out.line("X-Twice: one");
            out.line("X-Twice: two");
            out.line(&format!("X-Long: {}", "word ".repeat(260)));
            body(cast, &usual, out);
        }
        5 => bare_line_feeds(out),
        6 => continued_file_name(&usual, out),
        7 => winmail(out),
        8 => quoted_attachment(&usual, out),
        9 => base64_without_end(&usual, out),
        10 => nested_deep(&usual, out),
        _ => no_blank_line(out),
    }
}

fn raw_eight_bit(out: &mut Out) {
    out.bytes.extend_from_slice(b"X-Raw: Gr\xfc\xdfe\r\n");
    out.line("Content-Type: text/plain; charset=iso-8859-1");
    out.line("Content-Transfer-Encoding: 8bit");
    out.line("");
    out.bytes.extend_from_slice(b"Sch\xf6ne Gr\xfc\xdfe \xe2\x82\xac \x00 nul, \x0c form feed\r\n");
}

fn preamble_and_epilogue(letter: &Letter, out: &mut Out) {
    out.line("Content-Type: MULTIPART/Mixed; BOUNDARY==_weird_'()+,-./:=?_");
    out.line("");
    out.line("This is a multi-part message in MIME format.");
    out.line("--=_weird_'()+,-./:=?_   ");
    text_part(letter, out);
    out.line("--=_weird_'()+,-./:=?_--");
    out.line("An epilogue that some list server added.");
    out.bytes.extend_from_slice(b"without a line end");
}

fn unclosed(letter: &Letter, out: &mut Out) {
    out.line("Content-Type: multipart/mixed; boundary=\"never closed\"");
    out.line("");
    out.line("--never closed");
    text_part(letter, out);
    for file in &letter.attachments {
        out.line("--never closed");
        attachment(letter, file, out);
    }
}

fn bare_line_feeds(out: &mut Out) {
    out.line("Content-Type: text/plain");
    out.line("");
    out.bytes.extend_from_slice(b"unix line\nold mac line\rCRLF line\r\n.\r\n..two dots\nlast line");
}

fn continued_file_name(letter: &Letter, out: &mut Out) {
    out.line("Content-Type: multipart/mixed; boundary=rfc2231");
    out.line("");
    out.line("--rfc2231");
    text_part(letter, out);
    out.line("--rfc2231");
    out.line("Content-Type: application/octet-stream");
    out.line("Content-Disposition: attachment;");
    out.line(" filename*0*=UTF-8''%C3%9Cbersicht%20;");
    out.line(" filename*1*=der%20Ma%C3%9Fe.bin");
    out.line("Content-Transfer-Encoding: BASE64");
    out.line("");
    out.line("AAECAwQF");
    out.line("--rfc2231--");
}

fn winmail(out: &mut Out) {
    out.line("Content-Type: application/ms-tnef; name=\"winmail.dat\"");
    out.line("Content-Transfer-Encoding: binary");
    out.line("");
    out.bytes.extend_from_slice(&[0x78, 0x9f, 0x3e, 0x22, 0x00, 0x01, 0x0d, 0x0a, 0xff, 0xfe, 0x0d, 0x00]);
}

fn quoted_attachment(letter: &Letter, out: &mut Out) {
    out.line("Content-Type: multipart/mixed; boundary=\"=_q\"");
    out.line("");
    out.line("--=_q");
    text_part(letter, out);
    out.line("--=_q");
    out.line("Content-Type: text/csv; name=table.csv");
    out.line("Content-Disposition: attachment; filename=table.csv");
    out.line("Content-Transfer-Encoding: Quoted-Printable");
    out.line("");
    out.line("a=3Bb=3bc trailing space=20");
    out.line("soft =");
    out.line("break=0D=0A");
    out.line("--=_q--");
}

fn base64_without_end(letter: &Letter, out: &mut Out) {
    out.line("Content-Type: multipart/mixed; boundary=b64");
    out.line("");
    out.line("--b64");
    text_part(letter, out);
    out.line("--b64");
    out.line("Content-Type: application/octet-stream; name=cut.bin");
    out.line("Content-Transfer-Encoding: base64");
    out.line("");
    out.line("AAECAwQFBgcICQoLDA0ODw==AAEC");
    out.line("  Aw Q\tF*!Bg");
    out.line("");
    out.line("Zg=");
    out.line("--b64--");
}

fn nested_deep(letter: &Letter, out: &mut Out) {
    for level in 0..12 {
        out.line(&format!("Content-Type: multipart/mixed; boundary=level{level}"));
        out.line("");
        out.line(&format!("--level{level}"));
    }
    text_part(letter, out);
    for level in (0..12).rev() {
        out.line(&format!("--level{level}--"));
    }
}

fn no_blank_line(out: &mut Out) {
    out.line("Content-Type: text/plain");
    out.line("This line is no header and no blank line came before it");
    out.line("");
    out.line("body");
}
