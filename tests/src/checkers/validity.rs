//! Validity: every request that is executed was signed by its client.

use std::collections::BTreeSet;

use hypostyle_app_api::{ClientId, Digest, Number};
use hypostyle_pillars::Decided;

use super::{Check, violated};

/// What clients have signed.
#[derive(Default)]
pub(super) struct Validity(BTreeSet<(ClientId, Number, Digest)>);

impl Validity {
    pub(super) fn signed(&mut self, client: ClientId, first: Number, digest: Digest) {
        self.0.insert((client, first, digest));
    }

    pub(super) fn executed(&self, slot: &Decided) -> Check {
        let requests = slot.body.requests().iter();
        match requests
            .into_iter()
            .find(|request| !self.0.contains(&(request.client, request.first, request.digest)))
        {
            None => Ok(()),
            Some(request) => violated(
                "validity",
                format!("client {} never signed {} {:?}", request.client, request.first, request.digest),
            ),
        }
    }
}
