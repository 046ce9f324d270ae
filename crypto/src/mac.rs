use std::time::Duration;

use hypostyle_app_api::{ClientId, Digest, Instant, ReplicaId};
use zeroize::Zeroizing;

use crate::domain::Signer;
use crate::verified::{Claim, Proof, Refused, Signed, Verified};

/// Bytes of a tag.
pub const TAG_LEN: usize = 16;

/// The key of one direction of a client's connection to a replica for a pillar: BLAKE3 keyed, cut to [`TAG_LEN`]. It needs
/// no nonce, so a retransmission gives nothing away.
#[derive(Clone)]
pub struct MacKey(Zeroizing<[u8; 32]>);

/// Both keys of such a connection.
#[derive(Clone)]
pub struct Session {
    /// From the client.
    pub requests: MacKey,
    /// To the client.
    pub replies: MacKey,
}

impl MacKey {
    /// The key made of these bytes.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The tag of `content`.
    #[must_use]
    pub fn tag(&self, content: &Digest) -> [u8; TAG_LEN] {
        let hash = blake3::keyed_hash(&self.0, &content.0);
        *hash.as_bytes().first_chunk().expect("a hash is longer than a tag")
    }

    fn holds(&self, content: &Digest, tag: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.tag(content), tag).is_ok()
    }
}

impl Session {
    /// Checks a replica's reply, which has one claim: its tag.
    ///
    /// # Errors
    /// The message, when its claim doesn't hold.
    pub fn verify_reply<T: Signed>(&self, message: T) -> Result<Verified<T>, Refused<T>> {
        let claim = message.claim(0);
        match claim.proof {
            Proof::Tags(tag) if message.claims() == 1 && self.replies.holds(&claim.content, tag) => {
                Ok(Verified::new(message))
            }
            _ => Err(Refused { signer: claim.signer, message }),
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

/// The sessions that clients have with a replica for one pillar: the latest of each client, and for some time the one
/// before it, whose tags may still be under way in bodies.
#[derive(Debug)]
pub struct Sessions {
    /// Of a request's tags, which is for this replica.
    place: usize,
    grace: Duration,
    clients: Vec<Option<Box<Held>>>,
}

#[derive(Debug)]
struct Held {
    latest: Session,
    former: Option<(Session, Instant)>,
}

impl Sessions {
    /// None yet. `grace` is how long a former session's tags are taken.
    #[must_use]
    pub fn new(me: ReplicaId, clients: u32, grace: Duration) -> Self {
        Self { place: me.index(), grace, clients: (0..clients).map(|_| None).collect() }
    }

    /// `client` has connected: its session before this one ends by and by.
    pub fn connected(&mut self, now: Instant, client: ClientId, session: Session) {
        let Some(place) = self.clients.get_mut(client.index()) else { return };
        let former = place.take().map(|held| (held.latest, now + self.grace));
        *place = Some(Box::new(Held { latest: session, former }));
    }

    /// The latest session of `client`.
    #[must_use]
    pub fn of(&self, client: ClientId) -> Option<&Session> {
        Some(&self.clients.get(client.index())?.as_ref()?.latest)
    }

    /// Whether the tag for this replica is the client's, by a session that is in force at `now`.
    #[must_use]
    pub fn hold(&self, now: Instant, claim: &Claim<'_>) -> bool {
        let (Signer::Client(client), Proof::Tags(tags)) = (claim.signer, claim.proof) else { return false };
        let start = self.place * TAG_LEN;
        let held = self.clients.get(client.index()).and_then(Option::as_ref);
        let (Some(held), Some(tag)) = (held, tags.get(start..start + TAG_LEN)) else { return false };
        let former = held.former.as_ref().filter(|(_, until)| now < *until).map(|(session, _)| session);
        let mut sessions = std::iter::once(&held.latest).chain(former);
        sessions.any(|session| session.requests.holds(&claim.content, tag))
    }
}
