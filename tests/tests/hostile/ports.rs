//! Whoever reaches a port may send what he likes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::*;

/// What no peer sends first: other protocols, lengths that promise much or nothing, noise, and nothing at all.
fn garbage() -> Vec<Vec<u8>> {
    let noise = (0..70_000u32).map(|i| u8::try_from(i.wrapping_mul(2_654_435_761) >> 24).unwrap());
    let framed = |payload: &[u8]| [&u32::try_from(payload.len()).unwrap().to_le_bytes(), payload].concat();
    vec![
        b"GET / HTTP/1.1\r\nHost: replica\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        vec![0; 4096],
        vec![0xff; 4096],
        framed(&[]),
        framed(&[0; 64]),
        framed(&[0xff; 300]),
        framed(b"hypostyle"),
        [&u32::MAX.to_le_bytes()[..], b"length bomb"].concat(),
        [&(1u32 << 20).to_le_bytes()[..], &[1; 100]].concat(),
        noise.collect(),
        Vec::new(),
    ]
}

/// Sends it, says that nothing more comes, and waits for the other side's end.
fn throw(address: SocketAddr, garbage: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The replica may have hung up before it has read all.
    let _ = stream.write_all(garbage);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.take(1 << 20).read_to_end(&mut answer);
    assert!(answer.len() < 32 << 10, "{} bytes of answer to garbage", answer.len());
}

#[test]
fn garbage_on_the_ports_of_replicas_and_clients_is_refused_counted_and_hinders_nobody() {
    let cluster = Cluster::local(4).start(KeyValue::default).unwrap();
    let client = cluster.client(0).unwrap();
    load(&client, "before", 10);
    let status = eventually(&cluster, |status| executed(10)(status) && all_linked(status));
    let before: Vec<_> = status.iter().map(connections_refused).collect();
    let thrown = garbage();
    for replica in &cluster.config().replicas {
        for address in [replica.peer, replica.client] {
            thrown.iter().for_each(|garbage| throw(address, garbage));
        }
    }
    load(&client, "after", 10);
    let count = 2 * thrown.len() as u64;
    let status = eventually(&cluster, |status| {
        status.iter().zip(&before).all(|(s, before)| connections_refused(s) == before + count)
    });
    for s in &status {
        assert!(refused(s, "connection: not a Hypostyle peer") > 0, "{:?}", s.refusals);
        assert_eq!(refused(s, "connection: handshake timed out"), 0, "none is kept waiting");
    }
    assert!(all_linked(&status), "no link suffered");
    eventually(&cluster, executed(20));
    cluster.stop().unwrap();
}

/// A client's bytes in the middle of its session are as untrusted as anyone's.
#[test]
fn a_replicas_port_serves_no_client_and_a_clients_port_no_replica() {
    let cluster = Cluster::local(4).start(KeyValue::default).unwrap();
    let mut swapped = cluster.config().clone();
    for replica in &mut swapped.replicas {
        std::mem::swap(&mut replica.peer, &mut replica.client);
    }
    let client = Client::connect(&swapped, hypostyle::ClientId(0), cluster.client_key(0), None).unwrap();
    let lost = client.with_deadline(Duration::from_secs(3)).call_blocking("set k v").unwrap_err();
    assert!(lost.to_string().contains("role not served at this address"), "{lost}");
    let status = eventually(&cluster, |status| {
        status.iter().all(|s| refused(s, "connection: role not served at this address") > 0)
    });
    assert!(status.iter().all(|s| s.execution.executed_operations == 0));
    drop(client);
    load(&cluster.client(0).unwrap(), "k", 5);
    cluster.stop().unwrap();
}
