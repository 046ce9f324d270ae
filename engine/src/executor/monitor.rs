use std::time::Duration;

use hypostyle_app_api::PillarId;

/// Which primaries hold up the merge though they are never late enough to be blamed: slow ones, and those that fill slots
/// with what was executed before (Clement et al., NSDI'09: Aardvark; here pillars are compared with each other).
///
/// Everything counts from one stable checkpoint to the next.
#[derive(Debug)]
pub struct Monitor {
    timeout: Duration,
    /// For how long each pillar has kept the others' decided slots waiting.
    lags: Box<[Duration]>,
    /// Batches of each pillar that held nothing new.
    replays: Box<[u64]>,
    replays_max: u64,
    /// A pillar is slow from so many times the median lag on; doubles with each primary that is found slow, and falls back
    /// by half with each checkpoint that finds none.
    factor: u32,
    found: bool,
}

const FACTOR_MIN: u32 = 2;
const FACTOR_MAX: u32 = 64;

impl Monitor {
    /// For P = `pillars`, K = `interval` and the view timeout.
    #[must_use]
    pub fn new(pillars: u16, interval: u64, timeout: Duration) -> Self {
        let pillars = usize::from(pillars);
        Self {
            timeout,
            lags: vec![Duration::ZERO; pillars].into(),
            replays: vec![0; pillars].into(),
            // View changes make correct primaries propose some requests twice.
            replays_max: (interval / 2).max(4),
            factor: FACTOR_MIN,
            found: false,
        }
    }

    /// A pillar has lagged for so long since the last stable checkpoint. True when its primary is slow.
    pub fn lags(&mut self, pillar: PillarId, lag: Duration) -> bool {
        let Some(place) = self.lags.get_mut(pillar.index()) else { return false };
        *place = lag;
        let mut others: Vec<_> = self.lags.to_vec();
        others.sort_unstable();
        // With two pillars it is the lower one: each is compared with the other.
        let median = others[(others.len() - 1) / 2];
        let slow = lag >= median.saturating_mul(self.factor).saturating_add(2 * self.timeout);
        if slow {
            self.find(pillar);
        }
        slow
    }

    /// A pillar's batch held nothing but what was executed before. True when its primary is wasteful.
    pub fn replayed(&mut self, pillar: PillarId) -> bool {
        let Some(replays) = self.replays.get_mut(pillar.index()) else { return false };
        *replays += 1;
        let wasteful = *replays > self.replays_max;
        if wasteful {
            self.find(pillar);
        }
        wasteful
    }

    /// A checkpoint became stable.
    pub fn stable(&mut self) {
        self.lags.fill(Duration::ZERO);
        self.replays.fill(0);
        if !std::mem::take(&mut self.found) {
            self.factor = (self.factor / 2).max(FACTOR_MIN);
        }
    }

    fn find(&mut self, pillar: PillarId) {
        self.found = true;
        self.factor = (self.factor * 2).min(FACTOR_MAX);
        self.lags[pillar.index()] = Duration::ZERO;
        self.replays[pillar.index()] = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const T: Duration = Duration::from_millis(500);

    fn monitor() -> Monitor {
        Monitor::new(4, 32, T)
    }

    #[test]
    fn a_pillar_that_alone_lags_is_slow_and_all_together_are_not() {
        let mut alone = monitor();
        assert!(!alone.lags(PillarId(1), SECOND - T));
        assert!(alone.lags(PillarId(1), SECOND));
        let mut together = monitor();
        for pillar in 0..4 {
            together.lags(PillarId(pillar), SECOND - T / 2);
        }
        assert!(!together.lags(PillarId(1), 2 * SECOND));
        assert!(together.lags(PillarId(1), 3 * SECOND));
    }

    #[test]
    fn the_bar_rises_with_each_that_is_found_and_comes_down_again() {
        let mut monitor = monitor();
        let bar = |monitor: &mut Monitor| {
            for pillar in [0, 2, 3] {
                monitor.lags(PillarId(pillar), T);
            }
            let slow = |monitor: &mut Monitor, lag: u32| monitor.lags(PillarId(1), lag * T);
            (1..200).find(|lag| slow(monitor, *lag)).unwrap_or(0)
        };
        assert_eq!(bar(&mut monitor), 4);
        assert_eq!(bar(&mut monitor), 6);
        monitor.stable();
        assert_eq!(bar(&mut monitor), 10);
        for _ in 0..10 {
            monitor.stable();
        }
        assert_eq!(bar(&mut monitor), 4);
    }

    #[test]
    fn a_few_replays_are_forgiven_at_each_checkpoint() {
        let mut monitor = monitor();
        assert!((0..16).all(|_| !monitor.replayed(PillarId(2))));
        monitor.stable();
        assert!((0..16).all(|_| !monitor.replayed(PillarId(2))));
        assert!(monitor.replayed(PillarId(2)));
        assert!(!monitor.replayed(PillarId(9)));
    }
}
