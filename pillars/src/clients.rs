use hypostyle_app_api::{ClientId, Number};

use crate::message::RequestRef;

/// Which numbers of each client this pillar has taken up: a bitmap of 2W above the client's floor. It only saves work; what
/// executes is decided by the client table.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    windows: Vec<Window>,
    bits: u64,
    /// Operations of one client that may line up at this primary.
    queue_max: u64,
}

/// What a pillar knows of a run of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// At least one is new.
    New,
    /// All were taken up or lie at or below the floor.
    Seen,
    /// The last lies more than 2W above the floor.
    Beyond,
}

#[derive(Clone, Debug, Default)]
struct Window {
    floor: u64,
    /// Bit (number mod 2W) says that a number in floor+1 ..= floor+2W was taken up; made at the first use.
    taken: Box<[u64]>,
    /// Operations that line up at this primary. A client can acknowledge what isn't executed, and so move its window on:
    /// that alone doesn't bound them.
    queued: u64,
}

impl Clients {
    pub(crate) fn new(clients: u32, client_window: u32) -> Self {
        let bits = (2 * u64::from(client_window)).next_multiple_of(64);
        let queue_max = 2 * u64::from(client_window);
        Self { windows: vec![Window::default(); clients as usize], bits, queue_max }
    }

    /// Looks at the numbers of a request that itself acknowledges `floor`.
    pub(crate) fn known(&self, client: ClientId, first: Number, count: u16, floor: Number) -> Known {
        let Some(window) = self.windows.get(client.index()) else {
            return Known::Beyond;
        };
        let last = first.0 + u64::from(count) - 1;
        if last > window.floor.max(floor.0).saturating_add(self.bits) {
            return Known::Beyond;
        }
        let seen = |number| number <= window.floor || window.is_taken(number, self.bits);
        if (first.0..=last).all(seen) { Known::Seen } else { Known::New }
    }

    /// Marks the numbers of a request as taken up.
    pub(crate) fn take(&mut self, client: ClientId, first: Number, count: u16, floor: Number) {
        self.raise(client, floor);
        let bits = self.bits;
        let Some(window) = self.windows.get_mut(client.index()) else {
            return;
        };
        for number in first.0..first.0 + u64::from(count) {
            window.mark(number, bits);
        }
    }

    /// Marks every request of a body.
    pub(crate) fn take_all(&mut self, requests: &[RequestRef]) {
        for r in requests {
            self.take(r.client, r.first, r.count, r.floor);
        }
    }

    /// Whether a request lies within W above its client's floor: then it does so within 2W at a replica that has executed up
    /// to W less.
    pub(crate) fn is_near(&self, client: ClientId, first: Number, count: u16, floor: Number) -> bool {
        let last = first.0 + u64::from(count) - 1;
        let window = self.windows.get(client.index());
        window.is_some_and(|w| last <= w.floor.max(floor.0).saturating_add(self.bits / 2))
    }

    /// Whether all of a request is executed or void.
    pub(crate) fn is_past(&self, r: &RequestRef) -> bool {
        let floor = self.windows.get(r.client.index()).map_or(0, |window| window.floor);
        r.last().0 <= floor
    }

    /// Whether so many operations more may line up.
    pub(crate) fn may_queue(&self, client: ClientId, count: u16) -> bool {
        let window = self.windows.get(client.index());
        window.is_some_and(|window| window.queued + u64::from(count) <= self.queue_max)
    }

    /// So many operations more line up.
    pub(crate) fn queue(&mut self, client: ClientId, count: u16) {
        if let Some(window) = self.windows.get_mut(client.index()) {
            window.queued += u64::from(count);
        }
    }

    /// So many operations are in a batch now, or line up no longer.
    pub(crate) fn leave_queue(&mut self, client: ClientId, count: u16) {
        if let Some(window) = self.windows.get_mut(client.index()) {
            window.queued -= u64::from(count);
        }
    }

    /// Numbers that were taken up aren't any more.
    pub(crate) fn release(&mut self, client: ClientId, first: Number, count: u16) {
        let bits = self.bits;
        if let Some(window) = self.windows.get_mut(client.index()) {
            (first.0..first.0 + u64::from(count)).for_each(|number| window.clear(number, bits));
        }
    }

    /// Nothing is taken up any more but what lies below the floors. What is executed above them is found out by looking it
    /// up when it is asked for again.
    pub(crate) fn forget(&mut self) {
        self.windows.iter_mut().for_each(|window| window.taken.fill(0));
    }

    /// Everything up to `floor` is executed or void.
    pub(crate) fn raise(&mut self, client: ClientId, floor: Number) {
        let bits = self.bits;
        if let Some(window) = self.windows.get_mut(client.index()) {
            window.raise(floor.0, bits);
        }
    }
}

impl Window {
    fn is_taken(&self, number: u64, bits: u64) -> bool {
        if self.taken.is_empty() || number > self.floor.saturating_add(bits) {
            return false;
        }
        let (word, bit) = place(number, bits);
        self.taken[word] & bit != 0
    }

    fn mark(&mut self, number: u64, bits: u64) {
        if number <= self.floor || number > self.floor.saturating_add(bits) {
            return;
        }
        if self.taken.is_empty() {
            self.taken = vec![0; usize::try_from(bits / 64).expect("a client window fits memory")].into();
        }
        let (word, bit) = place(number, bits);
        self.taken[word] |= bit;
    }

    fn clear(&mut self, number: u64, bits: u64) {
        if self.is_taken(number, bits) && number > self.floor {
            let (word, bit) = place(number, bits);
            self.taken[word] &= !bit;
        }
    }

    fn raise(&mut self, floor: u64, bits: u64) {
        if floor <= self.floor {
            return;
        }
        if floor - self.floor >= bits {
            self.taken.fill(0);
        } else if !self.taken.is_empty() {
            for number in self.floor + 1..=floor {
                let (word, bit) = place(number, bits);
                self.taken[word] &= !bit;
            }
        }
        self.floor = floor;
    }
}

fn place(number: u64, bits: u64) -> (usize, u64) {
    let index = number % bits;
    (usize::try_from(index / 64).expect("a client window fits memory"), 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const C: ClientId = ClientId(0);

    #[test]
    fn a_number_is_new_once_and_seen_below_the_floor() {
        let mut clients = Clients::new(1, 64);
        assert_eq!(clients.known(C, Number(1), 1, Number(0)), Known::New);
        clients.take(C, Number(1), 1, Number(0));
        assert_eq!(clients.known(C, Number(1), 1, Number(0)), Known::Seen);
        assert_eq!(clients.known(C, Number(1), 2, Number(0)), Known::New);
        clients.raise(C, Number(9));
        assert_eq!(clients.known(C, Number(9), 1, Number(0)), Known::Seen);
        assert_eq!(clients.known(C, Number(10), 1, Number(0)), Known::New);
        assert_eq!(clients.known(C, Number(9 + 128), 1, Number(0)), Known::New);
        assert_eq!(clients.known(C, Number(10 + 128), 1, Number(0)), Known::Beyond);
    }

    #[test]
    fn a_restarted_client_starts_far_above() {
        let mut clients = Clients::new(1, 64);
        let first = Number(u64::MAX / 2);
        let floor = Number(first.0 - 1);
        assert_eq!(clients.known(C, first, 1, floor), Known::New);
        clients.take(C, first, 1, floor);
        assert_eq!(clients.known(C, first, 1, floor), Known::Seen);
        assert_eq!(clients.known(ClientId(1), first, 1, floor), Known::Beyond);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec((1u64..400, 0u64..3, any::<bool>()), 1..300)) {
            let mut clients = Clients::new(1, 32);
            let (mut taken, mut floor) = (BTreeSet::new(), 0);
            for (number, advance, raise) in steps {
                if raise {
                    floor += advance * 20;
                    clients.raise(C, Number(floor));
                } else if number <= floor + 64 {
                    clients.take(C, Number(number), 1, Number(0));
                    taken.insert(number);
                }
                for probe in 1..400 {
                    let expected = if probe > floor + 64 { Known::Beyond }
                        else if probe <= floor || taken.contains(&probe) { Known::Seen }
                        else { Known::New };
                    prop_assert_eq!(clients.known(C, Number(probe), 1, Number(0)), expected);
                }
            }
        }
    }
}
