//! Until when a certificate is valid: the one field of X.509 that TLS for servers has no use for and their operators
//! have. Pure.
//!
//! ```text
//!  Certificate    = SEQUENCE { tbsCertificate, ... }
//!  tbsCertificate = SEQUENCE { [0] version?, serial INTEGER, signature SEQUENCE, issuer SEQUENCE, validity, ... }
//!  validity       = SEQUENCE { notBefore Time, notAfter Time }        Time = UTCTime | GeneralizedTime
//! ```
//! RFC 5280 section 4.1; the encoding is DER (ITU-T X.690). It is no judge of certificates: what it cannot read has no
//! date.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

const DAY: u64 = 86_400;

/// `notAfter` of a certificate in DER form.
pub(super) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if let Some((_, after)) = element(rest, VERSION) {
        rest = after;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        (_, _, rest) = any(rest)?;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, _, rest) = any(validity)?;
    let (tag, text, _) = any(rest)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// The content of an element of this tag at the beginning, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the first element, and what follows it.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7F => (usize::from(*first), rest),
        // Long form; a certificate has no element of more than four bytes of length.
        0x81..=0x84 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            let len = len
                .iter()
                .fold(0, |sum: usize, byte| sum << 8 | usize::from(*byte));
            (len, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((*tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5).
fn time(tag: u8, text: &str) -> Option<SystemTime> {
    let digits = text.strip_suffix('Z')?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits.get(from..to)?.parse::<u64>().ok();
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => match number(0, 2)? {
            year @ 50.. => (1900 + year, 2),
            year => (2000 + year, 2),
        },
        (GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
        _ => return None,
    };
    let field = |at: usize| number(rest + 2 * at, rest + 2 * at + 2);
    let (month, day) = (field(0)?, field(1)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = field(2)? * 3_600 + field(3)? * 60 + field(4)?;
    let days = days_before_year(year)? + days_before_month(year, month) + day - 1;
    UNIX_EPOCH.checked_add(Duration::from_secs(days * DAY + seconds))
}

/// Days from 1970 to the beginning of a year; `None` before that.
fn days_before_year(year: u64) -> Option<u64> {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    Some(year.checked_sub(1970)? * 365 + leap_days(year - 1) - leap_days(1969))
}

fn days_before_month(year: u64, month: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let of_month = |month: u64| match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 31,
    };
    (1..month).map(of_month).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tag: u8, text: &str) -> Option<String> {
        time(tag, text).map(|at| humantime::format_rfc3339_seconds(at).to_string())
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        for (tag, written, expected) in [
            (UTC_TIME, "700101000000Z", Some("1970-01-01T00:00:00Z")),
            (UTC_TIME, "261231235959Z", Some("2026-12-31T23:59:59Z")),
            (GENERALIZED_TIME, "20240229120000Z", Some("2024-02-29T12:00:00Z")),
            (GENERALIZED_TIME, "21000301000000Z", Some("2100-03-01T00:00:00Z")),
            (GENERALIZED_TIME, "40960101000000Z", Some("4096-01-01T00:00:00Z")),
            (UTC_TIME, "690101000000Z", None),
            (UTC_TIME, "261331000000Z", None),
            (UTC_TIME, "2612310000Z", None),
            (UTC_TIME, "26123100000+Z", None),
            (GENERALIZED_TIME, "20261231235959", None),
        ] {
            let expected = match (tag, written) {
                // Two digits from 50 on are of the last century, and 1969 lies before what can be told.
                (UTC_TIME, "690101000000Z") => None,
                _ => expected.map(str::to_owned),
            };
            assert_eq!(text(tag, written), expected, "{written}");
        }
    }

    #[test]
    fn a_certificate_says_when_it_ends_and_a_broken_one_nothing() {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 5, 17);
        let key = rcgen::KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let end = not_after(&der).map(|at| humantime::format_rfc3339_seconds(at).to_string());
        assert_eq!(end.as_deref(), Some("2031-05-17T00:00:00Z"));
        for cut in 0..der.len().min(200) {
            // Every prefix ends in the middle of the outer sequence.
            assert_eq!(not_after(&der[..cut]), None, "{cut}");
        }
        assert_eq!(not_after(&[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]), None);
    }
}
