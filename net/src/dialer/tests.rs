#![allow(clippy::unwrap_used)]

use super::*;
use crate::peer::Role;
use hypostyle_app_api::{ClientId, Digest};
use hypostyle_crypto::{Domain, Signer, SigningKey, Suite};

const START: Instant = Instant(1_000_000_000);

fn identity() -> Arc<Identity> {
    let signer = Signer::Client(ClientId(0));
    let domain = Domain { configuration: Digest::ZERO };
    Arc::new(Identity::new(signer, SigningKey::generate(Suite::Ed25519), domain))
}

fn key(me: u32, peer: u32, pillar: u16) -> DialKey {
    let me = Peer { role: Role::Client, id: me };
    DialKey { me, peer: Peer { role: Role::Replica, id: peer }, pillar: PillarId(pillar) }
}

fn dialer(keys: &[DialKey]) -> Dialer {
    let (mut dialer, identity) = (Dialer::default(), identity());
    for key in keys {
        dialer.add(*key, Arc::clone(&identity), "127.0.0.1:1".parse().unwrap(), START);
    }
    dialer
}

fn connection(serial: u64) -> ConnectionId {
    ConnectionId { serial, index: 0 }
}

/// Starts what is due; `tickets` tells whether there are any.
fn start(dialer: &mut Dialer, now: Instant, tickets: bool) -> Vec<DialKey> {
    let mut started = Vec::new();
    while let Some(start) = dialer.next(now, |_| tickets) {
        dialer.started(start.key, connection(u64::from(start.key.pillar.0)));
        started.push(start.key);
    }
    started
}

#[test]
fn pauses_double_up_to_a_second_and_differ() {
    let key = key(0, 0, 0);
    for failures in 0..40 {
        let full = PAUSE_MIN.saturating_mul(1 << failures.min(20)).min(PAUSE_MAX);
        let pause = pause(key, failures);
        assert!(pause <= full && pause >= full * 3 / 4, "{failures}: {pause:?}");
    }
    let distinct: BTreeSet<_> = (0..50).map(|id| pause(self::key(id, 1, 0), 9)).collect();
    assert!(distinct.len() > 30, "{}", distinct.len());
}

#[test]
fn a_failure_is_followed_by_a_pause_and_another_try() {
    let (key, mut now) = (key(0, 0, 0), START);
    let mut dialer = dialer(&[key]);
    for _ in 0..12 {
        assert_eq!(start(&mut dialer, now, true), [key]);
        assert_eq!(start(&mut dialer, now, true), []);
        dialer.failed(key, Some(connection(0)), now);
        let again = dialer.next_deadline().unwrap();
        assert!(again > now && again.since(now) <= PAUSE_MAX);
        now = again;
    }
}

#[test]
fn without_a_ticket_the_first_link_to_a_peer_goes_alone() {
    let keys = [key(0, 0, 0), key(0, 0, 1), key(0, 0, 2), key(0, 1, 0), key(5, 0, 0)];
    let mut dialer = dialer(&keys);
    // Another peer and another client of ours have tickets of their own to get.
    assert_eq!(start(&mut dialer, START, false), [keys[0], keys[3], keys[4]]);
    dialer.up(keys[0], connection(0), START);
    assert_eq!(start(&mut dialer, START, true), [keys[1], keys[2]]);
}

#[test]
fn a_first_link_that_fails_lets_the_next_try() {
    let keys = [key(0, 0, 0), key(0, 0, 1)];
    let mut dialer = dialer(&keys);
    assert_eq!(start(&mut dialer, START, false), [keys[0]]);
    dialer.failed(keys[0], Some(connection(0)), START);
    assert_eq!(start(&mut dialer, START, false), [keys[1]]);
}

#[test]
fn few_connections_to_one_peer_are_under_way_at_once_and_all_get_their_turn() {
    let keys: Vec<_> = (0..100).map(|id| key(id, 0, 0)).collect();
    let mut dialer = dialer(&keys);
    let mut done = 0;
    while done < keys.len() {
        let started = start(&mut dialer, START, false);
        assert!(!started.is_empty() && started.len() <= LANE_MAX);
        for key in started {
            dialer.up(key, connection(0), START);
            done += 1;
        }
    }
    assert_eq!(dialer.next_deadline(), None);
}

#[test]
fn a_link_that_lived_starts_over_with_a_short_pause_a_flapping_one_does_not() {
    let key = key(0, 0, 0);
    let mut dialer = dialer(&[key]);
    let mut now = START;
    for failures in 1..10 {
        start(&mut dialer, now, true);
        dialer.up(key, connection(0), now);
        dialer.down(key, connection(0), now);
        now = dialer.next_deadline().unwrap();
        assert_eq!(dialer.dials[&key].failures, failures);
    }
    start(&mut dialer, now, true);
    dialer.up(key, connection(0), now);
    dialer.down(key, connection(0), now + LIVED);
    assert!(dialer.next_deadline().unwrap().since(now + LIVED) <= PAUSE_MIN);
}

#[test]
fn a_link_that_the_other_side_made_serves_as_well() {
    let key = key(0, 0, 0);
    let mut dialer = dialer(&[key]);
    dialer.up(key, connection(7), START);
    assert_eq!(start(&mut dialer, START, true), []);
    dialer.down(key, connection(6), START);
    assert_eq!(dialer.next_deadline(), None, "an older connection's end changes nothing");
    dialer.down(key, connection(7), START);
    assert!(dialer.next_deadline().is_some());
}

#[test]
fn what_is_removed_is_never_dialled_again() {
    let keys = [key(0, 0, 0), key(0, 0, 1), key(0, 0, 2)];
    let mut dialer = dialer(&keys);
    start(&mut dialer, START, false);
    assert_eq!(dialer.remove(keys[1], START), None, "parked");
    assert_eq!(dialer.remove(keys[0], START), Some(connection(0)), "under way");
    assert_eq!(start(&mut dialer, START, false), [keys[2]]);
    dialer.up(keys[2], connection(2), START);
    assert_eq!(dialer.remove(keys[2], START), Some(connection(2)), "up");
    dialer.down(keys[2], connection(2), START);
    assert_eq!(dialer.next_deadline(), None);
}
