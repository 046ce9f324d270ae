use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hypostyle_app_api::{Digest, Instant};
use zeroize::Zeroizing;

use crate::handshake::keys::{Secret, random};
use crate::peer::{Peer, Role};

/// Bytes of a sealed ticket: nonce ‖ sealed (role, id, expiry, secret) ‖ tag.
pub(crate) const TICKET_LEN: usize = NONCE_LEN + CONTENT_LEN + 16;

const CONTENT_LEN: usize = 5 + 8 + 32;

/// The key under which a process seals what it would otherwise have to remember of those that signed to it.
///
/// One a process, shared by its workers, and gone with it: after a restart everybody signs once more.
pub struct TicketKey(LessSafeKey);

/// What a ticket holds.
pub(crate) struct Ticket {
    pub(crate) owner: Peer,
    pub(crate) expires: Instant,
    pub(crate) secret: Secret,
}

impl TicketKey {
    /// A fresh random key.
    #[must_use]
    pub fn generate() -> Self {
        let key = Zeroizing::new(random::<32>());
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("a key of 32 bytes fits AES-256");
        Self(LessSafeKey::new(key))
    }

    pub(crate) fn seal(&self, scope: &Scope, ticket: &Ticket) -> [u8; TICKET_LEN] {
        let nonce = random::<NONCE_LEN>();
        let mut sealed = [0; TICKET_LEN];
        let (head, rest) = sealed.split_at_mut(NONCE_LEN);
        let (content, tail) = rest.split_at_mut(CONTENT_LEN);
        head.copy_from_slice(&nonce);
        content[..5].copy_from_slice(&ticket.owner.bytes());
        content[5..13].copy_from_slice(&ticket.expires.0.to_le_bytes());
        content[13..].copy_from_slice(ticket.secret.as_ref());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(scope.0), content);
        tail.copy_from_slice(tag.expect("a few bytes can be sealed").as_ref());
        sealed
    }

    /// Opens what [`TicketKey::seal`] made under this key, in this scope and whole.
    pub(crate) fn open(&self, scope: &Scope, sealed: &[u8; TICKET_LEN]) -> Option<Ticket> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (content, tag) = rest.split_first_chunk::<CONTENT_LEN>()?;
        let mut content = Zeroizing::new(*content);
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.open_in_place_separate_tag(nonce, Aad::from(scope.0), tag, content.as_mut()).ok()?;
        let (owner, rest) = content.split_first_chunk::<5>()?;
        let (expires, secret) = rest.split_first_chunk::<8>()?;
        let [role, id @ ..] = *owner;
        Some(Ticket {
            owner: Peer { role: Role::from_byte(role)?, id: u32::from_le_bytes(id) },
            expires: Instant(u64::from_le_bytes(*expires)),
            secret: Zeroizing::new(secret.try_into().ok()?),
        })
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey")
    }
}

/// Where a ticket serves: one configuration and one responder.
#[derive(Clone, Copy)]
pub(crate) struct Scope([u8; 53]);

impl Scope {
    pub(crate) fn new(configuration: Digest, responder: Peer) -> Self {
        let mut bytes = *b"hypo/ticket\0\0\0\0\0cccccccccccccccccccccccccccccccc\0\0\0\0\0";
        bytes[16..48].copy_from_slice(&configuration.0);
        bytes[48..].copy_from_slice(&responder.bytes());
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(id: u32) -> Scope {
        Scope::new(Digest([1; 32]), Peer { role: Role::Replica, id })
    }

    fn ticket() -> Ticket {
        Ticket {
            owner: Peer { role: Role::Client, id: 9 },
            expires: Instant(77),
            secret: Zeroizing::new([5; 32]),
        }
    }

    #[test]
    fn a_ticket_opens_under_its_key_and_scope_only() {
        let key = TicketKey::generate();
        let sealed = key.seal(&scope(0), &ticket());
        let opened = key.open(&scope(0), &sealed).expect("own ticket");
        assert_eq!((opened.owner, opened.expires), (ticket().owner, Instant(77)));
        assert_eq!(opened.secret, ticket().secret);
        assert!(key.open(&scope(1), &sealed).is_none());
        assert!(TicketKey::generate().open(&scope(0), &sealed).is_none());
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let key = TicketKey::generate();
        let sealed = key.seal(&scope(0), &ticket());
        for bit in 0..TICKET_LEN * 8 {
            let mut bad = sealed;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&scope(0), &bad).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn two_tickets_of_one_owner_differ() {
        let key = TicketKey::generate();
        assert_ne!(key.seal(&scope(0), &ticket()), key.seal(&scope(0), &ticket()));
    }
}
