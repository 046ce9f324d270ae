//! Bytes on their way from a socket to whole frames. Links between replicas keep a buffer of their own, whose frames
//! are handed on as slices of it; all links with clients share one scratch buffer a worker and keep nothing but the
//! beginning of a frame that hasn't arrived whole.

use std::ops::ControlFlow;

use bytes::{Buf, Bytes, BytesMut};

use crate::counters::Refusal;
use crate::frame::{Front, HEADER_LEN, front};
use crate::link_mac::{LinkMac, TAG_LEN};

/// Room made at a time. A received body pins its buffer for as long as it lives.
const CHUNK: usize = 64 * 1024;
/// Below this much room a new chunk is made.
const ROOM_MIN: usize = 8 * 1024;

/// Why no more frames are taken from a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The bytes themselves are refused.
    Refused(Refusal),
    /// The caller refused a frame.
    Rejected(&'static str),
}

/// The receiving half of a link between replicas.
pub(crate) struct PeerReader {
    /// Every byte of it is initialised: the first `filled` are received, the others are room.
    bytes: BytesMut,
    filled: usize,
    mac: LinkMac,
    payload_max: usize,
}

impl PeerReader {
    pub(crate) fn new(mac: LinkMac, payload_max: usize) -> Self {
        Self { bytes: BytesMut::new(), filled: 0, mac, payload_max }
    }

    /// Where to read to next. Grows with what has arrived, not with what a header announces.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.bytes.len() - self.filled < ROOM_MIN {
            let want = self.wanted().max(CHUNK);
            self.bytes.truncate(self.filled);
            self.bytes.reserve(want - self.filled);
            self.bytes.resize(want, 0);
        }
        &mut self.bytes[self.filled..]
    }

    fn wanted(&self) -> usize {
        match front(&self.bytes[..self.filled], self.payload_max, TAG_LEN) {
            Front::Incomplete { total: Some(total) } => total.min(self.filled * 2) + ROOM_MIN,
            _ => self.filled + ROOM_MIN,
        }
    }

    /// Takes the `received` bytes read into [`PeerReader::room`] and hands each whole frame's payload on. Returns
    /// the number of frames.
    pub(crate) fn take(
        &mut self,
        received: usize,
        on_payload: &mut dyn FnMut(Bytes) -> ControlFlow<&'static str>,
    ) -> (u64, Result<(), Stop>) {
        self.filled += received;
        let mut frames = 0;
        loop {
            let extent = match front(&self.bytes[..self.filled], self.payload_max, TAG_LEN) {
                Front::Incomplete { .. } => return (frames, Ok(())),
                Front::TooLong => return (frames, Err(Stop::Refused(Refusal::FrameTooLong))),
                Front::Whole(extent) => extent,
            };
            let (frame, tag) = self.bytes[..extent.end].split_at(extent.payload_end);
            if !self.mac.verify(frame, tag) {
                return (frames, Err(Stop::Refused(Refusal::LinkMac)));
            }
            frames += 1;
            self.filled -= extent.end;
            if extent.payload_end == HEADER_LEN {
                self.bytes.advance(extent.end);
                continue;
            }
            let mut payload = self.bytes.split_to(extent.end).freeze();
            payload.truncate(extent.payload_end);
            payload.advance(HEADER_LEN);
            if let ControlFlow::Break(reason) = on_payload(payload) {
                return (frames, Err(Stop::Rejected(reason)));
            }
        }
    }

    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// The receiving half of a link with a client.
pub(crate) struct ClientReader {
    /// The beginning of a frame, and room behind it when that is long.
    partial: Vec<u8>,
    filled: usize,
    payload_max: usize,
}

impl ClientReader {
    pub(crate) fn new(payload_max: usize) -> Self {
        Self { partial: Vec::new(), filled: 0, payload_max }
    }

    /// How long a scratch buffer must be: room for a good read behind the longest beginning that is put before it.
    pub(crate) const SCRATCH_LEN: usize = ROOM_MIN + CHUNK;

    /// Where to read to next: `scratch` behind what belongs before it. Behind the beginning of a long frame to the rest
    /// of it alone: were that copied to and fro for each read, a client that sends byte by byte would cost its length
    /// each time.
    pub(crate) fn room<'a>(&'a mut self, scratch: &'a mut [u8]) -> &'a mut [u8] {
        if let Some(total) = self.long_frame() {
            self.partial.resize(total.min(self.filled + CHUNK), 0);
            return &mut self.partial[self.filled..];
        }
        let (before, room) = scratch.split_at_mut(self.filled);
        before.copy_from_slice(&self.partial);
        room
    }

    /// Takes the `received` bytes read into [`ClientReader::room`]; as [`PeerReader::take`].
    pub(crate) fn take(
        &mut self,
        scratch: &[u8],
        received: usize,
        on_payload: &mut dyn FnMut(&[u8]) -> ControlFlow<&'static str>,
    ) -> (u64, Result<(), Stop>) {
        if let Some(total) = self.long_frame() {
            return self.take_long(total, received, on_payload);
        }
        let mut bytes = &scratch[..self.filled + received];
        let mut frames = 0;
        loop {
            let extent = match front(bytes, self.payload_max, 0) {
                Front::Incomplete { .. } => {
                    self.keep(bytes);
                    return (frames, Ok(()));
                }
                Front::TooLong => return (frames, Err(Stop::Refused(Refusal::FrameTooLong))),
                Front::Whole(extent) => extent,
            };
            frames += 1;
            let payload = &bytes[HEADER_LEN..extent.payload_end];
            bytes = &bytes[extent.end..];
            if payload.is_empty() {
                continue;
            }
            if let ControlFlow::Break(reason) = on_payload(payload) {
                return (frames, Err(Stop::Rejected(reason)));
            }
        }
    }

    /// The length of a frame whose beginning is long.
    fn long_frame(&self) -> Option<usize> {
        if self.filled < ROOM_MIN {
            return None;
        }
        match front(&self.partial[..self.filled], self.payload_max, 0) {
            Front::Incomplete { total } => total,
            Front::Whole(_) | Front::TooLong => None,
        }
    }

    /// The room for a long frame ends with it.
    fn take_long(
        &mut self,
        total: usize,
        received: usize,
        on_payload: &mut dyn FnMut(&[u8]) -> ControlFlow<&'static str>,
    ) -> (u64, Result<(), Stop>) {
        self.filled += received;
        if self.filled < total {
            return (0, Ok(()));
        }
        let frame = std::mem::take(&mut self.partial);
        self.filled = 0;
        match on_payload(&frame[HEADER_LEN..total]) {
            ControlFlow::Continue(()) => (1, Ok(())),
            ControlFlow::Break(reason) => (1, Err(Stop::Rejected(reason))),
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.partial.clear();
        if bytes.is_empty() {
            self.partial.shrink_to(ROOM_MIN);
        }
        self.partial.extend_from_slice(bytes);
        self.filled = bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 200_000;

    fn wire(payloads: &[Vec<u8>], mac: Option<&mut LinkMac>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut mac = mac;
        for payload in payloads {
            let start = out.len();
            out.extend_from_slice(&crate::frame::header(payload.len()).expect("short"));
            out.extend_from_slice(payload);
            if let Some(mac) = mac.as_deref_mut() {
                let tag = mac.seal(&out[start..]);
                out.extend_from_slice(&tag);
            }
        }
        out
    }

    fn key() -> LinkMac {
        LinkMac::new(&[3; 16])
    }

    /// Feeds `bytes` in pieces of at most `step`, as a socket would.
    fn feed_peer(reader: &mut PeerReader, mut bytes: &[u8], step: usize) -> Result<Vec<Bytes>, Stop> {
        let mut got = Vec::new();
        while !bytes.is_empty() {
            let room = reader.room();
            let n = room.len().min(step).min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            reader
                .take(n, &mut |payload| {
                    got.push(payload);
                    ControlFlow::Continue(())
                })
                .1?;
        }
        Ok(got)
    }

    fn feed_client(reader: &mut ClientReader, mut bytes: &[u8], step: usize) -> Result<Vec<Vec<u8>>, Stop> {
        let mut scratch = vec![0; ClientReader::SCRATCH_LEN];
        let mut got = Vec::new();
        while !bytes.is_empty() {
            let room = reader.room(&mut scratch);
            let n = room.len().min(step).min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            reader
                .take(&scratch, n, &mut |payload| {
                    got.push(payload.to_vec());
                    ControlFlow::Continue(())
                })
                .1?;
        }
        Ok(got)
    }

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let payload = (0usize..9).prop_flat_map(|size| {
            let max = [0, 1, 2, 100, 600, 5_000, 9_000, 70_000, MAX][size];
            (any::<u8>(), 0..=max).prop_map(|(byte, len)| vec![byte; len])
        });
        proptest::collection::vec(payload, 0..12)
    }

    fn without_heartbeats(payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
        payloads.iter().filter(|p| !p.is_empty()).cloned().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn frames_arrive_whole_however_they_are_cut(payloads in payloads(), step in 1usize..100_000) {
            let bytes = wire(&payloads, Some(&mut key()));
            let step = step.max(bytes.len() / 2000);
            let got = feed_peer(&mut PeerReader::new(key(), MAX), &bytes, step).expect("all correct");
            prop_assert_eq!(got.iter().map(|p| p.to_vec()).collect::<Vec<_>>(), without_heartbeats(&payloads));
            let got = feed_client(&mut ClientReader::new(MAX), &wire(&payloads, None), step).expect("all correct");
            prop_assert_eq!(got, without_heartbeats(&payloads));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2000), step in 1usize..300) {
            let refused = feed_peer(&mut PeerReader::new(key(), 1000), &bytes, step);
            prop_assert!(refused.is_err() || refused.is_ok_and(|got| got.is_empty()));
            let _ = feed_client(&mut ClientReader::new(MAX), &bytes, step);
        }
    }

    #[test]
    fn a_split_at_every_byte_changes_nothing() {
        let payloads = vec![b"first".to_vec(), vec![], vec![9; 700]];
        let (macced, plain) = (wire(&payloads, Some(&mut key())), wire(&payloads, None));
        for cut in 0..=macced.len() {
            let mut reader = PeerReader::new(key(), 1000);
            let mut got = feed_peer(&mut reader, &macced[..cut], usize::MAX).expect("correct");
            got.extend(feed_peer(&mut reader, &macced[cut..], usize::MAX).expect("correct"));
            assert_eq!(got, without_heartbeats(&payloads));
        }
        for cut in 0..=plain.len() {
            let mut reader = ClientReader::new(MAX);
            let mut got = feed_client(&mut reader, &plain[..cut], usize::MAX).expect("correct");
            got.extend(feed_client(&mut reader, &plain[cut..], usize::MAX).expect("correct"));
            assert_eq!(got, without_heartbeats(&payloads));
        }
    }

    /// Else a client that sends the last bytes of a long frame one by one costs twice its length in copies each time.
    #[test]
    fn the_rest_of_a_long_frame_is_read_in_place() {
        let payload: Vec<u8> =
            (0..ROOM_MIN + 3000).map(|i| u8::try_from(i % 251).expect("below 251")).collect();
        let bytes = wire(&[payload.clone(), vec![9; 3]], None);
        let (mut reader, mut scratch) = (ClientReader::new(MAX), vec![0; ClientReader::SCRATCH_LEN]);
        let got = std::cell::RefCell::new(Vec::new());
        let feed = |reader: &mut ClientReader, scratch: &mut [u8], bytes: &[u8]| {
            reader.room(scratch)[..bytes.len()].copy_from_slice(bytes);
            let mut on_payload = |payload: &[u8]| {
                got.borrow_mut().push(payload.to_vec());
                ControlFlow::Continue(())
            };
            reader.take(scratch, bytes.len(), &mut on_payload).1.expect("all correct");
        };
        feed(&mut reader, &mut scratch, &bytes[..ROOM_MIN]);
        scratch.fill(0);
        let end = HEADER_LEN + payload.len();
        for at in ROOM_MIN..end {
            assert_eq!(reader.room(&mut scratch).len(), end - at, "the rest and no more");
            feed(&mut reader, &mut scratch, &bytes[at..=at]);
        }
        assert!(scratch.iter().all(|byte| *byte == 0));
        assert_eq!(reader.partial.capacity(), 0, "nothing is kept of it");
        feed(&mut reader, &mut scratch, &bytes[end..]);
        assert_eq!(got.into_inner(), [payload, vec![9; 3]]);
    }

    #[test]
    fn a_length_bomb_reserves_nothing() {
        let mut reader = PeerReader::new(key(), 1 << 30);
        let bytes = (1u32 << 30).to_le_bytes();
        assert_eq!(feed_peer(&mut reader, &bytes, 4), Ok(vec![]));
        for _ in 0..10 {
            assert_eq!(feed_peer(&mut reader, &[0; 1000], 1000), Ok(vec![]));
        }
        assert!(reader.capacity() <= 2 * CHUNK, "{}", reader.capacity());
        let mut reader = PeerReader::new(key(), 1000);
        assert_eq!(
            feed_peer(&mut reader, &1001u32.to_le_bytes(), 4),
            Err(Stop::Refused(Refusal::FrameTooLong))
        );
        let mut reader = ClientReader::new(1000);
        assert_eq!(
            feed_client(&mut reader, &u32::MAX.to_le_bytes(), 4),
            Err(Stop::Refused(Refusal::FrameTooLong))
        );
    }

    #[test]
    fn payloads_are_slices_of_the_read_buffer() {
        let bytes = wire(&[vec![1; 3000], vec![2; 3000]], Some(&mut key()));
        let got = feed_peer(&mut PeerReader::new(key(), MAX), &bytes, usize::MAX).expect("correct");
        let distance = got[1].as_ptr() as usize - got[0].as_ptr() as usize;
        assert_eq!(distance, 3000 + TAG_LEN + HEADER_LEN);
    }

    #[test]
    fn the_callers_refusal_stops_the_reading() {
        let bytes = wire(&[vec![1], vec![2]], Some(&mut key()));
        let mut reader = PeerReader::new(key(), MAX);
        reader.room()[..bytes.len()].copy_from_slice(&bytes);
        let taken = reader.take(bytes.len(), &mut |_| ControlFlow::Break("no"));
        assert_eq!(taken, (1, Err(Stop::Rejected("no"))));
    }
}
