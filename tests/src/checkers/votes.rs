//! A correct replica votes once: never for two digests in one view of a slot, restarted or not, and not at all in a view
//! that it has declared to leave since it started.

use std::collections::BTreeMap;

use hypostyle_app_api::{PillarId, ReplicaId, View};
use hypostyle_pillars::message::Statement;

use super::history::{History, bit};
use super::{Check, name, violated};

/// The views each correct replica has left.
#[derive(Default)]
pub(super) struct Votes(BTreeMap<(ReplicaId, PillarId), View>);

impl Votes {
    pub(super) fn said(&self, history: &History, signer: ReplicaId, own: &Statement) -> Check {
        for said in history.of(own.pillar, own.seq) {
            let other = said.view == own.view && said.digest != own.digest;
            if other && said.by_kind(own.kind) & bit(signer) != 0 {
                let what = format!("replica {signer} says {} and {:?}", name(own), said.digest);
                return violated("vote uniqueness", what);
            }
        }
        match self.0.get(&(signer, own.pillar)) {
            Some(left) if own.view < *left => violated(
                "vote uniqueness",
                format!("replica {signer} says {} after leaving for {left}", name(own)),
            ),
            _ => Ok(()),
        }
    }

    pub(super) fn leaves(&mut self, replica: ReplicaId, pillar: PillarId, view: View) {
        let left = self.0.entry((replica, pillar)).or_default();
        *left = view.max(*left);
    }

    /// A replica has started again: what it declared to leave before binds it no more.
    pub(super) fn restarted(&mut self, replica: ReplicaId) {
        self.0.retain(|(left, _), _| *left != replica);
    }
}
