use hypostyle::Replica;
use hypostyle::service::Ledger;

use crate::allocation::allocations;
use crate::children::die_with_parent;
use crate::cli::ReplicaArgs;
use crate::workload::null::Null;
use crate::workload::store::Store;

/// Runs one replica of a measurement until it is killed.
///
/// # Errors
/// When its parent has ended, the replica can't start, or one of its threads fails.
pub fn run(arguments: &ReplicaArgs) -> anyhow::Result<()> {
    die_with_parent(arguments.parent)?;
    let replica = Replica::open(&arguments.home)?.counters(Box::new(counters));
    let handle = match (arguments.accounts, arguments.records) {
        (0, 0) => replica.start(Null::new(arguments.reply_bytes))?,
        (0, records) => replica.start(Store::new(records, arguments.record_bytes))?,
        (accounts, _) => replica.start(Ledger::new(accounts, AMOUNT))?,
    };
    Ok(handle.wait()?)
}

/// Of each account: no client runs out of it.
const AMOUNT: u64 = 1 << 32;

fn counters() -> Vec<(String, u64)> {
    vec![("allocations".to_owned(), allocations())]
}
