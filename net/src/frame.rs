//! The frame on the wire: length (u32, little endian) ‖ payload ‖ (links between replicas) a 16-byte MAC.

/// Bytes of the length.
pub(crate) const HEADER_LEN: usize = 4;

/// What the bytes received so far begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// Part of a frame; the whole takes `total` bytes, where that is known already.
    Incomplete { total: Option<usize> },
    /// A whole frame.
    Whole(Extent),
    /// A frame that must not be received.
    TooLong,
}

/// Where a whole frame's payload lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// End of the payload, which begins after the header.
    pub(crate) payload_end: usize,
    /// End of the frame.
    pub(crate) end: usize,
}

/// Looks at the frame that `bytes` begin with; the length is checked before anything is done with it.
pub(crate) fn front(bytes: &[u8], payload_max: usize, trailer: usize) -> Front {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        return Front::Incomplete { total: None };
    };
    let payload = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
    if payload > payload_max {
        return Front::TooLong;
    }
    let payload_end = HEADER_LEN + payload;
    let end = payload_end + trailer;
    if bytes.len() < end {
        Front::Incomplete { total: Some(end) }
    } else {
        Front::Whole(Extent { payload_end, end })
    }
}

/// The header of a frame; none when its length can't be said.
pub(crate) fn header(payload: usize) -> Option<[u8; HEADER_LEN]> {
    u32::try_from(payload).ok().map(u32::to_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_whole_with_its_last_byte() {
        let mut bytes = header(3).expect("short").to_vec();
        bytes.extend_from_slice(b"abcTT");
        for cut in 0..bytes.len() {
            let total = (cut >= HEADER_LEN).then_some(9);
            assert_eq!(front(&bytes[..cut], 3, 2), Front::Incomplete { total });
        }
        assert_eq!(front(&bytes, 3, 2), Front::Whole(Extent { payload_end: 7, end: 9 }));
        bytes.push(0);
        assert_eq!(front(&bytes, 3, 2), Front::Whole(Extent { payload_end: 7, end: 9 }));
    }

    #[test]
    fn the_limit_is_exact() {
        assert_eq!(front(&4u32.to_le_bytes(), 3, 16), Front::TooLong);
        assert_eq!(front(&3u32.to_le_bytes(), 3, 16), Front::Incomplete { total: Some(23) });
        assert_eq!(front(&u32::MAX.to_le_bytes(), 1 << 30, 16), Front::TooLong);
    }
}
