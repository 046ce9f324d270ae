use std::collections::VecDeque;

use hypostyle_app_api::Seq;

use crate::slot::Slot;

/// The slots a pillar keeps: one window below the stable round for laggards, two above it. Slots are made on demand.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    replicas: u16,
    /// Number of the first slot in `slots`.
    first: Seq,
    slots: VecDeque<Slot>,
    /// The highest number that may be kept.
    last: Seq,
}

impl Log {
    pub(crate) fn new(replicas: u16, window: u64) -> Self {
        Self { replicas, first: Seq(1), slots: VecDeque::new(), last: Seq(2 * window) }
    }

    pub(crate) fn keeps(&self, seq: Seq) -> bool {
        (self.first..=self.last).contains(&seq)
    }

    pub(crate) fn first(&self) -> Seq {
        self.first
    }

    /// The highest slot anything is known of.
    pub(crate) fn end(&self) -> Seq {
        Seq(self.first.0 + self.slots.len() as u64 - 1)
    }

    pub(crate) fn get(&self, seq: Seq) -> Option<&Slot> {
        self.slots.get(self.index(seq)?)
    }

    pub(crate) fn get_mut(&mut self, seq: Seq) -> Option<&mut Slot> {
        let index = self.index(seq)?;
        self.slots.get_mut(index)
    }

    pub(crate) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut()
    }

    /// The slot, made if it isn't there yet; `None` outside what is kept.
    pub(crate) fn entry(&mut self, seq: Seq) -> Option<&mut Slot> {
        let index = self.index(seq)?;
        if seq > self.last {
            return None;
        }
        while self.slots.len() <= index {
            self.slots.push_back(Slot::new(self.replicas));
        }
        self.slots.get_mut(index)
    }

    /// Forgets the slots below `first` and raises the upper end to `last`.
    pub(crate) fn slide(&mut self, first: Seq, last: Seq) {
        self.last = self.last.max(last);
        while self.first < first {
            self.slots.pop_front();
            self.first.0 += 1;
        }
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        usize::try_from(seq.0.checked_sub(self.first.0)?).ok()
    }
}
