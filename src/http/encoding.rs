//! Content codings of small bodies (RFC 9110 section 8.4.1), undone so that signalling in them can be read.
//!
//! Nothing is ever encoded here: a body that was rewritten goes on without its coding.

use std::io::Read;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::bufread::{GzDecoder, ZlibDecoder};
use hyper::HeaderMap;
use hyper::header::CONTENT_ENCODING;
use ruzstd::decoding::StreamingDecoder;

use super::target::list;

/// The window that a decoder of the coding must offer, and may refuse to exceed (RFC 9659).
const ZSTD_WINDOW: u64 = 8 << 20;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Not at all.
    Identity,
    /// `gzip`.
    Gzip,
    /// `deflate`: the zlib format.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
    /// Several, or one that is not known here.
    Other,
}

impl Coding {
    /// The coding of the body that these headers describe.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut codings = list(headers, &CONTENT_ENCODING);
        match (codings.next(), codings.next()) {
            (None, _) => Self::Identity,
            (Some(one), None) => match one.to_ascii_lowercase().as_str() {
                "identity" => Self::Identity,
                "gzip" | "x-gzip" => Self::Gzip,
                "deflate" => Self::Deflate,
                "br" => Self::Brotli,
                "zstd" => Self::Zstd,
                _ => Self::Other,
            },
            (Some(_), Some(_)) => Self::Other,
        }
    }

    /// The decoded body; `None` if it is damaged, not understood, or longer than `limit`. So it is if anything follows
    /// the first stream or frame: that would be lost in what is made of the body.
    pub(super) fn decode(self, body: &[u8], limit: usize) -> Option<Vec<u8>> {
        match self {
            Self::Identity => Some(body.to_vec()),
            Self::Gzip => {
                let mut decoder = GzDecoder::new(body);
                let plain = read_up_to(&mut decoder, limit)?;
                decoder.into_inner().is_empty().then_some(plain)
            }
            Self::Deflate => {
                let mut decoder = ZlibDecoder::new(body);
                let plain = read_up_to(&mut decoder, limit)?;
                decoder.into_inner().is_empty().then_some(plain)
            }
            Self::Brotli => brotli(body, limit),
            Self::Zstd => {
                let mut decoder = StreamingDecoder::new_with_max_window_size(body, ZSTD_WINDOW).ok()?;
                let plain = read_up_to(&mut decoder, limit)?;
                decoder.get_ref().is_empty().then_some(plain)
            }
            Self::Other => None,
        }
    }
}

fn read_up_to(decoder: &mut impl Read, limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut out).ok()?;
    (out.len() <= limit).then_some(out)
}

/// The crate's reader does not tell whether anything follows.
fn brotli(body: &[u8], limit: usize) -> Option<Vec<u8>> {
    let alloc = StandardAlloc::default;
    let mut state = BrotliState::new(alloc(), alloc(), alloc());
    let mut out = vec![0; limit];
    let (mut left, mut at, mut room, mut len, mut total) = (body.len(), 0, limit, 0, 0);
    let result = BrotliDecompressStream(
        &mut left, &mut at, body, &mut room, &mut len, &mut out, &mut total, &mut state,
    );
    out.truncate(len);
    (matches!(result, BrotliResult::ResultSuccess) && left == 0).then_some(out)
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

    fn zstd(plain: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    /// `v=0`, and 50 000 000 zero bytes, by Node's zlib.
    const BROTLI: &str = "0b0180763d3003";
    const BROTLI_BOMB: &str = "cbffff3ff82700e2b14020f7fe8fffff7ff04f00c4611180eefd1fffffffe09f0088c30200ddfb3ff\
                               effffc13f0110870500baf77ffcffff837f02200e0b0074effff20f5e0fff04401c1600e8a0eb01";

    #[test]
    fn what_follows_is_not_lost() {
        for (coding, mut body) in [
            (Coding::Gzip, gzip(b"v=0")),
            (Coding::Brotli, hex(BROTLI)),
            (Coding::Zstd, zstd(b"v=0")),
        ] {
            assert_eq!(coding.decode(&body, 100).unwrap(), b"v=0", "{coding:?}");
            body.extend_from_slice(&body.clone());
            assert_eq!(coding.decode(&body, 100), None, "{coding:?}");
        }
    }

    #[test]
    fn a_zstd_frame_that_wants_much_memory_is_refused() {
        // A frame of RFC 8878 section 3.1.1 with a window of 64 MiB and one raw block.
        let frame = [
            0x28,
            0xb5,
            0x2f,
            0xfd,
            0x00,
            16 << 3,
            0x19,
            0,
            0,
            b'v',
            b'=',
            b'0',
        ];
        assert_eq!(Coding::Zstd.decode(&frame, 100), None);
        let mut small = frame;
        small[5] = 0;
        assert_eq!(Coding::Zstd.decode(&small, 100).unwrap(), b"v=0");
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
        assert_eq!(Coding::Brotli.decode(&hex(BROTLI_BOMB), 256 * 1024), None);
        assert_eq!(Coding::Zstd.decode(&zstd(&vec![0; 50_000_000]), 256 * 1024), None);
        assert_eq!(Coding::Brotli.decode(&hex(BROTLI)[..5], 100), None);
        assert_eq!(Coding::Zstd.decode(&zstd(b"v=0")[..8], 100), None);
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
            ("br", Coding::Brotli),
            ("zstd", Coding::Zstd),
            ("compress", Coding::Other),
            ("gzip, br", Coding::Other),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_ENCODING, value.parse().unwrap())]);
            assert_eq!(Coding::of(&headers), coding, "{value}");
        }
        assert_eq!(Coding::of(&HeaderMap::new()), Coding::Identity);
    }
}
