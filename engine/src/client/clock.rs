use std::time;

use hypostyle_app_api::Instant;

/// The monotonic clock of one shell, counted from its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(time::Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(time::Instant::now())
    }

    pub(super) fn now(self) -> Instant {
        Instant(0) + self.0.elapsed()
    }

    /// A moment of the system's clock on this one; what was before the start is the start.
    pub(super) fn at(self, moment: time::Instant) -> Instant {
        Instant(0) + moment.saturating_duration_since(self.0)
    }
}
