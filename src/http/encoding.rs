//! Content codings of small bodies (RFC 9110 section 8.4.1), undone so that signalling in them can be read.
//!
//! Nothing is ever encoded here: a body that was rewritten goes on without its coding.

use std::io::Read;

use flate2::read::{GzDecoder, ZlibDecoder};
use hyper::HeaderMap;
use hyper::header::CONTENT_ENCODING;

use super::target::list;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Not at all.
    Identity,
    /// `gzip`.
    Gzip,
    /// `deflate`: the zlib format.
    Deflate,
    /// Several, or one that is not known here.
    Other,
}

impl Coding {
    /// The coding of the body that these headers describe.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let codings = list(headers, CONTENT_ENCODING.as_str());
        match codings.as_slice() {
            [] => Self::Identity,
            [one] => match one.to_ascii_lowercase().as_str() {
                "identity" => Self::Identity,
                "gzip" | "x-gzip" => Self::Gzip,
                "deflate" => Self::Deflate,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    /// The decoded body; `None` if it is damaged, not understood, or longer than `limit`.
    pub(super) fn decode(self, body: &[u8], limit: usize) -> Option<Vec<u8>> {
        match self {
            Self::Identity => Some(body.to_vec()),
            Self::Gzip => read_up_to(GzDecoder::new(body), limit),
            Self::Deflate => read_up_to(ZlibDecoder::new(body), limit),
            Self::Other => None,
        }
    }
}

fn read_up_to(decoder: impl Read, limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut out).ok()?;
    (out.len() <= limit).then_some(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn decodes_what_it_names() {
        assert_eq!(Coding::Gzip.decode(&gzip(b"v=0"), 3).unwrap(), b"v=0");
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"v=0").unwrap();
        assert_eq!(
            Coding::Deflate.decode(&encoder.finish().unwrap(), 3).unwrap(),
            b"v=0"
        );
    }

    #[test]
    fn a_bomb_and_a_damaged_body_are_refused() {
        let bomb = gzip(&vec![0; 50_000_000]);
        assert!(bomb.len() < 100_000);
        assert_eq!(Coding::Gzip.decode(&bomb, 256 * 1024), None);
        assert_eq!(Coding::Gzip.decode(&gzip(b"v=0")[..8], 100), None);
        assert_eq!(Coding::Other.decode(b"v=0", 100), None);
    }

    #[test]
    fn the_header_tells_the_coding() {
        for (value, coding) in [
            ("gzip", Coding::Gzip),
            ("X-GZIP", Coding::Gzip),
            ("deflate", Coding::Deflate),
            ("identity", Coding::Identity),
            ("br", Coding::Other),
            ("gzip, br", Coding::Other),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_ENCODING, value.parse().unwrap())]);
            assert_eq!(Coding::of(&headers), coding, "{value}");
        }
        assert_eq!(Coding::of(&HeaderMap::new()), Coding::Identity);
    }
}
