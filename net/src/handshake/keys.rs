//! From an X25519 exchange to keys: HKDF-SHA256 with both fresh nonces as salt and, as info, what the key is for and
//! for whom: label, both identities with their roles, pillar and transcript. Every key serves one direction.

use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use hypostyle_app_api::{Digest, PillarId};
use hypostyle_crypto::{MacKey, Session, sha256};
use zeroize::Zeroizing;

use crate::handshake::messages::{Answer, Hello};
use crate::link_mac::KEY_LEN;
use crate::peer::Peer;

/// A shared secret of 32 bytes.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// Random bytes for nonces and keys.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator works");
    bytes
}

/// Our half of an X25519 exchange.
pub(crate) struct Exchange {
    private: EphemeralPrivateKey,
    pub(crate) share: [u8; 32],
}

impl Exchange {
    pub(crate) fn generate() -> Self {
        let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new());
        let private = private.expect("the system's random generator works");
        let public = private.compute_public_key().expect("an X25519 key has a public one");
        Self { share: *public.as_ref().first_chunk().expect("a share has 32 bytes"), private }
    }

    /// The common secret; none for a share that leaves no secret (a point of small order).
    pub(crate) fn agree(self, share: &[u8; 32]) -> Option<Secret> {
        let theirs = UnparsedPublicKey::new(&X25519, share);
        agree_ephemeral(self.private, theirs, (), |secret| {
            secret.try_into().map(Zeroizing::new).map_err(|_| ())
        })
        .ok()
    }
}

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    FromInitiator,
    FromResponder,
}

/// Both hellos, and what is derived from them.
#[derive(Clone)]
pub(crate) struct Transcript {
    hash: Digest,
    salt: [u8; 64],
    initiator: Peer,
    responder: Peer,
    pillar: PillarId,
}

impl Transcript {
    pub(crate) fn new(hello: &Hello, answer: &Answer) -> Self {
        let mut salt = [0; 64];
        salt[..32].copy_from_slice(&hello.nonce);
        salt[32..].copy_from_slice(&answer.nonce);
        Self {
            hash: sha256(&[b"hypo/transcript", &hello.encode(), &answer.covered()]),
            salt,
            initiator: hello.from,
            responder: answer.from,
            pillar: hello.pillar,
        }
    }

    /// What the initiator signs.
    pub(crate) fn initiators(&self) -> Digest {
        sha256(&[b"hypo/initiator", &self.hash.0])
    }

    /// What the responder signs: the ticket it hands out as well.
    pub(crate) fn responders(&self, ticket: &[u8]) -> Digest {
        sha256(&[b"hypo/responder", &self.hash.0, ticket])
    }

    /// The keys of a connection whose exchange gave `fresh`; of a resumed one, under the ticket's secret too.
    pub(crate) fn keys(&self, fresh: &Secret, resumed: Option<&Secret>) -> Keys {
        let mut material = Zeroizing::new([0; 64]);
        material[..32].copy_from_slice(fresh.as_ref());
        if let Some(resumed) = resumed {
            material[32..].copy_from_slice(resumed.as_ref());
        }
        Keys {
            secret: Salt::new(HKDF_SHA256, &self.salt).extract(material.as_ref()),
            transcript: self.clone(),
        }
    }
}

/// The keys of one connection.
pub(crate) struct Keys {
    secret: Prk,
    transcript: Transcript,
}

impl Keys {
    /// The MAC key of a link's one direction.
    pub(crate) fn link(&self, direction: Direction) -> Zeroizing<[u8; KEY_LEN]> {
        self.derive(match direction {
            Direction::FromInitiator => b"hypo/link/i",
            Direction::FromResponder => b"hypo/link/r",
        })
    }

    /// The MAC keys of what a client and a replica say to each other; clients dial.
    pub(crate) fn session(&self) -> Session {
        Session {
            requests: MacKey::new(self.derive(b"hypo/mac/rq")),
            replies: MacKey::new(self.derive(b"hypo/mac/rp")),
        }
    }

    /// The secret that a ticket stands for.
    pub(crate) fn resumption(&self) -> Secret {
        self.derive(b"hypo/resume")
    }

    /// Proof that one side holds these keys.
    pub(crate) fn confirmation(&self, direction: Direction) -> [u8; 32] {
        let tag = hmac::sign(&self.confirmation_key(direction), &self.transcript.hash.0);
        *tag.as_ref().first_chunk().expect("an HMAC-SHA256 tag has 32 bytes")
    }

    /// Checks the other side's [`Keys::confirmation`].
    pub(crate) fn confirms(&self, direction: Direction, tag: &[u8]) -> bool {
        hmac::verify(&self.confirmation_key(direction), &self.transcript.hash.0, tag).is_ok()
    }

    fn confirmation_key(&self, direction: Direction) -> hmac::Key {
        let key: Secret = self.derive(match direction {
            Direction::FromInitiator => b"hypo/have/i",
            Direction::FromResponder => b"hypo/have/r",
        });
        hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
    }

    fn derive<const N: usize>(&self, label: &[u8; 11]) -> Zeroizing<[u8; N]> {
        let Transcript { hash, initiator, responder, pillar, .. } = &self.transcript;
        let (initiator, responder) = (initiator.bytes(), responder.bytes());
        let info = [label.as_slice(), &initiator, &responder, &pillar.0.to_le_bytes(), &hash.0];
        let mut key = Zeroizing::new([0; N]);
        let okm = self.secret.expand(&info, Length(N)).expect("a short key can be derived");
        okm.fill(key.as_mut()).expect("the length is the one asked for");
        key
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Role;

    fn transcript(change: impl Fn(&mut Hello, &mut Answer)) -> Transcript {
        let mut hello = Hello {
            from: Peer { role: Role::Replica, id: 2 },
            pillar: PillarId(1),
            nonce: [1; 32],
            share: [2; 32],
            configuration: Digest([3; 32]),
            ticket: None,
        };
        let mut answer = Answer {
            from: Peer { role: Role::Replica, id: 1 },
            nonce: [4; 32],
            share: [5; 32],
            configuration: Digest([3; 32]),
            confirmation: None,
        };
        change(&mut hello, &mut answer);
        Transcript::new(&hello, &answer)
    }

    #[test]
    fn both_sides_agree() {
        let (a, b) = (Exchange::generate(), Exchange::generate());
        let (share_a, share_b) = (a.share, b.share);
        assert_eq!(a.agree(&share_b), b.agree(&share_a));
    }

    #[test]
    fn points_of_small_order_are_refused() {
        for share in [[0; 32], std::array::from_fn(|i| u8::from(i == 0))] {
            assert!(Exchange::generate().agree(&share).is_none());
        }
    }

    #[test]
    fn no_two_purposes_pillars_identities_nonces_or_secrets_share_a_key() {
        let (one, two) = (Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
        let transcripts = [
            transcript(|_, _| ()),
            transcript(|hello, _| hello.pillar = PillarId(2)),
            transcript(|hello, _| hello.from.id = 3),
            transcript(|hello, _| hello.from.role = Role::Client),
            transcript(|hello, _| hello.nonce[31] = 0),
            transcript(|_, answer| answer.from.id = 0),
            transcript(|_, answer| answer.nonce[0] = 0),
            transcript(|_, answer| answer.share[0] = 0),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for transcript in &transcripts {
            for (fresh, resumed) in [(&one, None), (&two, None), (&one, Some(&two)), (&two, Some(&one))] {
                let keys = transcript.keys(fresh, resumed);
                assert!(seen.insert(keys.resumption()[..16].to_vec()));
                let Session { requests, replies } = keys.session();
                assert!(seen.insert(requests.tag(&Digest::ZERO).to_vec()));
                assert!(seen.insert(replies.tag(&Digest::ZERO).to_vec()));
                for direction in [Direction::FromInitiator, Direction::FromResponder] {
                    assert!(seen.insert(keys.link(direction).to_vec()));
                    assert!(seen.insert(keys.confirmation(direction)[..16].to_vec()));
                }
            }
        }
        assert_eq!(seen.len(), 8 * 4 * 7);
    }

    #[test]
    fn a_confirmation_serves_for_one_direction() {
        let keys = transcript(|_, _| ()).keys(&Zeroizing::new([1; 32]), None);
        let tag = keys.confirmation(Direction::FromInitiator);
        assert!(keys.confirms(Direction::FromInitiator, &tag));
        assert!(!keys.confirms(Direction::FromResponder, &tag));
        assert!(!keys.confirms(Direction::FromInitiator, &tag[..31]));
    }
}
