//! A result that a correct client believes is the one the operation had in the reference execution.

use std::collections::BTreeMap;

use hypostyle::client::{Completion, OperationError};
use hypostyle::reply::Failure;
use hypostyle_app_api::{ClientId, Number};

use super::{Violation, violated};
use crate::sim::service::Executed;
use crate::sim::trace::hash;

/// Place in the order and hash of the result of everything executed.
#[derive(Default)]
pub(super) struct Replies(BTreeMap<(ClientId, Number), (u64, u64)>);

impl Replies {
    pub(super) fn executed(&mut self, place: u64, executed: &Executed) {
        self.0.insert((executed.client, executed.number), (place, executed.result));
    }

    /// Where in the order the operation was executed.
    pub(super) fn accepted(&self, client: ClientId, completion: &Completion) -> Result<u64, Violation> {
        let number = completion.number;
        let Some((place, right)) = self.0.get(&(client, number)).copied() else {
            let what = format!("client {client} believes {completion:?}, which nobody executed");
            return violated("replies", what);
        };
        match &completion.result {
            Ok(result) if hash(result) == right => Ok(place),
            // A large result may be gone by the time it is asked for.
            Err(OperationError::Failure(Failure::ResultNotKept)) => Ok(place),
            other => violated("replies", format!("client {client} believes {other:?} of operation {number}")),
        }
    }
}
