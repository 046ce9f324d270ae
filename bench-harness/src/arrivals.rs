use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::SeedableRng as _;
use rand_distr::{Distribution as _, Exp1};
use rand_pcg::Pcg64Mcg;

use crate::cli::Arrivals;

/// When the operations of an open loop are due. It knows nothing of what is answered: an operation that can't be sent in
/// time stays due at its time.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    mean_s: f64,
    arrivals: Arrivals,
    random: Pcg64Mcg,
    /// Since the load began, s.
    next_s: f64,
}

impl Schedule {
    /// `rate` operations a second; equal seeds give equal schedules.
    #[must_use]
    pub(crate) fn new(rate: f64, arrivals: Arrivals, seed: u64) -> Self {
        let random = Pcg64Mcg::seed_from_u64(seed);
        let mut schedule = Self { mean_s: 1.0 / rate, arrivals, random, next_s: 0.0 };
        schedule.advance();
        schedule
    }

    /// When the next operation is due, since the load began.
    #[must_use]
    pub(crate) fn next(&self) -> Duration {
        Duration::from_secs_f64(self.next_s)
    }

    /// The next operation was sent.
    pub(crate) fn advance(&mut self) {
        let factor: f64 = match self.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson => Exp1.sample(&mut self.random),
        };
        self.next_s += self.mean_s * factor;
    }
}

/// Wakes a loop that waits for the network when an operation is due: that wait knows whole milliseconds only.
#[derive(Debug)]
pub(crate) struct Alarm {
    orders: Sender<Instant>,
    set: Option<Instant>,
}

impl Alarm {
    /// A thread that calls `wake`; it ends with this value.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(wake: Box<dyn Fn() + Send + Sync>) -> anyhow::Result<Self> {
        let (orders, receiver) = channel::<Instant>();
        let work = move || {
            // 50 µs of slack, the kernel's default, would count as latency.
            let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
            let Ok(mut due) = receiver.recv() else { return };
            loop {
                match receiver.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Ok(other) => due = other,
                    Err(RecvTimeoutError::Timeout) => {
                        wake();
                        let Ok(next) = receiver.recv() else { return };
                        due = next;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        std::thread::Builder::new().name("alarm".into()).spawn(work).context("no thread for the alarm")?;
        Ok(Self { orders, set: None })
    }

    /// Wakes the loop at `due`, once.
    pub(crate) fn set(&mut self, due: Instant) {
        if self.set != Some(due) {
            self.set = Some(due);
            // The thread ends only after this value.
            let _ = self.orders.send(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(count: usize, arrivals: Arrivals) -> Vec<f64> {
        let mut schedule = Schedule::new(1000.0, arrivals, 7);
        let due = |schedule: &mut Schedule| {
            let next = schedule.next().as_secs_f64();
            schedule.advance();
            next
        };
        (0..count).map(|_| due(&mut schedule)).collect()
    }

    #[test]
    fn constant_arrivals_keep_their_distance() {
        let due = first(3, Arrivals::Constant);
        for (due, expected) in due.iter().zip([0.001, 0.002, 0.003]) {
            assert!((due - expected).abs() < 1e-8, "{due}");
        }
    }

    #[test]
    fn poisson_arrivals_have_their_rate_and_its_spread() {
        let due = first(100_000, Arrivals::Poisson);
        let gaps: Vec<f64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / 99_999.0;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 99_999.0;
        assert!((mean - 1e-3).abs() < 2e-5, "{mean}");
        // An exponential distribution's deviation is its mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{variance}");
        assert_eq!(due, first(100_000, Arrivals::Poisson));
    }

    #[test]
    fn an_alarm_wakes_once_at_the_latest_time_set() {
        let (sender, woken) = channel();
        let mut alarm =
            Alarm::start(Box::new(move || sender.send(Instant::now()).expect("heard"))).expect("a thread");
        let now = Instant::now();
        alarm.set(now + Duration::from_secs(3600));
        let due = now + Duration::from_millis(5);
        alarm.set(due);
        alarm.set(due);
        let at = woken.recv_timeout(Duration::from_secs(60)).expect("woken");
        assert!(at >= due);
        drop(alarm);
        assert!(woken.recv().is_err(), "once");
    }
}
