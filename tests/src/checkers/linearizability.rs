//! Linearizability: the order is the witness; an operation that began after another's result was known comes after it.

use std::collections::BTreeMap;

use hypostyle_app_api::{ClientId, Number};

use super::{Check, violated};

/// What was known when each operation began.
#[derive(Default)]
pub(super) struct Linearizability {
    /// The highest place in the order of an operation whose result a client has, plus one.
    known: u64,
    begun: BTreeMap<(ClientId, Number), u64>,
}

impl Linearizability {
    pub(super) fn invoked(&mut self, client: ClientId, first: Number, count: u16) {
        for number in first.0..first.0 + u64::from(count) {
            self.begun.insert((client, Number(number)), self.known);
        }
    }

    pub(super) fn completed(&mut self, client: ClientId, number: Number, place: u64) -> Check {
        let begun = self.begun.remove(&(client, number));
        let Some(known) = begun else {
            return violated("linearizability", format!("client {client} has two results of {number}"));
        };
        if place < known {
            let what =
                format!("operation {number} of client {client} took place {place}, after {known} was known");
            return violated("linearizability", what);
        }
        self.known = self.known.max(place + 1);
        Ok(())
    }
}
