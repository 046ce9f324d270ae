use std::collections::BTreeMap;

/// Divides a number of places among sources: each may hold as many as are left free. One alone gets half, k greedy
/// ones get 1/(k+1) each, and a newcomer always finds room.
pub(super) struct Quota {
    places: usize,
    taken: usize,
    by_source: BTreeMap<u32, usize>,
}

impl Quota {
    pub(super) fn new(places: usize) -> Self {
        Self { places, taken: 0, by_source: BTreeMap::new() }
    }

    /// Takes a place for `source`, if it may have one more.
    pub(super) fn take(&mut self, source: u32) -> bool {
        let free = self.places - self.taken;
        let held = self.by_source.entry(source).or_default();
        let granted = *held < free;
        if granted {
            *held += 1;
            self.taken += 1;
        } else if *held == 0 {
            self.by_source.remove(&source);
        }
        granted
    }

    /// Gives a place back.
    pub(super) fn release(&mut self, source: u32) {
        let held = self.by_source.get_mut(&source).expect("a place was taken");
        *held -= 1;
        self.taken -= 1;
        if *held == 0 {
            self.by_source.remove(&source);
        }
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_sources_leave_room_for_others() {
        let mut quota = Quota::new(120);
        let mut held = [0; 5];
        for _ in 0..1000 {
            for (source, held) in (0u32..).zip(&mut held) {
                *held += usize::from(quota.take(source));
            }
        }
        assert_eq!(held, [20; 5]);
        assert!(quota.take(9));
        quota.release(9);
        for (source, held) in (0u32..).zip(held) {
            (0..held).for_each(|_| quota.release(source));
        }
        assert_eq!((quota.taken(), quota.by_source.len()), (0, 0));
        assert_eq!((0..1000).filter(|_| quota.take(1)).count(), 60);
    }
}
