//! A replicated key-value map under load from async code: many operations in flight, under any executor.
//!
//! `cargo run --example kv`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use hypostyle::client::{CallError, Client};
use hypostyle::{Cluster, service::KeyValue};

/// As many as a client may have in flight, unless `client_window` says otherwise.
const KEYS: usize = 1024;

async fn load(client: &Client) -> Result<(), CallError> {
    // `send` waits for nothing: all of these are under way before the first is awaited.
    let pending: Vec<_> = (0..KEYS).map(|key| client.send(format!("set key{key} {key}"))).collect();
    for operation in pending {
        assert_eq!(operation.await?, "OK");
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::local(4).pillars(2).start(KeyValue::default)?;
    let client = cluster.client(0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;

    let start = Instant::now();
    runtime.block_on(load(&client))?;
    println!("{KEYS} operations in {:?}", start.elapsed());

    let value = runtime.block_on(client.call("get key42"))?;
    println!("key42 = {}", String::from_utf8_lossy(&value));
    for status in cluster.status() {
        println!("replica {} executed {} operations", status.replica, status.execution.executed_operations);
    }
    Ok(())
}
