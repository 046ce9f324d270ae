//! A peer that doesn't read costs its own frames and nobody else's.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{FRAME_MAX, Keys, Node, WRITE_MAX, World, client, loopback, replica};
use hypostyle_app_api::PillarId;
use hypostyle_net::Role;

/// Replica 0 with links to replicas 1 and 2.
fn three(keys: &Keys) -> World {
    let (mut world, address) = World::pair(keys);
    world.nodes.push(Node::new(keys.settings(replica(2))));
    world.nodes[2].transport.dial(replica(0), PillarId(0), address);
    world.until("all up", |w| w.nodes[0].up.len() == 2 && w.nodes[2].up.len() == 1);
    world
}

#[test]
fn a_peer_that_does_not_read_is_bounded_and_delays_nobody() {
    let mut world = three(&Keys::new());
    let (deaf, keen) = (world.nodes[0].link(replica(1), 0), world.nodes[0].link(replica(2), 0));
    world.nodes[1].reads = false;
    let mut accepted = 0u32;
    let mut dropped = 0u64;
    for n in 0u32..1000 {
        let number = n.to_le_bytes();
        let body = Bytes::from(vec![7; 20_000]);
        let transport = &mut world.nodes[0].transport;
        // Frames to the deaf peer carry the count of those accepted before.
        let taken = match n % 2 {
            0 => transport.send(deaf, &[&accepted.to_le_bytes(), &body]),
            _ => transport.send_shared(deaf, &accepted.to_le_bytes(), &body),
        };
        accepted += u32::from(taken);
        dropped += u64::from(!taken);
        assert!(transport.send(keen, &[&number]));
        assert!(transport.buffered(deaf) <= WRITE_MAX);
        world.turn();
    }
    assert!(dropped > 100, "{dropped}");
    assert_eq!(world.nodes[0].transport.counters().frames_dropped, dropped);
    world.until("the others got everything", |w| w.nodes[2].frames.len() == 1000);
    world.nodes[1].reads = true;
    world.until("what was accepted arrives", |w| w.nodes[1].frames.len() == accepted as usize);
    for (n, (_, frame)) in (0u32..).zip(&world.nodes[1].frames) {
        assert_eq!(frame[..4], n.to_le_bytes());
    }
    assert_eq!(world.nodes[0].transport.buffered(deaf), 0);
    assert!(world.nodes[0].downs.is_empty());
}

#[test]
fn a_long_backlog_is_written_a_part_a_turn() {
    const PART: usize = 256 * 1024;
    let mut world = three(&Keys::new());
    let id = world.nodes[0].link(replica(1), 0);
    let body = Bytes::from(vec![7; FRAME_MAX]);
    let sent = |w: &World| w.nodes[0].transport.counters().bytes_out;
    let mut before = sent(&world);
    assert!(world.nodes[0].transport.send_shared(id, b"", &body));
    world.nodes[0].transport.flush();
    let mut parts = 0;
    while world.nodes[0].transport.buffered(id) > 0 {
        let part = sent(&world) - before;
        assert!(part <= PART as u64, "{part} in a turn");
        before += part;
        parts += u32::from(part > 0);
        let now = world.now();
        world.nodes[0].turn(now);
        world.nodes[1].turn(now);
    }
    assert!(parts >= 4, "{parts}");
    world.until("it arrives", |w| w.nodes[1].frames.len() == 1);
}

#[test]
fn a_poll_with_a_part_of_a_backlog_left_does_not_wait() {
    let keys = Keys::new();
    let nodes = vec![Node::new(keys.settings(replica(0))), Node::new(keys.settings(client(0)))];
    let mut world = World::new(nodes);
    let address = world.nodes[0].transport.listen(loopback(), Role::Client).unwrap();
    world.nodes[1].transport.dial(replica(0), PillarId(0), address);
    world.until("up", |w| w.nodes.iter().all(|node| node.up.len() == 1));
    // A client's link has no heartbeat that would end the wait.
    let (id, now) = (world.nodes[1].link(replica(0), 0), world.now());
    let transport = &mut world.nodes[1].transport;
    assert!(transport.send(id, &[&vec![7; FRAME_MAX]]));
    transport.flush();
    assert!(transport.buffered(id) > 0);
    let before = std::time::Instant::now();
    transport.poll(now, Some(Duration::from_secs(30))).unwrap();
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_frame_over_the_limit_is_dropped_and_counted_not_sent() {
    let mut world = three(&Keys::new());
    let id = world.nodes[0].link(replica(1), 0);
    let body = Bytes::from(vec![0; FRAME_MAX + 1]);
    assert!(!world.nodes[0].transport.send(id, &[&body]));
    assert!(!world.nodes[0].transport.send_shared(id, b"", &body));
    assert!(!world.nodes[0].transport.send_shared(id, b"x", &body.slice(1..)));
    assert!(world.nodes[0].transport.send_shared(id, b"", &body.slice(1..)));
    assert_eq!(world.nodes[0].transport.counters().frames_dropped, 3);
    world.until("the longest arrives", |w| w.nodes[1].frames.len() == 1);
}

#[test]
fn a_frame_over_the_receivers_limit_closes_the_link() {
    let keys = Keys::new();
    let mut settings = keys.settings(replica(0));
    settings.frame_max_request = 1000;
    let mut world = World::new(vec![Node::new(settings), Node::new(keys.settings(client(0)))]);
    let address = world.nodes[0].transport.listen(loopback(), Role::Client).unwrap();
    world.nodes[1].transport.dial(replica(0), PillarId(0), address);
    world.until("up", |w| w.nodes.iter().all(|node| node.up.len() == 1));
    let id = world.nodes[1].link(replica(0), 0);
    world.nodes[1].transport.send(id, &[&[0; 1000]]);
    world.nodes[1].transport.send(id, &[&[0; 1001]]);
    world.until("down", |w| w.nodes[0].downs == ["frame longer than the limit"]);
    assert_eq!(world.nodes[0].frames.len(), 1);
}

#[test]
fn sending_to_a_connection_that_is_gone_is_counted() {
    let mut world = three(&Keys::new());
    let id = world.nodes[0].link(replica(1), 0);
    world.nodes[0].transport.close(id, "for the test");
    assert!(!world.nodes[0].transport.send(id, &[b"late"]));
    assert_eq!(world.nodes[0].transport.buffered(id), 0);
    assert_eq!(world.nodes[0].transport.counters().frames_dropped, 1);
    world.until("and its place is taken by another", |w| w.nodes[0].up.len() == 2);
    assert!(!world.nodes[0].transport.send(id, &[b"late"]));
}

#[test]
fn a_client_that_does_not_read_holds_four_replies_at_most() {
    const REPLY: usize = 10_000;
    let keys = Keys::new();
    let mut settings = keys.settings(replica(0));
    settings.frame_max_reply = REPLY;
    let mut world = World::new(vec![Node::new(settings), Node::new(keys.settings(client(0)))]);
    let address = world.nodes[0].transport.listen(loopback(), Role::Client).unwrap();
    world.nodes[1].transport.dial(replica(0), PillarId(0), address);
    world.until("up", |w| w.nodes.iter().all(|node| node.up.len() == 1));
    let id = world.nodes[0].link(client(0), 0);
    let transport = &mut world.nodes[0].transport;
    assert!(!transport.send(id, &[&[0; REPLY + 1]]));
    let taken = (0..10).filter(|_| transport.send(id, &[&[0; REPLY]])).count();
    assert_eq!((taken, transport.buffered(id)), (4, 4 * (4 + REPLY)));
    // Not what limits the client, who may have many requests under way.
    let id = world.nodes[1].link(replica(0), 0);
    let taken = (0..100).filter(|_| world.nodes[1].transport.send(id, &[&[0; REPLY]])).count();
    assert_eq!(taken, 100);
}

#[test]
fn a_replica_takes_no_request_as_long_as_a_reply() {
    let keys = Keys::new();
    let mut settings = keys.settings(replica(0));
    settings.frame_max_request = 1000;
    let mut world = World::new(vec![Node::new(settings), Node::new(keys.settings(client(0)))]);
    let address = world.nodes[0].transport.listen(loopback(), Role::Client).unwrap();
    world.nodes[1].transport.dial(replica(0), PillarId(0), address);
    world.until("up", |w| w.nodes.iter().all(|node| node.up.len() == 1));
    let id = world.nodes[0].link(client(0), 0);
    assert!(world.nodes[0].transport.send(id, &[&[0; FRAME_MAX]]));
    world.until("the reply arrives", |w| w.nodes[1].frames.len() == 1);
    let id = world.nodes[1].link(replica(0), 0);
    world.nodes[1].transport.send(id, &[&[0; 1001]]);
    world.until("down", |w| w.nodes[0].downs == ["frame longer than the limit"]);
}
