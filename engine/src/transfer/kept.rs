use std::collections::BTreeMap;

use hypostyle_app_api::Position;
use hypostyle_pillars::Decided;

/// Decided slots beyond what the merge holds, while the state below them is on its way: from a snapshot on the replica
/// continues with what it has seen decided itself, and nobody else has to keep anything for it.
#[derive(Debug)]
pub struct KeptSlots {
    pillars: u16,
    bytes_max: usize,
    slots: BTreeMap<Position, Decided>,
    bytes: usize,
}

/// What a slot takes beside its body.
const SLOT_BYTES: usize = 256;

impl KeptSlots {
    /// Keeps slots of `pillars` pillars, up to `bytes_max` in all: `catch_up_bytes`.
    #[must_use]
    pub fn new(pillars: u16, bytes_max: usize) -> Self {
        Self { pillars, bytes_max, slots: BTreeMap::new(), bytes: 0 }
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Keeps a slot. False when there is no room: then all are gone, since a gap can't be passed.
    pub fn insert(&mut self, slot: Decided) -> bool {
        let position = Position::of(slot.pillar, slot.seq, self.pillars);
        // The certificate has done its work; shared by many slots, it can't be counted.
        let slot = Decided { certificate: [].into(), ..slot };
        self.bytes += cost(&slot);
        if let Some(before) = self.slots.insert(position, slot) {
            self.bytes -= cost(&before);
        }
        if self.bytes > self.bytes_max {
            self.clear();
            return false;
        }
        true
    }

    /// The lowest slot.
    #[must_use]
    pub fn first(&self) -> Option<&Decided> {
        self.slots.values().next()
    }

    /// Forgets the lowest slot.
    pub fn pop(&mut self) {
        if let Some((_, slot)) = self.slots.pop_first() {
            self.bytes -= cost(&slot);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.bytes = 0;
    }
}

fn cost(slot: &Decided) -> usize {
    SLOT_BYTES + slot.body.memory()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hypostyle_app_api::{PillarId, Seq, View};
    use hypostyle_pillars::message::Body;

    use super::*;

    fn slot(pillar: u16, seq: u64) -> Decided {
        let (view, certificate) = (View(0), Arc::from([]));
        Decided { pillar: PillarId(pillar), seq: Seq(seq), view, body: Arc::new(Body::empty()), certificate }
    }

    #[test]
    fn slots_come_out_in_order_and_memory_is_bounded() {
        let each = cost(&slot(0, 1));
        let mut kept = KeptSlots::new(2, 3 * each);
        for (pillar, seq) in [(1, 7), (0, 7), (1, 6), (0, 7)] {
            assert!(kept.insert(slot(pillar, seq)));
        }
        let mut order = Vec::new();
        while let Some(first) = kept.first() {
            order.push((first.pillar.0, first.seq.0));
            kept.pop();
        }
        assert_eq!((order, kept.bytes), (vec![(1, 6), (0, 7), (1, 7)], 0));
        (1..=3).for_each(|seq| assert!(kept.insert(slot(0, seq))));
        assert!(!kept.insert(slot(0, 4)));
        assert!(kept.is_empty());
        assert_eq!(kept.bytes, 0);
    }
}
