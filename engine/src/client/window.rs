use std::collections::VecDeque;

use hypostyle_app_api::Number;

/// What is kept of each number above a floor, contiguous and in order: constant time by number. It holds as many
/// as are in use, and its owner never lets that exceed the client window.
#[derive(Debug)]
pub(super) struct Window<T> {
    floor: u64,
    items: VecDeque<T>,
}

impl<T> Window<T> {
    pub(super) fn above(floor: Number) -> Self {
        Self { floor: floor.0, items: VecDeque::new() }
    }

    /// The highest number that is no longer kept: all up to it are settled.
    pub(super) fn floor(&self) -> Number {
        Number(self.floor)
    }

    /// The highest number in use; the floor when there is none.
    pub(super) fn last(&self) -> Number {
        Number(self.floor + self.items.len() as u64)
    }

    pub(super) fn push(&mut self, item: T) {
        self.items.push_back(item);
    }

    pub(super) fn get(&self, number: Number) -> Option<&T> {
        self.items.get(self.index(number)?)
    }

    pub(super) fn get_mut(&mut self, number: Number) -> Option<&mut T> {
        let index = self.index(number)?;
        self.items.get_mut(index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Number, &T)> {
        (self.floor + 1..).map(Number).zip(&self.items)
    }

    /// Raises the floor over the leading items that are `settled`.
    pub(super) fn advance(&mut self, settled: impl Fn(&T) -> bool) {
        while self.items.front().is_some_and(&settled) {
            self.items.pop_front();
            self.floor += 1;
        }
    }

    fn index(&self, number: Number) -> Option<usize> {
        usize::try_from(number.0.checked_sub(self.floor)?.checked_sub(1)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_are_unknown() {
        let mut window = Window::above(Number(10));
        window.push('a');
        window.push('b');
        let at = |n| window.get(Number(n)).copied();
        assert_eq!(
            (at(0), at(10), at(11), at(12), at(13), at(u64::MAX)),
            (None, None, Some('a'), Some('b'), None, None)
        );
        assert_eq!(window.last(), Number(12));
    }

    #[test]
    fn the_floor_passes_only_leading_settled_items() {
        let mut window = Window::above(Number(0));
        for settled in [true, true, false, true] {
            window.push(settled);
        }
        window.advance(|settled| *settled);
        assert_eq!((window.floor(), window.last()), (Number(2), Number(4)));
        if let Some(item) = window.get_mut(Number(3)) {
            *item = true;
        }
        window.advance(|settled| *settled);
        assert_eq!((window.floor(), window.last()), (Number(4), Number(4)));
        assert_eq!(window.iter().count(), 0);
    }
}
