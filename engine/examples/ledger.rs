//! An embedded block chain: four replicas keep a ledger, clients pay each other, and one of them checks the chain.
//!
//! `cargo run --example ledger`
#![allow(clippy::print_stdout)]

use std::error::Error;

use hypostyle::client::{CallError, Client};
use hypostyle::{Cluster, service::Ledger};

const CLIENTS: u32 = 2;
const PAYMENTS: u64 = 100;

/// The answer, in words.
fn ask(client: &Client, operation: &str) -> Result<Vec<String>, CallError> {
    let reply = client.call_blocking(operation.to_owned())?;
    Ok(String::from_utf8_lossy(&reply).split(' ').map(str::to_owned).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::local(4).clients(CLIENTS).start(|| Ledger::new(CLIENTS, 1_000))?;
    let clients = [cluster.client(0)?, cluster.client(1)?];
    for payment in 0..PAYMENTS {
        let (payer, payee) = (payment % 2, 1 - payment % 2);
        ask(&clients[usize::try_from(payer)?], &format!("pay {payee} 10"))?;
    }

    // HEIGHT PARENT PAYMENTS COUNT TIME HASH: each block's hash is the next one's parent.
    let head = ask(&clients[0], "head")?;
    let height: u64 = head[0].parse()?;
    let mut parent = "0".repeat(64);
    for at in 1..=height {
        let block = ask(&clients[1], &format!("block {at}"))?;
        assert_eq!(block[1], parent, "block {at} doesn't follow the one before");
        parent.clone_from(&block[5]);
    }
    assert_eq!(parent, head[5]);
    println!("{height} finished blocks, head {}", head[5]);
    for account in 0..CLIENTS {
        println!("account {account}: {}", ask(&clients[0], &format!("balance {account}"))?.join(" "));
    }
    Ok(())
}
