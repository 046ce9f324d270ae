//! Tags in place of signatures.

use std::sync::Arc;
use std::time::Duration;

use hypostyle_app_api::{ClientId, Digest, Instant, ReplicaId};
use hypostyle_crypto::{
    Claim, Class, Desk, Finished, MacKey, Pool, Proof, Session, Sessions, Signed, Signer, Suite, TAG_LEN,
    Tag, Verdict,
};
use zeroize::Zeroizing;

use crate::cluster::{identity, keyring, replica};

const CONTENT: Digest = Digest([3; 32]);
const CLIENT: ClientId = ClientId(1);

fn session(byte: u8) -> Session {
    let key = |byte| MacKey::new(Zeroizing::new([byte; 32]));
    Session { requests: key(byte), replies: key(byte + 100) }
}

/// Claims of one client, each proved by tags.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tagged(Vec<Vec<u8>>);

impl Signed for Tagged {
    fn claims(&self) -> usize {
        self.0.len()
    }

    fn claim(&self, index: usize) -> Claim<'_> {
        let proof = Proof::Tags(&self.0[index]);
        Claim { tag: Tag::Request, signer: Signer::Client(CLIENT), content: CONTENT, proof, remember: true }
    }
}

/// Tags of a request for four replicas, that for replica 2 under `session`.
fn tags(session: &Session) -> Vec<u8> {
    let mut tags = vec![0; 4 * TAG_LEN];
    tags[2 * TAG_LEN..3 * TAG_LEN].copy_from_slice(&session.requests.tag(&CONTENT));
    tags
}

#[test]
fn a_replica_takes_its_own_tag_of_the_latest_session_and_for_some_time_of_the_one_before() {
    let second = Duration::from_secs(1);
    let (start, message) = (Instant(0), Tagged(vec![tags(&session(1))]));
    let mut sessions = Sessions::new(ReplicaId(2), 2, second);
    let holds = |sessions: &Sessions, now| sessions.hold(now, &message.claim(0));
    assert!(!holds(&sessions, start));
    sessions.connected(start, CLIENT, session(1));
    assert!(holds(&sessions, start));
    let mut elsewhere = Sessions::new(ReplicaId(1), 2, second);
    elsewhere.connected(start, CLIENT, session(1));
    assert!(!holds(&elsewhere, start), "the tag for another replica");
    let claim = Claim { content: Digest::ZERO, ..message.claim(0) };
    assert!(!sessions.hold(start, &claim));
    assert!(!sessions.hold(start, &Claim { signer: Signer::Client(ClientId(0)), ..message.claim(0) }));
    assert!(!sessions.hold(start, &Claim { proof: Proof::Tags(&[0; 40]), ..message.claim(0) }), "cut short");
    sessions.connected(start + second, CLIENT, session(2));
    assert!(holds(&sessions, start + second) && !holds(&sessions, start + 2 * second));
    sessions.connected(start + second, CLIENT, session(3));
    assert!(!holds(&sessions, start + second), "two sessions ago");
    sessions.connected(start, ClientId(7), session(4));
    assert!(sessions.of(ClientId(7)).is_none(), "nobody is registered under this id");
}

#[test]
fn a_message_with_a_bad_tag_is_neither_verified_nor_refused_and_nothing_is_remembered() {
    let mut sessions = Sessions::new(ReplicaId(2), 2, Duration::ZERO);
    sessions.connected(Instant(0), CLIENT, session(1));
    for threads in [0, 1] {
        let pool =
            Pool::new(threads, keyring(Suite::Ed25519), Arc::new(identity(Suite::Ed25519, replica(0))));
        let mut desk: Desk<Tagged, ()> = pool.desk(Arc::new(|| ()));
        let (good, bad) = (tags(&session(1)), tags(&session(2)));
        for _ in 0..2 {
            let message = Tagged(vec![good.clone(), bad.clone(), good.clone(), bad.clone()]);
            assert!(
                desk.verify_with(0, Class::Client, message.clone(), (), |c| sessions.hold(Instant(0), c))
            );
            let Some(Finished::Verified { verdict: Verdict::Unsure(unsure), .. }) = desk.finished() else {
                panic!("not unsure")
            };
            assert_eq!(unsure.into_parts(), (message, vec![1, 3]));
        }
        let message = Tagged(vec![good.clone()]);
        assert!(desk.verify_with(0, Class::Client, message.clone(), (), |c| sessions.hold(Instant(0), c)));
        assert!(matches!(desk.finished(), Some(Finished::Verified { verdict: Verdict::Verified(_), .. })));
        assert!(desk.verify(0, Class::Client, message.clone(), ()), "where tags prove nothing");
        assert!(matches!(desk.finished(), Some(Finished::Verified { verdict: Verdict::Unsure(_), .. })));
        assert!(keyring(Suite::Ed25519).verify(message).is_err(), "a tag is no signature");
        assert_eq!(desk.counters(), (0, 0, 0));
    }
}

#[test]
fn a_reply_holds_by_the_key_of_its_direction() {
    let reply = |key: &MacKey| Tagged(vec![key.tag(&CONTENT).to_vec()]);
    let session = session(1);
    assert!(session.verify_reply(reply(&session.replies)).is_ok());
    assert!(session.verify_reply(reply(&session.requests)).is_err());
    let twice = Tagged(vec![session.replies.tag(&CONTENT).to_vec(); 2]);
    assert!(session.verify_reply(twice).is_err(), "only the first was looked at");
    assert_eq!(format!("{session:?}"), "Session");
}
