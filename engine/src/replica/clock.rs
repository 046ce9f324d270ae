use std::time::{self, SystemTime};

use hypostyle_app_api::{Instant, Now, Timestamp};

/// The clocks of a replica, read once a turn and handed to the cores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(time::Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(time::Instant::now())
    }

    pub(crate) fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { instant: Instant(0) + self.0.elapsed(), wall: Timestamp(0) + wall }
    }
}
