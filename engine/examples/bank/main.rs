//! A replicated bank whose money neither grows nor shrinks, with a copy-on-write snapshot.
//!
//! `cargo run --example bank`
#![allow(clippy::print_stdout)]

mod bank;

use std::error::Error;

use bank::{Bank, DEPOSIT};
use hypostyle::Cluster;

const TRANSFERS: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let bank = Bank::new(8);
    let accounts = bank.accounts();
    let cluster = Cluster::local(4).pillars(2).start(move || bank.clone())?;
    let client = cluster.client(0)?;
    let pending: Vec<_> = (0..TRANSFERS)
        .map(|index| {
            client.send(format!("move {} {} {}", index % accounts, (index * 7 + 1) % accounts, index))
        })
        .collect();
    for operation in pending {
        assert!(operation.wait()? == "OK");
    }
    let sum = client.call_blocking("sum")?;
    assert_eq!(sum, (accounts as u64 * DEPOSIT).to_string());
    println!(
        "{TRANSFERS} transfers between {accounts} accounts; the sum is still {}",
        String::from_utf8_lossy(&sum)
    );
    Ok(())
}
