//! Waiting for something that can only be looked at.

use std::time::{Duration, Instant};

/// Looks until `look` returns something, for at most `patience`. The last look comes after the deadline, so a loaded
/// machine that stalls this thread fails no test.
pub fn eventually<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        let last = Instant::now() >= deadline;
        let found = look();
        if found.is_some() || last {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
