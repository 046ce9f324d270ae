//! What strangers, forgers and bad networks may do: nothing but be counted.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use common::{Keys, Node, Proxy, World, client, loopback, replica};
use hypostyle_app_api::{Digest, PillarId};
use hypostyle_net::{Refusal, Role, Transport};

fn refused(transport: &Transport, reason: Refusal) -> u64 {
    transport.counters().refused(reason)
}

/// Replica 0, listening for clients and replicas, with a link to replica 1.
fn established(keys: &Keys) -> (World, [std::net::SocketAddr; 2]) {
    let (mut world, peers) = World::pair(keys);
    let clients = world.nodes[0].transport.listen(loopback(), Role::Client).unwrap();
    (world, [peers, clients])
}

#[test]
fn garbage_on_every_port_is_refused_and_disturbs_nobody() {
    let (mut world, ports) = established(&Keys::new());
    let garbage: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0xff; 3000],
        &[0; 3000],
        b"\x05\0\0\0abcde",
        b"\xb8\0\0\0\x01hypo\x09\x00",
    ];
    let mut sockets = Vec::new();
    for port in ports {
        for bytes in garbage {
            let mut socket = TcpStream::connect(port).unwrap();
            let _ = socket.write_all(bytes);
            sockets.push(socket);
        }
    }
    world.until("all but the unfinished refused", |w| w.nodes[0].refused.len() >= 10);
    // The last one is a Hello cut short: it is reaped.
    world.skip(Duration::from_secs(3));
    world.until("all refused", |w| w.nodes[0].refused.len() == 12);
    assert_eq!(refused(&world.nodes[0].transport, Refusal::NotHypostyle), 10);
    assert_eq!(refused(&world.nodes[0].transport, Refusal::Timeout), 2);
    assert_eq!((world.nodes[0].ups, world.nodes[0].up.len()), (1, 1));
}

#[test]
fn a_forger_of_an_identity_displaces_nobody() {
    let (keys, others) = (Keys::new(), Keys::new());
    let (mut world, address) = World::pair(&keys);
    let mut settings = keys.settings(replica(1));
    settings.identity = others.identity(replica(1));
    world.nodes.push(Node::new(settings));
    world.nodes[2].transport.dial(replica(0), PillarId(0), address);
    world.until("refused a few times", |w| refused(&w.nodes[0].transport, Refusal::Signature) >= 3);
    assert_eq!((world.nodes[0].ups, world.nodes[0].up.len(), world.nodes[1].up.len()), (1, 1, 1));
    assert!(world.nodes[2].up.is_empty());
    assert!(world.nodes[2].was_refused("refused by the peer: handshake signature does not verify"));
}

#[test]
fn a_newer_link_takes_the_older_ones_place_when_its_handshake_is_complete() {
    let keys = Keys::new();
    let (mut world, address) = World::pair(&keys);
    let older = world.nodes[0].link(replica(1), 0);
    let mut half_way = TcpStream::connect(address).unwrap();
    half_way.write_all(b"\xb8\0\0\0\x01hypo\x01\x00").unwrap();
    for _ in 0..20 {
        world.turn();
    }
    assert_eq!(world.nodes[0].link(replica(1), 0), older);
    world.nodes.push(Node::new(keys.settings(replica(1))));
    world.nodes[2].transport.dial(replica(0), PillarId(0), address);
    world.until("replaced", |w| w.nodes[0].ups >= 2);
    assert_eq!(world.nodes[0].up.len(), 1);
    assert_ne!(world.nodes[0].link(replica(1), 0), older);
    assert_eq!(world.nodes[0].downs[0], "replaced by a newer connection");
}

#[test]
fn a_dialled_address_where_somebody_else_answers_is_reported() {
    let keys = Keys::new();
    let (mut world, address) = World::pair(&keys);
    world.nodes[1].transport.dial(replica(2), PillarId(0), address);
    world.until("reported", |w| w.nodes[1].was_refused("replica 0 answers where replica 2 was dialled"));
    assert!(!world.nodes[1].has_link(replica(2), 0));
}

#[test]
fn both_sides_of_a_configuration_mismatch_name_the_field() {
    let (keys, others) = (Keys::new(), Keys::of_configuration(Digest([8; 32])));
    let mut settings = others.settings(replica(1));
    settings.summary = Bytes::from_static(b"pillars=2\n");
    let mut world = World::new(vec![Node::new(keys.settings(replica(0))), Node::new(settings)]);
    let address = world.nodes[0].transport.listen(loopback(), Role::Replica).unwrap();
    world.nodes[1].transport.dial(replica(0), PillarId(0), address);
    world.until("told", |w| w.nodes.iter().all(|node| !node.refused.is_empty()));
    assert!(
        world.nodes[0].was_refused("pillars is 4 here and 2 at replica 1"),
        "{:?}",
        world.nodes[0].refused
    );
    assert!(
        world.nodes[1].was_refused("pillars is 2 here and 4 at replica 0"),
        "{:?}",
        world.nodes[1].refused
    );
}

#[test]
fn the_longest_summary_is_told_whole() {
    let (keys, others) = (Keys::new(), Keys::of_configuration(Digest([8; 32])));
    let summary = |last: &str| {
        let lines = (0..800).map(|n| format!("field-{n:04}=value\n")).collect::<String>();
        Bytes::from(format!("{lines}last={last}\n"))
    };
    let (mut one, mut zero) = (others.settings(replica(1)), keys.settings(replica(0)));
    (zero.summary, one.summary) = (summary("a"), summary("b"));
    assert!(zero.summary.len() > 13_000);
    let mut world = World::new(vec![Node::new(zero), Node::new(one)]);
    let address = world.nodes[0].transport.listen(loopback(), Role::Replica).unwrap();
    world.nodes[1].transport.dial(replica(0), PillarId(0), address);
    world.until("told", |w| w.nodes[0].was_refused("last is a here and b at replica 1"));
    assert!(world.nodes[1].was_refused("last is b here and a at replica 0"));
}

#[test]
fn a_bit_flipped_on_the_way_closes_the_link_and_is_counted() {
    let keys = Keys::new();
    let nodes = vec![Node::new(keys.settings(replica(0))), Node::new(keys.settings(replica(1)))];
    let mut world = World::new(nodes);
    let address = world.nodes[0].transport.listen(loopback(), Role::Replica).unwrap();
    world.proxies.push(Proxy::new(address));
    let proxied = world.proxies[0].address();
    world.nodes[1].transport.dial(replica(0), PillarId(0), proxied);
    world.until("up", |w| w.nodes.iter().all(|node| node.up.len() == 1));
    let id = world.nodes[1].link(replica(0), 0);
    world.nodes[1].transport.send(id, &[&[7; 1000]]);
    world.until("arrived", |w| w.nodes[0].frames.len() == 1);
    world.proxies[0].flips = true;
    world.nodes[1].transport.send(id, &[&[7; 1000]]);
    world.until("down", |w| w.nodes[0].downs.len() == 1);
    assert_eq!(world.nodes[0].downs, ["link MAC does not verify"]);
    assert_eq!(refused(&world.nodes[0].transport, Refusal::LinkMac), 1);
    assert_eq!(world.nodes[0].frames.len(), 1);
    world.until("up again", |w| w.nodes.iter().all(|node| node.up.len() == 1 && node.ups == 2));
}

#[test]
fn a_link_on_which_nothing_is_heard_is_dead_after_five_seconds() {
    let keys = Keys::new();
    let nodes = vec![Node::new(keys.settings(replica(0))), Node::new(keys.settings(replica(1)))];
    let mut world = World::new(nodes);
    let address = world.nodes[0].transport.listen(loopback(), Role::Replica).unwrap();
    world.proxies.push(Proxy::new(address));
    let proxied = world.proxies[0].address();
    world.nodes[1].transport.dial(replica(0), PillarId(0), proxied);
    world.until("up", |w| w.nodes.iter().all(|node| node.up.len() == 1));
    world.turn();
    world.proxies[0].silent = true;
    for _ in 0..8 {
        world.skip(Duration::from_millis(500));
    }
    assert!(world.nodes.iter().all(|node| node.up.len() == 1), "four seconds are no reason");
    world.skip(Duration::from_millis(1500));
    world.until("down", |w| w.nodes.iter().all(|node| node.downs == ["nothing heard"]));
    assert_eq!(refused(&world.nodes[0].transport, Refusal::Silent), 1);
}

#[test]
fn five_hundred_silent_connections_are_reaped_while_a_client_gets_through() {
    let keys = Keys::new();
    let (mut world, [_, address]) = established(&keys);
    let reaped = |w: &World| {
        let transport = &w.nodes[0].transport;
        refused(transport, Refusal::Displaced) + refused(transport, Refusal::Timeout)
    };
    let mut silent = Vec::new();
    for n in 0..500 {
        // No more at once than the kernel holds for a process that doesn't accept.
        world.until("accepted", |w| reaped(w) + 128 > n);
        silent.push(TcpStream::connect(address).unwrap());
    }
    world.nodes.push(Node::new(keys.settings(client(0))));
    world.nodes[2].transport.dial(replica(0), PillarId(0), address);
    world.until("the client is up", |w| w.nodes[2].up.len() == 1);
    world.until("all reaped", |w| reaped(w) == 500);
    assert!(refused(&world.nodes[0].transport, Refusal::Displaced) >= 400, "64 may be half-open at once");
    for mut socket in silent {
        socket.set_nonblocking(true).unwrap();
        assert!(matches!(socket.read(&mut [0]), Ok(0)), "closed");
    }
    assert_eq!(world.nodes[0].up.len(), 2);
}

#[test]
fn a_drip_of_bytes_does_not_put_off_the_reaping() {
    let (mut world, [_, address]) = established(&Keys::new());
    let mut slow = TcpStream::connect(address).unwrap();
    for byte in b"\xb8\0\0\0\x01hyp" {
        slow.write_all(&[*byte]).unwrap();
        world.skip(Duration::from_millis(300));
    }
    world.until("reaped", |w| refused(&w.nodes[0].transport, Refusal::Timeout) == 1);
}

#[test]
fn beyond_the_limit_of_connections_newcomers_are_turned_away() {
    let keys = Keys::new();
    let mut settings = keys.settings(replica(0));
    settings.connections_max = 2;
    let mut world = World::new(vec![Node::new(settings)]);
    let address = world.nodes[0].transport.listen(loopback(), Role::Client).unwrap();
    for id in 0..3 {
        let mut node = Node::new(keys.settings(client(id)));
        node.transport.dial(replica(0), PillarId(0), address);
        world.nodes.push(node);
    }
    world.until("turned away", |w| {
        w.nodes[0].up.len() == 2 && refused(&w.nodes[0].transport, Refusal::Full) > 0
    });
    world.nodes.retain(|node| !node.up.is_empty());
    assert_eq!(world.nodes.len(), 3);
    world.nodes.pop();
    let mut late = Node::new(keys.settings(client(3)));
    late.transport.dial(replica(0), PillarId(0), address);
    world.nodes.push(late);
    world.until("in when there is room", |w| w.nodes[2].up.len() == 1);
}

#[test]
fn one_peers_signed_handshakes_are_limited() {
    let keys = Keys::new();
    let (mut world, [_, address]) = established(&keys);
    // Each of these forgets its ticket at once and comes again.
    let mut spent = 0;
    world.until("limited", |w| {
        w.nodes.truncate(2);
        let mut node = Node::new(keys.settings(client(0)));
        node.transport.dial(replica(0), PillarId(0), address);
        w.nodes.push(node);
        spent += 1;
        for _ in 0..20 {
            w.turn();
            if !w.nodes[2].up.is_empty() || !w.nodes[2].refused.is_empty() {
                break;
            }
        }
        refused(&w.nodes[0].transport, Refusal::TooManyHandshakes) > 0
    });
    assert!(spent > 30, "{spent}");
    let mut other = Node::new(keys.settings(client(1)));
    other.transport.dial(replica(0), PillarId(0), address);
    world.nodes.push(other);
    world.until("others are served", |w| w.nodes[3].up.len() == 1);
}

#[test]
fn a_turn_makes_few_signatures() {
    let keys = Keys::new();
    let (mut world, [_, address]) = established(&keys);
    world.nodes.push(Node::new(keys.settings(client(0))));
    for id in 0..4 {
        world.nodes[2].transport.dial_as(keys.identity(client(id)), replica(0), PillarId(0), address);
    }
    let mut before = world.nodes[0].transport.counters().handshakes_signed;
    world.until("all up", |w| {
        let after = w.nodes[0].transport.counters().handshakes_signed;
        assert!(after - before <= 2, "{} in a turn", after - before);
        before = after;
        w.nodes[2].up.len() == 4
    });
}
