//! Somebody on the wire flips a bit.

use hypostyle::client::{Driver, Registration};
use hypostyle::{ClientId, Number};
use hypostyle_tests::poll;
use hypostyle_tests::proxy::Toward;

use super::*;

const LINK_MAC: &str = "connection: link MAC does not verify";
const FORGED: &str = "client 0: bad_signature";

/// Whatever the bit belongs to: body, statement or seal.
#[test]
fn between_replicas_the_link_ends_is_counted_and_comes_back() {
    for toward in [Toward::Target, Toward::Dialler] {
        let watched = Watched::start();
        let cluster = &watched.cluster;
        eventually(cluster, all_linked);
        let client = cluster.client(0).unwrap();
        load(&client, "before", 20);
        let mut executed_so_far = 20;
        for flips in 1..=3 {
            let wire = &watched.peers[0];
            let connections = wire.connections();
            wire.flip(toward, 1, 1);
            load(&client, "during", 100);
            executed_so_far += 100;
            let status = eventually(cluster, |status| {
                status.iter().map(|s| refused(s, LINK_MAC)).sum::<u64>() == flips && all_linked(status)
            });
            // Replica 0 is dialled by the others: it is the target.
            assert_eq!(refused(&status[0], LINK_MAC), if toward == Toward::Target { flips } else { 0 });
            assert!(wire.connections() > connections, "dialled again");
            eventually(cluster, executed(executed_so_far));
        }
        assert_eq!(watched.peers[0].flipped(toward), 3);
    }
}

/// The primary gets the request with a wrong bit in its signature, and nothing after that. The client asks all, and the
/// backups pass on what is right.
#[test]
fn from_a_client_the_request_is_refused_and_executed_once_by_another_path() {
    let watched = Watched::start();
    let cluster = &watched.cluster;
    let mut driver = driver(cluster);
    let wire = &watched.clients[0];
    turn_until(&mut driver, |driver, _| driver.connections() == (4, 4));
    for sent in 1..=3 {
        let connections = wire.connections();
        wire.flip(Toward::Target, 1, 1);
        driver.submit(0, &[format!("set k {sent}").as_bytes()]).unwrap();
        turn_until(&mut driver, |_, settled| {
            assert_eq!(settled, 0, "from a request that was altered");
            wire.flipped(Toward::Target) == sent
        });
        wire.hold(Toward::Target, true);
        turn_until(&mut driver, |_, settled| settled == 1);
        wire.hold(Toward::Target, false);
        let status = eventually(cluster, |status| {
            executed(sent)(status) && status[0].refusals.get(FORGED) == Some(&sent)
        });
        assert!(status[1..].iter().all(|s| !s.refusals.contains_key(FORGED)), "{status:?}");
        // The replica ends the connection; the next request is to be altered, not the handshake of the next connection.
        turn_until(&mut driver, |driver, _| {
            wire.connections() > connections && driver.connections() == (4, 4)
        });
    }
    let ordered: usize = cluster.order(1).iter().map(|entry| entry.requests.len()).sum();
    assert_eq!(ordered, 3, "each was ordered once");
}

/// Replicas 2 and 3 are slow, so the altered reply of replica 0 would settle it with that of replica 1.
#[test]
fn to_a_client_the_reply_is_refused_and_two_others_settle_it() {
    let watched = Watched::start();
    let cluster = &watched.cluster;
    let mut driver = driver(cluster);
    // Signature, and the root that was signed, counted from the message's end.
    for (number, (from_end, reason)) in
        [(3, "a reply with a wrong signature"), (80, "the seal covers another tree")].into_iter().enumerate()
    {
        turn_until(&mut driver, |driver, _| driver.connections() == (4, 4));
        let answered = driver.counters();
        driver.submit(0, &[b"set a b"]).unwrap();
        turn_until(&mut driver, |driver, settled| {
            let now = driver.counters();
            settled == 1 && now.replies + now.late >= answered.replies + answered.late + 4
        });
        for wire in &watched.clients[2..] {
            wire.hold(Toward::Dialler, true);
        }
        watched.clients[0].flip(Toward::Dialler, 1, from_end);
        driver.submit(0, &[b"get a"]).unwrap();
        turn_until(&mut driver, |driver, settled| {
            assert_eq!(settled, 0, "by a reply that was altered");
            driver.counters().refusals.get(&(0, reason)) == Some(&1)
        });
        for wire in &watched.clients[2..] {
            wire.hold(Toward::Dialler, false);
        }
        turn_until(&mut driver, |_, settled| settled == 1);
        eventually(cluster, executed(2 * (number as u64 + 1)));
    }
    assert_eq!(driver.counters().refusals.values().sum::<u64>(), 2, "nothing else was refused");
}

fn driver(cluster: &LocalCluster) -> Driver {
    let registration = Registration { client: ClientId(0), key: cluster.client_key(0), first: Number(1) };
    Driver::new(cluster.config(), vec![registration]).unwrap()
}

/// Turns the driver until `done`, which is told how many operations were settled meanwhile, all as they should be.
#[track_caller]
fn turn_until(driver: &mut Driver, done: impl Fn(&Driver, usize) -> bool) {
    let mut settled = 0;
    let turned = poll::eventually(PATIENCE, || {
        driver.turn(Some(Duration::ZERO)).unwrap();
        settled += driver.settled().inspect(|s| assert!(s.completion.result.is_ok())).count();
        done(driver, settled).then_some(())
    });
    assert!(turned.is_some(), "not in time: {:?}", driver.counters());
}
