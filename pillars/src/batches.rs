use std::collections::VecDeque;

use hypostyle_app_api::{Instant, Timestamp};

use crate::Config;
use crate::message::{Body, BodyBuilder, Request};

/// What a primary gathers: requests are copied once into an open batch; while the pipeline is full, batches line up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batches {
    /// The last one is open, those before it are full.
    batches: VecDeque<(Instant, BodyBuilder)>,
    bytes: usize,
}

/// Bytes that may line up before requests are refused, in multiples of `batch_bytes`.
const QUEUE_BATCHES_MAX: usize = 64;

impl Batches {
    /// Whether there is room for a request of `length` bytes.
    pub(crate) fn has_room(&self, length: usize, config: &Config) -> bool {
        self.bytes + length <= QUEUE_BATCHES_MAX * config.batch_bytes
    }

    pub(crate) fn is_half_full(&self, config: &Config) -> bool {
        self.bytes > QUEUE_BATCHES_MAX / 2 * config.batch_bytes
    }

    pub(crate) fn push(&mut self, now: Instant, request: &Request, config: &Config) {
        let length = request.bytes().len();
        self.bytes += length;
        if let Some((_, open)) = self.batches.back_mut()
            && open.fits(request.count(), length, config.batch_max, config.batch_bytes)
        {
            return open.push(request);
        }
        let mut open = BodyBuilder::new();
        open.push(request);
        self.batches.push_back((now, open));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Operations lined up.
    pub(crate) fn operations(&self) -> u64 {
        self.batches.iter().map(|(_, batch)| u64::from(batch.operation_count())).sum()
    }

    /// When the next batch may be cut: at once when it is full, else after `batch_delay`.
    pub(crate) fn due(&self, config: &Config) -> Option<Instant> {
        let (since, _) = self.batches.front()?;
        Some(if self.is_full(config) { *since } else { *since + config.batch_delay })
    }

    /// Whether the next batch has no room for more.
    pub(crate) fn is_full(&self, config: &Config) -> bool {
        let full = |(_, batch): &(Instant, BodyBuilder)| batch.operation_count() >= config.batch_max;
        self.batches.len() > 1 || self.batches.front().is_some_and(full)
    }

    /// Takes out everything.
    pub(crate) fn drain(&mut self) -> Vec<Request> {
        let batches = std::mem::take(self).batches.into_iter();
        let bodies = batches.map(|(_, batch)| batch.finish(Timestamp(0)));
        bodies.flat_map(|body| body.requests().iter().map(|r| body.request(r)).collect::<Vec<_>>()).collect()
    }

    pub(crate) fn cut(&mut self, timestamp: Timestamp) -> Option<Body> {
        let (_, batch) = self.batches.pop_front()?;
        let body = batch.finish(timestamp);
        self.bytes -= body.requests().iter().map(crate::message::RequestRef::length).sum::<usize>();
        Some(body)
    }
}
