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
        static SUSPENDED: Cell<bool> = const { Cell::new(false) };
    }

    #[doc(hidden)]
    #[inline]
    pub fn hit(name: &'static str) {
        if !SUSPENDED.get() {
            MARKS.with_borrow_mut(|marks| *marks.entry(name).or_default() += 1);
        }
    }

    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn is_on(bug: Bug) -> bool {
        BUG.get() == Some(bug) && !SUSPENDED.get()
    }

    /// Takes the marks hit in this thread since the last call.
    #[must_use]
    pub fn take_marks() -> BTreeMap<&'static str, u64> {
        MARKS.take()
    }

    /// Runs something, in this thread, that counts no marks and has no bugs: what others are compared with.
    pub fn suspended<T>(run: impl FnOnce() -> T) -> T {
        let before = SUSPENDED.replace(true);
        let result = run();
        SUSPENDED.set(before);
        result
    }

    /// Switches a seeded bug on in this thread, or all off.
    pub fn switch(bug: Option<Bug>) {
        BUG.set(bug);
    }
}

#[cfg(feature = "probe")]
pub use on::{hit, is_on, suspended, switch, take_marks};

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
