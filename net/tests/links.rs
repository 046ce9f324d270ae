//! Links come up, carry frames, go down and come back.

#![allow(clippy::unwrap_used)]

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{FRAME_MAX, Keys, Node, World, client, loopback, replica};
use hypostyle_app_api::PillarId;
use hypostyle_net::{Event, Refusal, Role, TicketKey};

/// A replica 0 that listens for clients, and client 0 that dials it for pillar 0, both up.
fn with_client(keys: &Keys) -> World {
    let nodes = vec![Node::new(keys.settings(replica(0))), Node::new(keys.settings(client(0)))];
    let mut world = World::new(nodes);
    let address = world.nodes[0].transport.listen(loopback(), Role::Client).unwrap();
    world.nodes[1].transport.dial(replica(0), PillarId(0), address);
    world.until("both up", |w| w.nodes.iter().all(|node| node.up.len() == 1));
    world
}

/// Frames of all sizes, some shared: all arrive whole and in order, both ways.
fn exchange(mut world: World) {
    let mut expected = Vec::new();
    for size in [1, 2, 100, 511, 512, 513, 4095, 5000, 70_000, 300_000, FRAME_MAX] {
        for side in 0..2 {
            let node = &mut world.nodes[side];
            let id = *node.up.keys().next().unwrap();
            let body: Bytes = (0..size).map(|i| u8::try_from(i % 253).unwrap()).collect();
            let (head, tail) = (body.slice(..size / 5000), body.slice(size / 5000..));
            assert!(node.transport.send(id, &[&head, &tail]));
            world.until("written", |w| w.nodes[side].transport.buffered(id) == 0);
            assert!(world.nodes[side].transport.send_shared(id, &head, &tail));
            expected.extend([body.clone(), body]);
            world.until("arrived", |w| w.nodes[1 - side].frames.len() == 2);
            let arrived = world.nodes[1 - side].frames.drain(..).map(|(_, bytes)| bytes);
            assert_eq!(arrived.collect::<Vec<_>>(), std::mem::take(&mut expected));
        }
    }
}

#[test]
fn frames_of_all_sizes_between_replicas() {
    exchange(World::pair(&Keys::new()).0);
}

#[test]
fn frames_of_all_sizes_with_a_client() {
    exchange(with_client(&Keys::new()));
}

#[test]
fn many_small_frames_leave_with_one_write_and_arrive_with_few_reads() {
    let (mut world, _) = World::pair(&Keys::new());
    let id = world.nodes[1].link(replica(0), 0);
    let before = world.nodes[1].transport.counters().clone();
    for n in 0u32..1000 {
        assert!(world.nodes[1].transport.send(id, &[&n.to_le_bytes()]));
    }
    world.nodes[1].transport.flush();
    let after = world.nodes[1].transport.counters();
    assert_eq!(after.writes - before.writes, 1);
    assert_eq!(after.frames_out - before.frames_out, 1000);
    world.until("all arrived", |w| w.nodes[0].frames.len() == 1000);
    let numbers =
        world.nodes[0].frames.iter().map(|(_, bytes)| u32::from_le_bytes(bytes[..].try_into().unwrap()));
    assert!(numbers.eq(0..1000));
}

#[test]
fn a_read_keeps_its_budget_and_is_announced_again() {
    let (mut world, _) = World::pair(&Keys::new());
    world.nodes[0].budget = 1000;
    let id = world.nodes[1].link(replica(0), 0);
    for _ in 0..50 {
        assert!(world.nodes[1].transport.send(id, &[&[1; 300]]));
    }
    world.nodes[1].transport.flush();
    let mut most = 0;
    let mut seen = 0;
    world.until("all arrived", |w| {
        most = most.max(w.nodes[0].frames.len() - seen);
        seen = w.nodes[0].frames.len();
        seen == 50
    });
    assert!(most <= 4, "{most} frames of 320 bytes in one read of 1000");
}

#[test]
fn the_first_link_signs_and_the_others_resume() {
    let keys = Keys::new();
    let (mut world, address) = World::pair(&keys);
    for pillar in 1..4 {
        world.nodes[1].transport.dial(replica(0), PillarId(pillar), address);
    }
    world.until("all up", |w| w.nodes.iter().all(|node| node.up.len() == 4));
    for node in &world.nodes {
        let counters = node.transport.counters();
        assert_eq!((counters.handshakes_signed, counters.handshakes_resumed), (1, 3));
    }
}

#[test]
fn dialling_all_pillars_at_once_signs_once() {
    let keys = Keys::new();
    let nodes = vec![Node::new(keys.settings(replica(0))), Node::new(keys.settings(client(0)))];
    let mut world = World::new(nodes);
    let address = world.nodes[0].transport.listen(loopback(), Role::Client).unwrap();
    for pillar in 0..4 {
        world.nodes[1].transport.dial(replica(0), PillarId(pillar), address);
    }
    world.until("all up", |w| w.nodes.iter().all(|node| node.up.len() == 4));
    assert_eq!(world.nodes[0].transport.counters().handshakes_signed, 1);
}

#[test]
fn many_clients_share_a_transport() {
    let keys = Keys::new();
    let mut world =
        World::new(vec![Node::new(keys.settings(replica(0))), Node::new(keys.settings(client(0)))]);
    let address = world.nodes[0].transport.listen(loopback(), Role::Client).unwrap();
    for id in 0..4 {
        world.nodes[1].transport.dial_as(keys.identity(client(id)), replica(0), PillarId(0), address);
    }
    world.until("all up", |w| w.nodes.iter().all(|node| node.up.len() == 4));
    let generator = &world.nodes[1];
    let locals: std::collections::BTreeSet<_> =
        generator.up.keys().map(|id| generator.transport.local(*id).unwrap()).collect();
    assert_eq!(locals, (0..4).map(client).collect());
    world.nodes[1].transport.hang_up_as(client(2), replica(0), PillarId(0));
    world.until("one less", |w| w.nodes[0].up.len() == 3);
    assert!(!world.nodes[0].has_link(client(2), 0));
}

#[test]
fn a_peer_that_comes_back_is_found_within_about_a_second() {
    let keys = Keys::new();
    let (mut world, address) = World::pair(&keys);
    drop(std::mem::replace(&mut world.nodes[0], Node::new(keys.settings(replica(2)))));
    world.until("down", |w| w.nodes[1].up.is_empty() && w.nodes[1].downs.len() == 1);
    let mut tries = 0;
    world.until("refused a few times", |w| {
        tries = w.nodes[1].refused.len();
        tries >= 4
    });
    assert!(world.nodes[1].was_refused("can't connect"));
    world.nodes[0] = Node::new(keys.settings(replica(0)));
    world.nodes[0].transport.listen(address, Role::Replica).unwrap();
    let back = std::time::Instant::now();
    world.until("up again", |w| w.nodes.iter().all(|node| node.up.len() == 1));
    assert!(back.elapsed() < Duration::from_millis(1500), "{:?}", back.elapsed());
    // The peer's process has another ticket key now: signed again, without a failure in between.
    assert_eq!(world.nodes[1].transport.counters().handshakes_signed, 2);
}

#[test]
fn hanging_up_ends_a_link_for_good() {
    let (mut world, _) = World::pair(&Keys::new());
    world.nodes[1].transport.hang_up(replica(0), PillarId(0));
    world.until("down", |w| w.nodes.iter().all(|node| node.up.is_empty()));
    for _ in 0..5 {
        world.skip(Duration::from_secs(1));
    }
    assert!(world.nodes.iter().all(|node| node.up.is_empty() && node.ups == 1));
    assert_eq!(world.nodes[1].downs, ["hung up"]);
}

#[test]
fn a_refused_frame_closes_the_link_and_is_counted() {
    let (mut world, _) = World::pair(&Keys::new());
    world.nodes[0].dislikes = Some(Bytes::from_static(b"bad"));
    let id = world.nodes[1].link(replica(0), 0);
    world.nodes[1].transport.send(id, &[b"good"]);
    world.nodes[1].transport.send(id, &[b"bad"]);
    world.nodes[1].transport.send(id, &[b"never seen"]);
    world.until("down", |w| w.nodes[0].downs.len() == 1);
    assert_eq!(world.nodes[0].downs, ["not to my taste"]);
    assert_eq!(world.nodes[0].frames.len(), 1);
    assert_eq!(world.nodes[0].transport.counters().refused(Refusal::Frame), 1);
    world.until("and dialled again", |w| w.nodes.iter().all(|node| node.ups == 2 && node.up.len() == 1));
}

#[test]
fn connections_leave_from_the_source_address() {
    let keys = Keys::new();
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
    let mut settings = keys.settings(replica(1));
    settings.source = Some(source);
    let mut world = World::new(vec![Node::new(keys.settings(replica(0))), Node::new(settings)]);
    let address = world.nodes[0].transport.listen(loopback(), Role::Replica).unwrap();
    world.nodes[1].transport.dial(replica(0), PillarId(0), address);
    world.until("up", |w| w.nodes.iter().all(|node| node.up.len() == 1));
    let id = world.nodes[0].link(replica(1), 0);
    assert_eq!(world.nodes[0].transport.address(id).unwrap().ip(), source);
}

#[test]
fn a_connection_for_another_worker_is_handed_over() {
    let keys = Keys::new();
    let tickets = Arc::new(TicketKey::generate());
    let worker = |pillars: [u16; 2]| {
        let mut settings = keys.settings(replica(0));
        settings.tickets = Arc::clone(&tickets);
        let mut node = Node::new(settings);
        node.transport.serves(&pillars.map(PillarId));
        node
    };
    let mut world = World::new(vec![worker([0, 2]), worker([1, 3]), Node::new(keys.settings(client(0)))]);
    let address = world.nodes[0].transport.listen(loopback(), Role::Client).unwrap();
    for pillar in 0..4 {
        world.nodes[2].transport.dial(replica(0), PillarId(pillar), address);
    }
    world.until("all up", |w| {
        for arrival in std::mem::take(&mut w.nodes[0].arrived) {
            assert_eq!((arrival.peer(), arrival.pillar().0 % 2), (client(0), 1));
            w.nodes[1].transport.adopt(arrival);
        }
        w.nodes[2].up.len() == 4
    });
    world.until("served by both", |w| w.nodes[0].up.len() == 2 && w.nodes[1].up.len() == 2);
    assert!(world.nodes[1].has_link(client(0), 1) && world.nodes[1].has_link(client(0), 3));
    let id = world.nodes[2].link(replica(0), 3);
    world.nodes[2].transport.send(id, &[b"to the second worker"]);
    world.until("arrived", |w| w.nodes[1].frames.len() == 1);
    let signed: u64 = world.nodes[..2].iter().map(|n| n.transport.counters().handshakes_signed).sum();
    assert_eq!(signed, 1, "the workers share the ticket key");
}

#[test]
fn an_idle_link_beats_once_a_second_and_stays() {
    let (mut world, _) = World::pair(&Keys::new());
    for _ in 0..30 {
        world.skip(Duration::from_millis(500));
        world.turn();
    }
    assert_eq!(world.nodes[0].ups, 1, "{:?}", world.nodes[0].downs);
    for node in &world.nodes {
        let beats = node.transport.counters().heartbeats;
        assert!((10..=20).contains(&beats), "{beats} heartbeats in 15 s");
        assert!(node.frames.is_empty());
    }
}

#[test]
fn who_spoke_while_we_were_away_is_not_silent() {
    let (mut world, _) = World::pair(&Keys::new());
    let now = world.now() + Duration::from_secs(2);
    world.nodes[1].turn(now);
    assert_eq!(world.nodes[1].transport.counters().heartbeats, 1);
    // One long turn: the heartbeat lies in the socket, and only its end is seen.
    world.skip(Duration::from_secs(60));
    world.turn();
    assert!(world.nodes[0].downs.is_empty(), "{:?}", world.nodes[0].downs);
}

#[test]
fn who_answered_while_we_were_away_is_not_late() {
    let keys = Keys::new();
    let nodes = vec![Node::new(keys.settings(replica(0))), Node::new(keys.settings(replica(1)))];
    let mut world = World::new(nodes);
    let address = world.nodes[0].transport.listen(loopback(), Role::Replica).unwrap();
    world.nodes[1].transport.dial(replica(0), PillarId(0), address);
    // The handshake is over on one side; its last message is on its way to the other.
    let now = world.now();
    while world.nodes[0].up.is_empty() {
        world.nodes[1].turn(now);
        world.nodes[0].turn(now);
    }
    world.nodes[1].turn(now + Duration::from_secs(60));
    assert_eq!(
        (world.nodes[1].up.len(), world.nodes[1].refused.len()),
        (1, 0),
        "{:?}",
        world.nodes[1].refused
    );
}

#[test]
fn a_waiting_poll_is_woken_from_another_thread() {
    let mut node = Node::new(Keys::new().settings(replica(0)));
    let waker = node.transport.wake_handle();
    let thread = std::thread::spawn(move || waker.wake());
    let before = std::time::Instant::now();
    node.transport.poll(hypostyle_app_api::Instant(1), Some(Duration::from_secs(30))).unwrap();
    thread.join().unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_secs(20));
    assert!(node.transport.event().is_none());
}

#[test]
fn a_poll_with_events_in_the_queue_does_not_wait() {
    let keys = Keys::new();
    let (mut world, _) = World::pair(&keys);
    let id = world.nodes[0].link(replica(1), 0);
    world.nodes[0].transport.close(id, "for the test");
    let before = std::time::Instant::now();
    let now = world.now();
    world.nodes[0].transport.poll(now, Some(Duration::from_secs(30))).unwrap();
    assert!(before.elapsed() < Duration::from_secs(10));
    assert!(matches!(world.nodes[0].transport.event(), Some(Event::Down { .. })));
}

#[test]
fn a_port_in_use_is_named() {
    let keys = Keys::new();
    let (mut world, address) = World::pair(&keys);
    let error = world.nodes[1].transport.listen(address, Role::Client).unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
