#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bugs;

pub use bugs::Bug;

/// Counts that a rare path was taken.
#[macro_export]
macro_rules! mark {
    ($name:literal) => {
        $crate::hit($name)
    };
}

/// Whether a seeded bug is switched on in this thread.
#[macro_export]
macro_rules! bug {
    ($bug:expr) => {
        $crate::is_on($bug)
    };
}

#[cfg(feature = "probe")]
mod on {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use crate::Bug;

    thread_local! {
        static MARKS: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
        static BUG: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    #[doc(hidden)]
    pub fn hit(name: &'static str) {
        MARKS.with_borrow_mut(|marks| *marks.entry(name).or_default() += 1);
    }

    #[doc(hidden)]
    #[must_use]
    pub fn is_on(bug: Bug) -> bool {
        BUG.get() == Some(bug)
    }

    /// Takes the marks hit in this thread since the last call.
    #[must_use]
    pub fn take_marks() -> BTreeMap<&'static str, u64> {
        MARKS.take()
    }

    /// Switches a seeded bug on in this thread, or all off.
    pub fn switch(bug: Option<Bug>) {
        BUG.set(bug);
    }
}

#[cfg(feature = "probe")]
pub use on::{hit, is_on, switch, take_marks};

#[cfg(not(feature = "probe"))]
#[doc(hidden)]
#[inline(always)]
pub fn hit(_name: &'static str) {}

#[cfg(not(feature = "probe"))]
#[doc(hidden)]
#[must_use]
#[inline(always)]
pub const fn is_on(_bug: Bug) -> bool {
    false
}
