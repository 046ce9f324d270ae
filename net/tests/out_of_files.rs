//! Alone in its file: the limit of open files is the whole process's.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::net::TcpStream;

use common::{Keys, Node, World, client, loopback, replica};
use hypostyle_app_api::PillarId;
use hypostyle_net::{Refusal, Role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn without_files_left_accepting_pauses_and_resumes() {
    let keys = Keys::new();
    let mut world = World::new(vec![Node::new(keys.settings(replica(0)))]);
    let address = world.nodes[0].transport.listen(loopback(), Role::Client).unwrap();
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), maximum }).unwrap();
    let waiting: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    let before = world.nodes[0].transport.counters().clone();
    for _ in 0..50 {
        world.turn();
    }
    let after = world.nodes[0].transport.counters();
    assert!(after.refused(Refusal::Full) > 0);
    assert!(after.accepts - before.accepts < 10, "{} in 50 turns", after.accepts - before.accepts);
    drop(files);
    let mut node = Node::new(keys.settings(client(0)));
    node.transport.dial(replica(0), PillarId(0), address);
    world.nodes.push(node);
    world.until("accepted again", |w| w.nodes[0].up.len() == 1);
    drop(waiting);
}
