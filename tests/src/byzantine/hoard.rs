//! Who would have others run out of memory.

use bytes::Bytes;
use hypostyle_app_api::{Seq, Timestamp, View};
use hypostyle_crypto::sha256;
use hypostyle_pillars::message::{BUNDLE_MAX, Body, BodyBuilder, Kind, PeerFrame, Statement};

use super::acts::now;
use super::{Byzantine, Sent};

/// Bodies that follow one that was proposed.
const BODIES: u64 = 16;
/// Frames of its own in all: a run has an end.
const FRAMES_MAX: u64 = 32_000;

impl Byzantine {
    /// Each body is followed by full ones that nobody proposes, and a vote now and then by votes for all slots that may be kept, each
    /// in a bundle as long as may be, for another digest every time and now and then in a view to come.
    pub(super) fn hoard(&mut self, payload: &Bytes) -> Vec<Sent> {
        let mut sent = vec![now(payload.clone())];
        if self.hoarded < FRAMES_MAX {
            let more = match payload.first() {
                Some(&PeerFrame::BODY) => self.full_bodies(payload),
                Some(&PeerFrame::BUNDLE) if self.random.chance(100) => self.long_votes(payload),
                _ => Vec::new(),
            };
            self.hoarded += more.len() as u64;
            sent.extend(more.into_iter().map(now));
        }
        sent
    }

    /// The requests of a body again and again until it is full; each body has another timestamp.
    fn full_bodies(&mut self, payload: &Bytes) -> Vec<Bytes> {
        let Ok(body) = Body::decode(payload.slice(1..), &self.limits) else { return Vec::new() };
        if body.requests().is_empty() {
            return Vec::new();
        }
        let requests: Vec<_> = body.requests().iter().map(|r| body.request(r)).collect();
        let full = |timestamp| {
            let mut builder = BodyBuilder::new();
            for request in requests.iter().cycle() {
                let length = request.bytes().len();
                if !builder.fits(request.count(), length, self.limits.batch_max, self.limits.batch_bytes) {
                    break;
                }
                builder.push(request);
            }
            let body = builder.finish(Timestamp(timestamp));
            [&[PeerFrame::BODY], &body.bytes()[..]].concat().into()
        };
        (1..=BODIES).map(|nth| full(body.timestamp().0 - self.hoarded - nth)).collect()
    }

    fn long_votes(&mut self, payload: &Bytes) -> Vec<Bytes> {
        let Some(bundle) = self.statements(payload) else { return Vec::new() };
        let votes = |s: &&Statement| matches!(s.kind, Kind::Prepare | Kind::Commit);
        let Some(vote) = bundle.statements().iter().find(votes).copied() else { return Vec::new() };
        let digest = sha256(&[&self.hoarded.to_le_bytes()]);
        let view = View(vote.view.0 + self.random.below(2));
        let kept = vote.seq.0.saturating_sub(self.limits.window).max(1)..=vote.seq.0 + 4 * self.limits.window;
        kept.map(|seq| {
            let statement = Statement { kind: Kind::Commit, view, seq: Seq(seq), digest, ..vote };
            self.bundle(bundle.pillar(), &[statement; BUNDLE_MAX])
        })
        .collect()
    }
}
