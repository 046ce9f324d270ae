//! Services: the key-value map that `hypostyle replica` runs, and a ledger.

mod key_value;
mod ledger;

pub use key_value::{KeyValue, KeyValueSnapshot};
pub use ledger::{Block, Ledger, LedgerSnapshot};
