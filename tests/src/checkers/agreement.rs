//! Agreement per pillar: no two correct replicas decide different bodies for a slot.

use std::collections::BTreeSet;
use std::sync::Arc;

use hypostyle_app_api::{PillarId, ReplicaId, Seq, View};
use hypostyle_pillars::Decided;
use hypostyle_pillars::message::Body;

use super::{Violation, violated};

/// A body, and in which view it was decided first.
type Agreed = (View, Arc<Body>);

/// What was decided.
pub(super) struct Agreement {
    /// By pillar and slot.
    slots: Vec<Vec<Option<Agreed>>>,
    /// The views in which each replica decided anything.
    views: BTreeSet<(ReplicaId, (PillarId, View))>,
}

impl Agreement {
    pub(super) fn new(pillars: usize) -> Self {
        Self { slots: vec![Vec::new(); pillars], views: BTreeSet::new() }
    }

    /// Whether the slot is decided for the first time.
    pub(super) fn is_new(&mut self, replica: ReplicaId, decided: &Decided) -> Result<bool, Violation> {
        self.views.insert((replica, (decided.pillar, decided.view)));
        let Some((_, known)) = self.of(decided.pillar, decided.seq) else { return Ok(true) };
        if known.digest() != decided.body.digest() {
            let (mine, theirs) = (decided.body.digest(), known.digest());
            let slot = format!("slot {} of pillar {}", decided.seq, decided.pillar);
            return violated(
                "agreement",
                format!("replica {replica} decides {mine:?} for {slot}, another decided {theirs:?}"),
            );
        }
        Ok(false)
    }

    /// A slot is decided for the first time.
    pub(super) fn decided(&mut self, decided: &Decided) {
        let slots = &mut self.slots[decided.pillar.index()];
        let index = usize::try_from(decided.seq.0).expect("few slots") - 1;
        if slots.len() <= index {
            slots.resize(index + 1, None);
        }
        slots[index] = Some((decided.view, Arc::clone(&decided.body)));
    }

    /// What was decided, and in which view first.
    pub(super) fn of(&self, pillar: PillarId, seq: Seq) -> Option<&Agreed> {
        let index = usize::try_from(seq.0).ok()?.checked_sub(1)?;
        self.slots.get(pillar.index())?.get(index)?.as_ref()
    }

    /// Whether a replica decided any slot in a view.
    pub(super) fn has_decided_in(&self, replica: ReplicaId, view: (PillarId, View)) -> bool {
        self.views.contains(&(replica, view))
    }

    /// The slots of a pillar that are decided.
    pub(super) fn all(&self, pillar: PillarId) -> impl Iterator<Item = (Seq, &Agreed)> {
        (1..).map(Seq).zip(&self.slots[pillar.index()]).filter_map(|(seq, slot)| Some((seq, slot.as_ref()?)))
    }
}
