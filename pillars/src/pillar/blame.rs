//! Whom a pillar blames, and when: the primary that lets what is owed wait, or the oldest request; then the next one, that
//! doesn't begin its view. The merge can't pass an undecided slot, so only the right primary may be blamed.

use std::time::Duration;

use hypostyle_app_api::{Instant, Now, Seq, View};
use hypostyle_probe::{Bug, bug, mark};

use super::Pillar;
use crate::Config;
use crate::outbox::Output;
use crate::requests::Key;

/// The timers of a view.
#[derive(Clone, Debug, Default)]
pub(super) struct Blame {
    /// Consecutive view changes: each doubles the timeouts.
    doublings: u32,
    /// Slots decided since the timeouts last changed.
    progress: u64,
    /// While something is owed: when its primary has had its time.
    slot: Option<Instant>,
    /// The oldest request that waits, and when its primary has had its time. Serving others is no excuse.
    request: Option<(Key, Instant)>,
    /// The same for the Recover that waits longest, by since when it does.
    recover: Option<(Instant, Instant)>,
    /// While 2f+1 replicas wait for a view to begin: when its primary has had its time.
    new_view: Option<Instant>,
    /// How long that is.
    new_view_timeout: Duration,
    /// When this pillar was last stepped: a replica that didn't run can't say that others didn't.
    stepped: Instant,
}

/// The longest timeout is 2^4 times the first.
const DOUBLINGS_MAX: u32 = 4;

impl Blame {
    fn timeout(&self, config: &Config) -> Duration {
        config.view_timeout * (1 << self.doublings)
    }

    /// Whether this pillar wasn't stepped for so long that it can't have run: with a timer running it is stepped twice in a
    /// timeout.
    fn slept(&self, passed: Duration, config: &Config) -> bool {
        passed > config.view_timeout - config.view_timeout / 4
    }

    /// Leaves of each timer only whether it runs.
    pub(super) fn forget_when(&mut self) {
        self.slot = self.slot.map(|_| Instant(0));
        self.request = self.request.map(|(key, _)| (key, Instant(0)));
        self.new_view = self.new_view.map(|_| Instant(0));
        self.stepped = Instant(0);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let request = self.request.map(|(_, at)| at);
        let recover = self.recover.map(|(_, at)| at);
        [self.slot, request, recover, self.new_view].into_iter().flatten().min()
    }

    /// This replica left a view: the next primary has the time that this one had, those after it longer and longer.
    pub(super) fn left(&mut self, config: &Config) {
        self.stop();
        self.new_view_timeout = self.timeout(config);
        self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
    }

    /// A view began, or this replica's word doesn't count for now.
    pub(super) fn stop(&mut self) {
        self.restart();
        self.progress = 0;
    }

    fn restart(&mut self) {
        (self.slot, self.request, self.recover, self.new_view) = (None, None, None, None);
    }

    /// Timeouts fall back by half for every K slots.
    fn decided(&mut self, slots: u64, config: &Config) {
        self.progress += slots;
        while self.progress >= config.checkpoint_interval {
            self.progress -= config.checkpoint_interval;
            self.doublings = self.doublings.saturating_sub(1);
        }
    }
}

impl Pillar {
    /// Starts, restarts and stops the timers after a step.
    pub(super) fn watch_primary(&mut self, now: Now, frontier_before: Seq, out: &mut Vec<Output>) {
        let passed = now.instant.since(self.blame.stepped);
        let slept = self.blame.slept(passed, &self.config);
        self.blame.stepped = now.instant;
        if slept && self.blame.next_deadline().is_some_and(|at| at <= now.instant) {
            mark!("timers restarted after a pause");
            self.blame.restart();
        }
        if !self.views.active {
            let left = self.views.leavers(self.view) >= self.config.quorum();
            if !self.voting {
                self.blame.new_view = None;
            } else if left && self.blame.new_view.is_none() {
                self.blame.new_view = Some(now.instant + self.blame.new_view_timeout);
            }
            return;
        }
        let moved = self.frontier.0.saturating_sub(frontier_before.0);
        self.blame.decided(moved, &self.config);
        // Who takes over a state can't know whether what waits here is executed in it. f+1 correct replicas have executed what
        // is stable, so they take over none.
        let lags = self.frontier < self.settled() || self.transferring;
        if self.leads() || !self.voting || lags || self.frontier >= self.last_acted_on() {
            // Nobody to blame but itself, the checkpoints' voters, or the own application.
            (self.blame.slot, self.blame.request, self.blame.recover) = (None, None, None);
            return;
        }
        if !slept && frontier_before < self.pace.waited_for() {
            let told = self.pace.lags(passed, self.config.view_timeout / 4);
            out.extend(told.map(Output::Lag));
        }
        let due = || now.instant + self.blame.timeout(&self.config);
        let slot = match self.blame.slot {
            _ if self.owed_to() <= self.frontier => None,
            Some(at) if moved == 0 => Some(at),
            _ => Some(due()),
        };
        let request = self.pending.oldest().map(|key| match self.blame.request {
            Some((oldest, at)) if oldest == key => (key, at),
            _ => (key, due()),
        });
        let recover = self.recovers.oldest().map(|since| match self.blame.recover {
            Some((oldest, at)) if oldest == since => (since, at),
            _ => (since, due()),
        });
        (self.blame.slot, self.blame.request, self.blame.recover) = (slot, request, recover);
    }

    /// The primary was found slow or wasteful by comparison.
    pub(super) fn on_slow(&mut self, out: &mut Vec<Output>) {
        if self.views.active
            && !self.leads()
            && let Some(next) = self.view.0.checked_add(1)
        {
            mark!("a slow or wasteful primary is deposed");
            self.leave_for(View(next), out);
        }
    }

    /// Leaves the view when its primary has had its time.
    pub(super) fn blame_primary(&mut self, now: Now, out: &mut Vec<Output>) {
        let past = |at: Option<Instant>| at.is_some_and(|at| at <= now.instant);
        if bug!(Bug::NobodyBlamed) {
            return;
        }
        // What came while this replica didn't run is looked at first.
        if self.blame.slept(now.instant.since(self.blame.stepped), &self.config) {
            return;
        }
        if past(self.blame.slot) {
            mark!("a primary is blamed for a slot");
        } else if past(self.blame.request.map(|(_, at)| at)) {
            mark!("a primary is blamed for a request");
        } else if past(self.blame.recover.map(|(_, at)| at)) {
            mark!("a primary is blamed for a Recover");
        } else if past(self.blame.new_view) {
            mark!("a new primary is blamed");
        } else {
            return;
        }
        if let Some(next) = self.view.0.checked_add(1) {
            self.leave_for(View(next), out);
        }
    }
}
