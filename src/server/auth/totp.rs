//! The second factor: time-based one-time codes (RFC 6238), as authenticator apps make them.

use totp_rs::{Algorithm, Builder, Secret, Totp};
use zeroize::Zeroizing;

use crate::crypto::random_bytes;
use crate::error::{Error, Result};

/// A new secret: 160 bits as Base32.
pub(crate) fn new_secret() -> Zeroizing<String> {
    Zeroizing::new(Secret::from(random_bytes::<20>().to_vec()).to_base32())
}

fn totp(secret: &str, login: &str) -> Result<Totp> {
    let secret =
        Secret::try_from_base32(secret).map_err(|_| Error::internal("A second factor's secret cannot be read"))?;
    Builder::new()
        // What authenticator apps understand, all of them.
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_skew(1)
        .with_step_duration(30)
        .with_secret(secret)
        .with_issuer(Some("Tenantvault"))
        .with_account_name(login.replace(':', " "))
        .build()
        .map_err(|_| Error::internal("A second factor's secret cannot be used"))
}

/// The address that an authenticator app reads, as text and as a picture (SVG).
///
/// # Errors
/// When the secret is none.
pub(crate) fn to_scan(secret: &str, login: &str) -> Result<(Zeroizing<String>, String)> {
    let url = Zeroizing::new(totp(secret, login)?.to_url().map_err(|_| Error::internal("A login makes no address"))?);
    let code =
        qrcode::QrCode::new(url.as_bytes()).map_err(|_| Error::invalid("The login is too long for a picture"))?;
    let picture = code.render::<qrcode::render::svg::Color<'_>>().min_dimensions(200, 200).build();
    Ok((url, picture))
}

/// The time step that a code belongs to, if it is good now (or half a minute before or after) and its step is later than
/// `last_step`: no code is taken twice.
///
/// # Errors
/// When the secret is none.
pub(crate) fn check(secret: &str, code: &str, now_us: i64, last_step: i64) -> Result<Option<i64>> {
    let digits: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    let now = u64::try_from(now_us / 1_000_000).unwrap_or_default();
    let step = totp(secret, "x")?.check(&digits, now).map(|step| i64::try_from(step).unwrap_or(i64::MAX));
    Ok(step.filter(|step| *step > last_step))
}

/// The code at a time, as an app would show it.
///
/// # Errors
/// When the secret is none.
#[cfg(test)]
pub(crate) fn code_at(secret: &str, now_us: i64) -> Result<String> {
    Ok(totp(secret, "x")?.generate(u64::try_from(now_us / 1_000_000).unwrap_or_default()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_for_its_time_and_once() {
        let secret = new_secret();
        let now = 1_800_000_000_000_000;
        let code = code_at(&secret, now).expect("made");
        let step = check(&secret, &code, now, 0).expect("read").expect("good");
        assert_eq!(check(&secret, &code, now, step).expect("read"), None, "not twice");
        assert!(check(&secret, &code, now + 30_000_000, 0).expect("read").is_some(), "clocks differ");
        assert_eq!(check(&secret, &code, now + 120_000_000, 0).expect("read"), None, "too late");
        for bad in ["", "12345", "abcdef", "1234567"] {
            assert_eq!(check(&secret, bad, now, 0).expect("read"), None, "{bad}");
        }
    }

    #[test]
    fn the_picture_is_svg_and_the_address_names_the_login() {
        let (url, picture) = to_scan(&new_secret(), "alice@contoso.com").expect("made");
        assert!(url.starts_with("otpauth://totp/Tenantvault:alice"), "{}", url.as_str());
        assert!(picture.contains("<svg"));
    }
}
