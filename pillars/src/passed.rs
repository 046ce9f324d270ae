use std::collections::VecDeque;

use hypostyle_app_api::{Instant, ReplicaId, Timestamp};

use crate::Config;
use crate::message::{Body, BodyBuilder, Request};

/// Requests that backups have passed on to this primary: a share for each backup, so that neither the clients' own copies
/// nor another backup's crowd out what one of them vouches for.
#[derive(Clone, Debug)]
pub(crate) struct PassedOn {
    shares: Box<[VecDeque<(Instant, Request)>]>,
    /// Whether the last batch was one of these: by turns with the clients' own.
    took: bool,
}

/// Whether a backup's share, which holds so many operations and bytes, has room for another request: it is that of one
/// batch, one request in any case.
pub(crate) fn share_has_room((operations, bytes): (usize, usize), length: usize, config: &Config) -> bool {
    let backups = usize::from(config.replicas);
    operations == 0
        || (bytes + length <= config.batch_bytes / backups
            && operations < config.batch_max as usize / backups)
}

impl PassedOn {
    pub(crate) fn new(replicas: u16) -> Self {
        Self { shares: (0..replicas).map(|_| VecDeque::new()).collect(), took: false }
    }

    /// Whether a backup has room for another request.
    pub(crate) fn has_room(&self, by: ReplicaId, length: usize, config: &Config) -> bool {
        let Some(share) = self.shares.get(by.index()) else { return false };
        let bytes: usize = share.iter().map(|(_, request)| request.bytes().len()).sum();
        let operations: usize = share.iter().map(|(_, request)| usize::from(request.count())).sum();
        share_has_room((operations, bytes), length, config)
    }

    pub(crate) fn push(&mut self, now: Instant, by: ReplicaId, request: Request) {
        if let Some(share) = self.shares.get_mut(by.index()) {
            share.push_back((now, request));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shares.iter().all(VecDeque::is_empty)
    }

    pub(crate) fn operations(&self) -> u64 {
        self.shares.iter().flatten().map(|(_, request)| u64::from(request.count())).sum()
    }

    /// Since when the oldest has waited.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.shares.iter().filter_map(|share| share.front()).map(|(since, _)| *since).min()
    }

    /// Whether the next batch is to be one of these, when `others` wait too.
    pub(crate) fn is_next(&mut self, others: bool) -> bool {
        let next = !(self.is_empty() || self.took && others);
        self.took = next;
        next
    }

    /// A batch of what was passed on: one of each backup in turn, as many as fit.
    pub(crate) fn cut(&mut self, timestamp: Timestamp, config: &Config) -> Body {
        let mut batch = BodyBuilder::new();
        let fits = |batch: &BodyBuilder, request: &Request| {
            batch.fits(request.count(), request.bytes().len(), config.batch_max, config.batch_bytes)
        };
        let mut more = true;
        while more {
            more = false;
            for share in &mut self.shares {
                if let Some((_, request)) = share.pop_front_if(|(_, request)| fits(&batch, request)) {
                    batch.push(&request);
                    more = true;
                }
            }
        }
        batch.finish(timestamp)
    }

    /// Takes out everything.
    pub(crate) fn drain(&mut self) -> Vec<Request> {
        self.shares.iter_mut().flat_map(|share| share.drain(..)).map(|(_, request)| request).collect()
    }
}
