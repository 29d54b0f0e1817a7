//! RFC 4571 framing, which ICE over TCP uses for STUN, DTLS and SRTP alike (RFC 6544 section 3): each packet is
//! preceded by its length in two bytes.
//!
//! The reader keeps only an unfinished frame, and of that only what has arrived: a peer that claims 65535 bytes and
//! sends three costs five. It does not interpret frames.

use super::reader::Reader;

/// The length field.
pub const HEADER_LEN: usize = 2;
/// What the first frame of a connection may measure at most. It is a Binding request, of which the longest USERNAME
/// is the largest part; real ones stay below 700 bytes.
pub const FIRST_FRAME_LIMIT: u16 = 1024;

/// The bytes that precede a packet of this length.
#[must_use]
pub const fn write_header(len: u16) -> [u8; HEADER_LEN] {
    len.to_be_bytes()
}

/// A frame is longer than the reader's limit: the rest of the stream cannot be made sense of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a frame of {len} bytes, longer than the limit of {limit}")]
pub struct FrameTooLong {
    /// What the frame's header says.
    pub len: u16,
    /// The limit at the time.
    pub limit: u16,
}

/// Finds the frames in a stream that arrives in pieces of any size. Empty frames are legal and skipped.
#[derive(Debug)]
pub struct FrameReader {
    /// Header and beginning of the frame that has not ended yet, or the whole of the frame that was handed out last.
    partial: Vec<u8>,
    handed_out: bool,
    limit: u16,
}

impl FrameReader {
    /// A reader that refuses frames longer than `limit` bytes.
    #[must_use]
    pub const fn new(limit: u16) -> Self {
        Self {
            partial: Vec::new(),
            handed_out: false,
            limit,
        }
    }

    /// Sets the limit, which also holds for a frame that has begun: a peer that has authenticated may send longer ones.
    pub const fn set_limit(&mut self, limit: u16) {
        self.limit = limit;
    }

    /// The next whole frame, taken from the front of `input` together with what is left of earlier input.
    /// `None` once `input` is used up. A frame that lies whole in `input` is not copied.
    ///
    /// # Errors
    /// If a frame is longer than the limit; at that limit every further call fails too.
    pub fn next_frame<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<&'s [u8]>, FrameTooLong> {
        if std::mem::take(&mut self.handed_out) {
            self.partial.clear();
        }
        loop {
            if self.partial.is_empty()
                && let Some((frame, rest)) = self.split_whole(input)
            {
                *input = rest;
                if frame.is_empty() {
                    continue;
                }
                return Ok(Some(frame));
            }
            if !self.fill(HEADER_LEN, input) {
                return Ok(None);
            }
            let len = self.checked_len()?;
            if !self.fill(HEADER_LEN + len, input) {
                return Ok(None);
            }
            if len == 0 {
                self.partial.clear();
                continue;
            }
            self.handed_out = true;
            return Ok(self.partial.get(HEADER_LEN..));
        }
    }

    /// The frame at the front of `input`, if it is whole and within the limit.
    fn split_whole<'i>(&self, input: &'i [u8]) -> Option<(&'i [u8], &'i [u8])> {
        let mut reader = Reader::new(input);
        let len = reader.u16().filter(|len| *len <= self.limit)?;
        let frame = reader.take(usize::from(len))?;
        Some((frame, reader.rest()))
    }

    /// Moves bytes from `input` until `partial` holds `len`; whether it does.
    fn fill(&mut self, len: usize, input: &mut &[u8]) -> bool {
        let missing = len.saturating_sub(self.partial.len());
        let (taken, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
        self.partial.extend_from_slice(taken);
        *input = rest;
        self.partial.len() >= len
    }

    fn checked_len(&self) -> Result<usize, FrameTooLong> {
        let len = Reader::new(&self.partial).u16().unwrap_or(0);
        if len > self.limit {
            return Err(FrameTooLong {
                len,
                limit: self.limit,
            });
        }
        Ok(usize::from(len))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Frames whose contents pass for headers and that are often empty.
    fn frames(max_len: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
        vec(prop_oneof![Just(Vec::new()), vec(0..4_u8, 0..=max_len)], 0..12)
    }

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for frame in frames {
            stream.extend(write_header(u16::try_from(frame.len()).unwrap()));
            stream.extend(frame);
        }
        stream
    }

    fn read_all(
        reader: &mut FrameReader,
        mut input: &[u8],
        frames: &mut Vec<Vec<u8>>,
    ) -> Result<(), FrameTooLong> {
        while let Some(frame) = reader.next_frame(&mut input)? {
            frames.push(frame.to_vec());
        }
        assert!(input.is_empty(), "None means that the input is used up");
        Ok(())
    }

    fn non_empty(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        frames.iter().filter(|frame| !frame.is_empty()).cloned().collect()
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_gives_the_same_frames(
            frames in frames(40),
            cuts in vec(0..300_usize, 0..40),
        ) {
            let stream = stream(&frames);
            let mut cuts = cuts.into_iter().map(|cut| cut.min(stream.len())).collect::<Vec<_>>();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut reader = FrameReader::new(40);
            let mut read = Vec::new();
            for piece in cuts.windows(2) {
                read_all(&mut reader, &stream[piece[0]..piece[1]], &mut read).unwrap();
            }
            prop_assert_eq!(read, non_empty(&frames));
        }

        #[test]
        fn a_long_frame_ends_the_stream_wherever_it_is_cut(
            before in frames(20),
            excess in 1..100_u16,
            cut in 0..200_usize,
        ) {
            let (limit, too_long) = (20, 20 + excess);
            let mut stream = stream(&before);
            stream.extend(write_header(too_long));
            stream.resize(stream.len() + usize::from(too_long), 0);
            let (first, second) = stream.split_at(cut.min(stream.len()));
            let mut reader = FrameReader::new(limit);
            let mut read = Vec::new();
            let outcome = read_all(&mut reader, first, &mut read)
                .and_then(|()| read_all(&mut reader, second, &mut read));
            let refused = FrameTooLong { len: too_long, limit };
            prop_assert_eq!(outcome, Err(refused));
            prop_assert_eq!(read, non_empty(&before));
            prop_assert_eq!(read_all(&mut reader, &[0, 1, 7], &mut Vec::new()), Err(refused), "it stays refused");
        }
    }

    #[test]
    fn the_longest_frame_passes_in_single_bytes() {
        let frame = vec![7; usize::from(u16::MAX)];
        let mut reader = FrameReader::new(u16::MAX);
        let mut read = Vec::new();
        for byte in stream(std::slice::from_ref(&frame)) {
            read_all(&mut reader, &[byte], &mut read).unwrap();
        }
        assert_eq!(read, [frame]);
    }

    #[test]
    fn a_claimed_length_costs_no_memory() {
        let mut reader = FrameReader::new(u16::MAX);
        read_all(&mut reader, &[0xFF, 0xFF, 1, 2, 3], &mut Vec::new()).unwrap();
        assert!(reader.partial.capacity() < 64);
    }

    #[test]
    fn a_whole_frame_is_not_copied() {
        let stream = stream(&[vec![1, 2, 3]]);
        let mut input = stream.as_slice();
        let mut reader = FrameReader::new(FIRST_FRAME_LIMIT);
        let frame = reader.next_frame(&mut input).unwrap().unwrap();
        assert_eq!(frame.as_ptr(), stream[HEADER_LEN..].as_ptr());
    }

    #[test]
    fn the_limit_can_be_raised_between_frames() {
        let stream = stream(&[vec![1; 4], vec![2; 8]]);
        let mut input = stream.as_slice();
        let mut reader = FrameReader::new(4);
        assert_eq!(reader.next_frame(&mut input), Ok(Some([1; 4].as_slice())));
        reader.set_limit(8);
        assert_eq!(reader.next_frame(&mut input), Ok(Some([2; 8].as_slice())));
    }
}
