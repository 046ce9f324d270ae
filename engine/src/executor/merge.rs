use hypostyle_app_api::{PillarId, Position, Seq};
use hypostyle_pillars::Decided;
use hypostyle_probe::{Bug, bug};

/// Puts the pillars' decided slots, which come in any order, into global position order.
///
/// A ring of `window` slots a pillar, above what was taken; the whole order follows from positions alone, so nothing
/// depends on when or in which order slots arrive.
#[derive(Debug)]
pub struct Merge {
    pillars: u16,
    window: u64,
    next: Position,
    rings: Vec<Box<[Option<Decided>]>>,
}

/// Why a decided slot was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// It is no slot of this cluster.
    #[error("no such slot")]
    NoSuchSlot,
    /// It was executed already.
    #[error("slot already executed")]
    Executed,
    /// It is waiting already.
    #[error("slot already decided")]
    Duplicate,
    /// It is beyond the window.
    #[error("slot beyond the window")]
    BeyondWindow,
}

impl Merge {
    /// Starts before slot 1 of `pillars` pillars and keeps up to `window` slots of each: twice the pillars' own L.
    ///
    /// # Panics
    /// When either is 0 or the window doesn't fit memory: the configuration is checked.
    #[must_use]
    pub fn new(pillars: u16, window: u64) -> Self {
        assert!(pillars > 0 && window > 0, "{pillars} pillars with a window of {window}");
        let slots = usize::try_from(window).expect("the window fits memory");
        let ring = || std::iter::repeat_with(|| None).take(slots).collect();
        let rings = std::iter::repeat_with(ring).take(usize::from(pillars)).collect();
        Self { pillars, window, next: Position(0), rings }
    }

    /// Takes a decided slot.
    ///
    /// # Errors
    /// When the slot was taken before, or is outside the window. Nothing changes then.
    pub fn insert(&mut self, decided: Decided) -> Result<(), Refusal> {
        if decided.pillar.0 >= self.pillars || decided.seq.0 == 0 {
            return Err(Refusal::NoSuchSlot);
        }
        let (pillar, seq) = self.next.slot(self.pillars);
        // The lowest slot of this pillar that wasn't taken yet.
        let lowest = seq.0 + u64::from(decided.pillar < pillar);
        if decided.seq.0 < lowest {
            return Err(Refusal::Executed);
        }
        if decided.seq.0 - lowest >= self.window {
            return Err(Refusal::BeyondWindow);
        }
        let index = self.index(decided.seq);
        let place = &mut self.rings[decided.pillar.index()][index];
        if place.is_some() {
            return Err(Refusal::Duplicate);
        }
        *place = Some(decided);
        Ok(())
    }

    /// The next slot in global order, once it is decided.
    pub fn take(&mut self) -> Option<(Position, Decided)> {
        let (mut pillar, seq) = self.next.slot(self.pillars);
        let index = self.index(seq);
        if bug!(Bug::MergeByArrival) {
            let there = (0..self.pillars).find(|p| self.rings[usize::from(*p)][index].is_some());
            pillar = there.map_or(pillar, PillarId);
        }
        let decided = self.rings[pillar.index()][index].take()?;
        debug_assert_eq!((decided.pillar, decided.seq), (pillar, seq));
        let position = self.next;
        self.next = Position(position.0 + 1 + u64::from(bug!(Bug::MergeLeavesGaps)));
        Some((position, decided))
    }

    /// Goes on at `position`, with the slots from there on that it holds.
    pub fn install(&mut self, position: Position) {
        self.next = position;
        let (pillar, seq) = position.slot(self.pillars);
        for (index, ring) in (0..).zip(&mut self.rings) {
            let lowest = seq.0 + u64::from(index < pillar.0);
            let kept = lowest..lowest.saturating_add(self.window);
            for place in ring {
                place.take_if(|slot| !kept.contains(&slot.seq.0));
            }
        }
    }

    /// Whether [`Merge::take`] has a slot to give.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let (pillar, seq) = self.next.slot(self.pillars);
        self.rings[pillar.index()][self.index(seq)].is_some()
    }

    /// The position of the slot that is taken next: as many as were taken.
    #[must_use]
    pub fn position(&self) -> Position {
        self.next
    }

    fn index(&self, seq: Seq) -> usize {
        usize::try_from(seq.0 % self.window).expect("below the window")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hypostyle_app_api::{PillarId, View};
    use hypostyle_pillars::message::Body;
    use proptest::prelude::*;

    use super::*;

    fn decided(pillar: u16, seq: u64) -> Decided {
        let certificate = Arc::from([]);
        // The view is a mark to tell slots apart by.
        let view = View(seq.wrapping_mul(1000) + u64::from(pillar));
        Decided { pillar: PillarId(pillar), seq: Seq(seq), view, body: Arc::new(Body::empty()), certificate }
    }

    fn taken(merge: &mut Merge) -> Vec<(u16, u64)> {
        let pillars = merge.pillars;
        std::iter::from_fn(|| merge.take())
            .map(|(position, slot)| {
                let mark = View(slot.seq.0 * 1000 + u64::from(slot.pillar.0));
                assert_eq!((slot.view, Position::of(slot.pillar, slot.seq, pillars)), (mark, position));
                (slot.pillar.0, slot.seq.0)
            })
            .collect()
    }

    #[test]
    fn waits_for_the_slot_that_is_next() {
        let mut merge = Merge::new(2, 4);
        merge.insert(decided(1, 1)).unwrap();
        merge.insert(decided(0, 2)).unwrap();
        assert!(!merge.is_ready());
        assert_eq!(taken(&mut merge), []);
        merge.insert(decided(0, 1)).unwrap();
        assert!(merge.is_ready());
        assert_eq!(taken(&mut merge), [(0, 1), (1, 1), (0, 2)]);
        assert_eq!(merge.position(), Position(3));
    }

    #[test]
    fn refuses_what_it_has_had_or_cannot_hold() {
        let mut merge = Merge::new(2, 4);
        for seq in 1..=4 {
            merge.insert(decided(0, seq)).unwrap();
        }
        assert_eq!(merge.insert(decided(0, 5)), Err(Refusal::BeyondWindow));
        assert_eq!(merge.insert(decided(0, u64::MAX)), Err(Refusal::BeyondWindow));
        assert_eq!(merge.insert(decided(0, 4)), Err(Refusal::Duplicate));
        assert_eq!(merge.insert(decided(2, 1)), Err(Refusal::NoSuchSlot));
        assert_eq!(merge.insert(decided(0, 0)), Err(Refusal::NoSuchSlot));
        assert_eq!(taken(&mut merge), [(0, 1)]);
        assert_eq!(merge.insert(decided(0, 1)), Err(Refusal::Executed));
        assert_eq!(merge.insert(decided(0, 5)), Ok(()), "pillar 0's window moved");
        assert_eq!(merge.insert(decided(1, 5)), Err(Refusal::BeyondWindow), "pillar 1's didn't");
    }

    proptest! {
        /// Whatever the arrival order, and however taking is interleaved with it, the order is that of positions.
        #[test]
        fn the_order_is_independent_of_arrival(
            pillars in 1u16..=8,
            keys in prop::collection::vec(any::<u32>(), 96),
            take_at in prop::collection::vec(any::<bool>(), 96),
        ) {
            let rounds = 12;
            let all: Vec<_> = (1..=rounds).flat_map(|seq| (0..pillars).map(move |p| (p, seq))).collect();
            let mut arrival: Vec<_> = all.iter().copied().zip(&keys).collect();
            arrival.sort_by_key(|(_, key)| **key);
            let mut merge = Merge::new(pillars, rounds);
            let mut order = Vec::new();
            for (((pillar, seq), _), take) in arrival.into_iter().zip(take_at) {
                prop_assert_eq!(merge.insert(decided(pillar, seq)), Ok(()));
                prop_assert!(merge.insert(decided(pillar, seq)).is_err());
                if take {
                    order.extend(taken(&mut merge));
                }
            }
            order.extend(taken(&mut merge));
            prop_assert_eq!(order, all);
        }
    }
}
