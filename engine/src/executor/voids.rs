use hypostyle_app_api::{ClientId, Seq};

/// Which clients lately acknowledged what wasn't executed, and so made void what a correct primary may have in a batch.
///
/// A primary drops what it knows to be void, so what it proposes was void for no longer than slots are decided ahead of
/// execution. A client that goes on like this excuses a primary for good; but it could as well give it new operations
/// that nobody needs.
#[derive(Debug)]
pub(super) struct Voids {
    /// Up to this round each client's requests may be void through no fault of a primary.
    until: Box<[u64]>,
    span: u64,
}

impl Voids {
    /// None yet; `span` rounds is how far slots are decided ahead of execution.
    pub(super) fn new(clients: u32, span: u64) -> Self {
        Self { until: vec![0; clients as usize].into(), span }
    }

    /// What `client` acknowledged in this round wasn't executed.
    pub(super) fn note(&mut self, client: ClientId, round: Seq) {
        self.until[client.index()] = round.0 + self.span;
    }

    /// What happened up to this round isn't known.
    pub(super) fn forget(&mut self, round: u64) {
        self.until.fill(round + self.span);
    }

    /// Whether a request of `client` may have become void after it was proposed in this round.
    pub(super) fn excuse(&self, client: ClientId, round: Seq) -> bool {
        round.0 <= self.until[client.index()]
    }
}
