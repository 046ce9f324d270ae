use bytes::Bytes;
use hypostyle_app_api::{Digest, Position, Round};
use hypostyle_pillars::message::{Malformed, Reader};

use super::image::{CHUNK_BYTES, PATH_MAX, chunks_in};

/// What replicas say to each other about snapshots: hints under the link's MAC, believed only as far as f+1 tellings, the
/// chunks' root and the state's digest bear them out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferMessage {
    /// Take a snapshot after this round. A new `id` cancels what was asked before; the same one asks how it stands.
    Ask {
        /// The asker's own number for it.
        id: u64,
        /// c.
        round: Round,
    },
    /// How far the donor has executed, and whether a snapshot for this `id` is being written.
    Standing {
        /// That of the question.
        id: u64,
        /// Executed positions.
        position: Position,
        /// Whether the snapshot is taken and its telling will follow.
        writing: bool,
    },
    /// The snapshot for this `id` is there.
    Tell {
        /// That of the question.
        id: u64,
        /// What it is.
        telling: Telling,
    },
    /// Send these chunks.
    Fetch {
        /// Of which snapshot.
        root: Digest,
        /// Which, at most [`FETCH_MAX`].
        wanted: Vec<Wanted>,
    },
    /// A chunk.
    Chunk {
        /// Of which snapshot.
        root: Digest,
        /// Which.
        index: u32,
        /// From its leaf to the root.
        path: Vec<Digest>,
        /// Its bytes; none when it is the one the asker has.
        data: Bytes,
    },
    /// There is no such snapshot (any more).
    Gone {
        /// Which.
        root: Digest,
    },
    /// The asker needs its snapshot no more.
    Close {
        /// That of the question.
        id: u64,
    },
}

/// A snapshot as a donor tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Executed positions: in the middle of a round when the donor stood still there.
    pub position: Position,
    /// The state's digest; after a round with a checkpoint, the checkpoint's.
    pub digest: Digest,
    /// Merkle root over the chunks.
    pub root: Digest,
    /// Bytes in all.
    pub length: u64,
}

/// A chunk that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub index: u32,
    /// The leaf hash of the chunk the asker has in this place from an older snapshot; zero when none.
    pub have: Digest,
}

/// Chunks in a [`TransferMessage::Fetch`].
pub const FETCH_MAX: usize = 8;
/// The largest message: a chunk with its path.
pub const MESSAGE_MAX: usize = 1 + 32 + 4 + 1 + PATH_MAX * 32 + CHUNK_BYTES;

impl TransferMessage {
    /// Kind byte of [`TransferMessage::Ask`].
    pub const ASK: u8 = 1;
    /// Kind byte of [`TransferMessage::Standing`].
    pub const STANDING: u8 = 2;
    /// Kind byte of [`TransferMessage::Tell`].
    pub const TELL: u8 = 3;
    /// Kind byte of [`TransferMessage::Fetch`].
    pub const FETCH: u8 = 4;
    /// Kind byte of [`TransferMessage::Chunk`].
    pub const CHUNK: u8 = 5;
    /// Kind byte of [`TransferMessage::Gone`].
    pub const GONE: u8 = 6;
    /// Kind byte of [`TransferMessage::Close`].
    pub const CLOSE: u8 = 7;

    /// The payload of a frame, after its type byte.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Ask { id, round } => {
                out.push(Self::ASK);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&round.0.to_le_bytes());
            }
            Self::Standing { id, position, writing } => {
                out.push(Self::STANDING);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&position.0.to_le_bytes());
                out.push(u8::from(*writing));
            }
            Self::Tell { id, telling } => {
                out.push(Self::TELL);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&telling.position.0.to_le_bytes());
                out.extend_from_slice(&telling.digest.0);
                out.extend_from_slice(&telling.root.0);
                out.extend_from_slice(&telling.length.to_le_bytes());
            }
            Self::Fetch { root, wanted } => {
                out.push(Self::FETCH);
                out.extend_from_slice(&root.0);
                out.push(u8::try_from(wanted.len()).expect("at most FETCH_MAX"));
                for Wanted { index, have } in wanted {
                    out.extend_from_slice(&index.to_le_bytes());
                    out.extend_from_slice(&have.0);
                }
            }
            Self::Chunk { root, index, path, data } => {
                out.reserve_exact(1 + 32 + 4 + 1 + path.len() * 32 + data.len());
                out.push(Self::CHUNK);
                out.extend_from_slice(&root.0);
                out.extend_from_slice(&index.to_le_bytes());
                out.push(u8::try_from(path.len()).expect("at most PATH_MAX"));
                path.iter().for_each(|digest| out.extend_from_slice(&digest.0));
                out.extend_from_slice(data);
            }
            Self::Gone { root } => {
                out.push(Self::GONE);
                out.extend_from_slice(&root.0);
            }
            Self::Close { id } => {
                out.push(Self::CLOSE);
                out.extend_from_slice(&id.to_le_bytes());
            }
        }
        out.into()
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one well-formed message.
    pub fn decode(payload: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let message = match reader.u8().ok_or(TRUNCATED)? {
            Self::ASK => Self::Ask { id: number(&mut reader)?, round: Round(number(&mut reader)?) },
            Self::STANDING => Self::Standing {
                id: number(&mut reader)?,
                position: Position(number(&mut reader)?),
                writing: match reader.u8() {
                    Some(0) => false,
                    Some(1) => true,
                    _ => return Err(malformed("a flag is neither 0 nor 1")),
                },
            },
            Self::TELL => Self::Tell { id: number(&mut reader)?, telling: telling(&mut reader)? },
            Self::FETCH => Self::Fetch { root: digest(&mut reader)?, wanted: wanted(&mut reader)? },
            Self::CHUNK => return chunk(&mut reader, payload),
            Self::GONE => Self::Gone { root: digest(&mut reader)? },
            Self::CLOSE => Self::Close { id: number(&mut reader)? },
            _ => return Err(malformed("unknown kind")),
        };
        if reader.is_empty() { Ok(message) } else { Err(malformed("trailing bytes")) }
    }
}

const TRUNCATED: Malformed = malformed("truncated");

const fn malformed(what: &'static str) -> Malformed {
    Malformed { message: "transfer", what }
}

fn number(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    reader.u64().ok_or(TRUNCATED)
}

fn digest(reader: &mut Reader<'_>) -> Result<Digest, Malformed> {
    reader.array().map(Digest).ok_or(TRUNCATED)
}

fn telling(reader: &mut Reader<'_>) -> Result<Telling, Malformed> {
    let position = Position(number(reader)?);
    let (digest, root) = (digest(reader)?, digest(reader)?);
    let length = number(reader)?;
    if chunks_in(length).is_none() {
        return Err(malformed("no snapshot is that long"));
    }
    Ok(Telling { position, digest, root, length })
}

fn wanted(reader: &mut Reader<'_>) -> Result<Vec<Wanted>, Malformed> {
    let count = usize::from(reader.u8().ok_or(TRUNCATED)?);
    if count == 0 || count > FETCH_MAX {
        return Err(malformed("too many chunks at once, or none"));
    }
    let one = |_| Ok(Wanted { index: reader.u32().ok_or(TRUNCATED)?, have: digest(reader)? });
    (0..count).map(one).collect()
}

fn chunk(reader: &mut Reader<'_>, payload: &Bytes) -> Result<TransferMessage, Malformed> {
    let root = digest(reader)?;
    let index = reader.u32().ok_or(TRUNCATED)?;
    let steps = usize::from(reader.u8().ok_or(TRUNCATED)?);
    if steps > PATH_MAX {
        return Err(malformed("a path that is too long"));
    }
    let path = (0..steps).map(|_| digest(reader)).collect::<Result<_, _>>()?;
    let data = payload.slice(reader.position()..);
    if data.len() > CHUNK_BYTES {
        return Err(malformed("a chunk that is too long"));
    }
    Ok(TransferMessage::Chunk { root, index, path, data })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn digests() -> impl Strategy<Value = Digest> {
        any::<[u8; 32]>().prop_map(Digest)
    }

    fn messages() -> impl Strategy<Value = TransferMessage> {
        let telling = (any::<u64>(), digests(), digests(), 1..1u64 << 40).prop_map(
            |(position, digest, root, length)| Telling { position: Position(position), digest, root, length },
        );
        let wanted = (any::<u32>(), digests()).prop_map(|(index, have)| Wanted { index, have });
        let path = prop::collection::vec(digests(), 0..=PATH_MAX);
        let data = prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
        prop_oneof![
            any::<(u64, u64)>().prop_map(|(id, c)| TransferMessage::Ask { id, round: Round(c) }),
            any::<(u64, u64, bool)>().prop_map(|(id, position, writing)| TransferMessage::Standing {
                id,
                position: Position(position),
                writing
            }),
            (any::<u64>(), telling).prop_map(|(id, telling)| TransferMessage::Tell { id, telling }),
            (digests(), prop::collection::vec(wanted, 1..=FETCH_MAX))
                .prop_map(|(root, wanted)| TransferMessage::Fetch { root, wanted }),
            (digests(), any::<u32>(), path, data)
                .prop_map(|(root, index, path, data)| TransferMessage::Chunk { root, index, path, data }),
            digests().prop_map(|root| TransferMessage::Gone { root }),
            any::<u64>().prop_map(|id| TransferMessage::Close { id }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back(message in messages()) {
            let bytes = message.encode();
            prop_assert!(bytes.len() <= MESSAGE_MAX);
            prop_assert_eq!(TransferMessage::decode(&bytes), Ok(message));
        }

        /// Cut, changed or lengthened: refused, or the same bytes when encoded again.
        #[test]
        fn what_is_accepted_encodes_to_the_same_bytes(
            message in messages(), cut in any::<prop::sample::Index>(), flip in any::<(prop::sample::Index, u8)>(),
            more in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let whole = message.encode();
            let mut changed = whole.to_vec();
            changed[flip.0.index(whole.len())] ^= flip.1;
            changed.extend(more);
            for bytes in [whole.slice(..cut.index(whole.len())), changed.into()] {
                if let Ok(message) = TransferMessage::decode(&bytes) {
                    prop_assert_eq!(message.encode(), bytes);
                }
            }
        }

        #[test]
        fn noise_is_refused_or_reencodes(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..9) {
            let bytes = Bytes::from([&[kind], &bytes[..]].concat());
            if let Ok(message) = TransferMessage::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }
    }

    #[test]
    fn limits_are_checked_before_anything_is_allocated() {
        let refused = |bytes: Vec<u8>| TransferMessage::decode(&bytes.into()).unwrap_err().what;
        let root = [7; 32];
        assert_eq!(refused(vec![]), "truncated");
        assert_eq!(
            refused([&[TransferMessage::FETCH], &root[..], &[0]].concat()),
            "too many chunks at once, or none"
        );
        assert_eq!(
            refused([&[TransferMessage::FETCH], &root[..], &[255]].concat()),
            "too many chunks at once, or none"
        );
        let chunk = |steps: u8, rest: usize| {
            [&[TransferMessage::CHUNK], &root[..], &[0; 4], &[steps], &vec![0; rest][..]].concat()
        };
        assert_eq!(refused(chunk(33, 33 * 32)), "a path that is too long");
        assert_eq!(refused(chunk(0, CHUNK_BYTES + 1)), "a chunk that is too long");
        let mut long = [&[TransferMessage::TELL], &[0; 16][..], &[0; 64], &[255; 8]].concat();
        assert_eq!(refused(long.clone()), "no snapshot is that long");
        long.truncate(long.len() - 8);
        assert_eq!(refused([&long[..], &[0; 8]].concat()), "no snapshot is that long", "none is empty");
    }
}
