use std::fmt;

use hypostyle_app_api::{ClientId, Digest, ReplicaId};

/// Length of every signed byte string.
pub const SIGNED_LEN: usize = 16 + 32 + 1 + 4 + 32;

/// What kind of thing is signed: a signature of one kind serves for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// A client's request.
    Request,
    /// A replica's [`Seal`](crate::Seal) over bundles and replies.
    Seal,
    /// The transcript of a connection's handshake.
    Handshake,
    /// A replica's wish to recover without its log.
    Recover,
}

impl Tag {
    const fn bytes(self) -> [u8; 16] {
        match self {
            Self::Request => *b"hypo/request\0\0\0\0",
            Self::Seal => *b"hypo/seal\0\0\0\0\0\0\0",
            Self::Handshake => *b"hypo/handshake\0\0",
            Self::Recover => *b"hypo/recover\0\0\0\0",
        }
    }
}

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signer {
    /// A replica of the configuration.
    Replica(ReplicaId),
    /// A client of the configuration.
    Client(ClientId),
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(id) => write!(f, "replica {id}"),
            Self::Client(id) => write!(f, "client {id}"),
        }
    }
}

/// What all signatures of one cluster have in common, so that they serve in no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The hash of the cluster configuration.
    pub configuration: Digest,
}

impl Domain {
    /// The byte string that is signed: tag ‖ configuration ‖ kind of signer ‖ its id (little endian) ‖ content.
    /// All fields have a fixed length, so it is injective.
    #[must_use]
    pub fn message(&self, tag: Tag, signer: Signer, content: &Digest) -> [u8; SIGNED_LEN] {
        let (kind, id) = match signer {
            Signer::Replica(id) => (0, u32::from(id.0)),
            Signer::Client(id) => (1, id.0),
        };
        let mut message = [0; SIGNED_LEN];
        message[..16].copy_from_slice(&tag.bytes());
        message[16..48].copy_from_slice(&self.configuration.0);
        message[48] = kind;
        message[49..53].copy_from_slice(&id.to_le_bytes());
        message[53..].copy_from_slice(&content.0);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_of_tag_signer_content_and_configuration_share_bytes() {
        let mut seen = BTreeSet::new();
        let signers =
            [0, 1, 256].map(|id| [Signer::Replica(ReplicaId(id)), Signer::Client(ClientId(id.into()))]);
        for configuration in [Digest::ZERO, Digest([1; 32])] {
            for tag in [Tag::Request, Tag::Seal, Tag::Handshake, Tag::Recover] {
                for signer in signers.into_iter().flatten() {
                    for content in [Digest::ZERO, Digest([1; 32])] {
                        assert!(seen.insert(Domain { configuration }.message(tag, signer, &content)));
                    }
                }
            }
        }
        assert_eq!(seen.len(), 2 * 4 * 6 * 2);
    }
}
