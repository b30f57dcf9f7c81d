//! Until when a certificate is good: its `notAfter` (RFC 5280, section 4.1.2.5), read from the DER without a library.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::auth::certificate_der;
use crate::error::{Error, Result};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Reads when the first certificate of a PEM text ends.
///
/// # Errors
/// [`crate::ErrorKind::InvalidInput`] if it is no certificate.
pub fn certificate_end(pem: &str) -> Result<Timestamp> {
    let der = certificate_der(pem)?;
    not_after(&der).ok_or_else(|| {
        Error::invalid("The certificate does not say until when it is good")
            .with_hint("Check it with 'openssl x509 -text'")
    })
}

/// One element: its tag, its contents, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0_usize, |n, digit| n << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((*tag, contents, rest))
}

fn sequence(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(tag, ..)| *tag == SEQUENCE).map(|(_, contents, rest)| (contents, rest))
}

fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = sequence(der)?;
    let (mut fields, _) = sequence(certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (validity, _) = sequence(fields)?;
    let (_, _, after) = element(validity)?;
    let (tag, time, _) = element(after)?;
    let text = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let full = match tag {
        // Two digits of a year: 50 and later are of the last century.
        UTC_TIME if text.len() == 12 => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        GENERALIZED_TIME if text.len() == 14 => text.to_owned(),
        _ => return None,
    };
    let end = DateTime::strptime("%Y%m%d%H%M%S", full).ok()?;
    TimeZone::UTC.to_timestamp(end).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = include_str!("../../tests/fixtures/graph/app-cert.pem");

    #[test]
    fn the_end_of_a_certificate_is_what_openssl_says() {
        // openssl x509 -noout -enddate
        assert_eq!(certificate_end(CERTIFICATE).unwrap().to_string(), "2126-10-30T22:14:59Z");
    }

    #[test]
    fn what_is_no_certificate_is_refused_wherever_it_breaks() {
        let der = certificate_der(CERTIFICATE).unwrap();
        for length in 0..der.len() {
            assert_eq!(not_after(&der[..length]), None, "{length}");
        }
        for place in 0..120 {
            let mut bent = der.clone();
            bent[place] ^= 0xff;
            let _ = not_after(&bent);
        }
        assert!(certificate_end("no PEM").is_err());
    }
}
