use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cluster::Cluster;
use crate::status;
use crate::timeline::Event;

/// Something done to a replica while it is measured: `crash:0@2s`, `pause:0@2s+1s`, `slow:0@2s+3s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: Kind,
    replica: u16,
    at: Duration,
    length: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Crash,
    Pause,
    Slow,
}

/// A slow replica runs for the first of these times, then stands still for the second, and so on.
const RUNS: Duration = Duration::from_millis(2);
const STANDS: Duration = Duration::from_millis(18);
/// Views are asked for as often, so that the timeline shows when they changed.
const WATCH: Duration = Duration::from_millis(50);

impl Fault {
    /// Whom it befalls.
    #[must_use]
    pub(crate) fn replica(&self) -> usize {
        self.replica.into()
    }

    /// When it is over; a crash at once.
    #[must_use]
    pub(crate) fn end(&self) -> Duration {
        self.at + self.length
    }

    fn actions(&self) -> Vec<Action> {
        let action = |at, signal, what: Option<&str>| Action {
            at,
            replica: self.replica(),
            signal,
            what: what.map(|what| format!("replica {} {what}", self.replica)),
        };
        let end = self.end();
        match self.kind {
            Kind::Crash => vec![action(self.at, Signal::KILL, Some("killed"))],
            Kind::Pause => vec![
                action(self.at, Signal::STOP, Some("paused")),
                action(end, Signal::CONT, Some("goes on")),
            ],
            Kind::Slow => {
                let mut actions = Vec::new();
                let mut now = self.at;
                while now < end {
                    let first = actions.is_empty().then_some("made slow");
                    actions.push(action(now, Signal::STOP, first));
                    actions.push(action((now + STANDS).min(end), Signal::CONT, None));
                    now += STANDS + RUNS;
                }
                actions.push(action(end, Signal::CONT, Some("as fast as before")));
                actions
            }
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "expected KIND:REPLICA@WHEN[+LENGTH]: crash:0@2s, pause:0@2s+1s or slow:0@2s+3s".to_owned();
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (replica, when) = rest.split_once('@').ok_or_else(wrong)?;
        let duration = |text: &str| humantime::parse_duration(text).map_err(|_| wrong());
        let (kind, at, length) = match (kind, when.split_once('+')) {
            ("crash", None) => (Kind::Crash, when, Duration::ZERO),
            ("pause", Some((at, length))) => (Kind::Pause, at, duration(length)?),
            ("slow", Some((at, length))) => (Kind::Slow, at, duration(length)?),
            _ => return Err(wrong()),
        };
        Ok(Self { kind, replica: replica.parse().map_err(|_| wrong())?, at: duration(at)?, length })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = humantime::format_duration(self.at);
        let length = humantime::format_duration(self.length);
        match self.kind {
            Kind::Crash => write!(f, "crash:{}@{at}", self.replica),
            Kind::Pause => write!(f, "pause:{}@{at}+{length}", self.replica),
            Kind::Slow => write!(f, "slow:{}@{at}+{length}", self.replica),
        }
    }
}

/// Makes the faults of a run when they are due, and watches the other replicas' views.
#[derive(Debug)]
pub(crate) struct Director {
    began: Instant,
    /// The next one last.
    actions: Vec<Action>,
    faulty: Vec<usize>,
    watched: Option<Instant>,
    events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Action {
    at: Duration,
    replica: usize,
    signal: Signal,
    what: Option<String>,
}

impl Director {
    /// For a window that begins now.
    #[must_use]
    pub(crate) fn begin(faults: &[Fault]) -> Self {
        let began = Instant::now();
        let faulty: Vec<usize> = faults.iter().map(Fault::replica).collect();
        let watched = (!faulty.is_empty()).then_some(began);
        Self { began, actions: actions(faults), faulty, watched, events: Vec::new() }
    }

    /// When there is something to do again, if ever.
    #[must_use]
    pub(crate) fn next(&self) -> Option<Instant> {
        let action = self.actions.last().map(|action| self.began + action.at);
        action.into_iter().chain(self.watched).min()
    }

    /// Does what is due.
    ///
    /// # Errors
    /// When a replica that should live doesn't.
    pub(crate) fn act(&mut self, cluster: &mut Cluster) -> anyhow::Result<()> {
        while self.actions.last().is_some_and(|action| self.began.elapsed() >= action.at) {
            let action = self.actions.pop().expect("there is one");
            cluster.signal(action.replica, action.signal)?;
            if let Some(what) = action.what {
                let view_changes = self.view_changes();
                self.events.push(Event { at: self.began.elapsed(), what, view_changes });
            }
        }
        if self.watched.is_some_and(|at| at <= Instant::now()) {
            let views = status::view_changes(&cluster.statuses_but(&self.faulty)?);
            if views > self.view_changes() {
                let what = format!("{views} view changes so far");
                self.events.push(Event { at: self.began.elapsed(), what, view_changes: views });
            }
            self.watched = Some(Instant::now() + WATCH);
        }
        Ok(())
    }

    /// Whether every fault was made, and is over.
    #[must_use]
    pub(crate) fn is_done(&self) -> bool {
        self.actions.is_empty()
    }

    /// What was done and seen.
    #[must_use]
    pub(crate) fn events(self) -> Vec<Event> {
        self.events
    }

    fn view_changes(&self) -> u64 {
        self.events.last().map_or(0, |event| event.view_changes)
    }
}

/// All actions, the first one last.
fn actions(faults: &[Fault]) -> Vec<Action> {
    let mut actions: Vec<Action> = faults.iter().flat_map(Fault::actions).collect();
    actions.sort_by_key(|action| action.at);
    actions.reverse();
    actions
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn parsed(text: &str) -> Fault {
        text.parse().expect(text)
    }

    #[test]
    fn a_fault_reads_as_it_is_written() {
        for text in ["crash:0@2s", "pause:3@500ms+1s", "slow:1@2s+3s"] {
            assert_eq!(parsed(text).to_string(), text);
        }
        for text in [
            "",
            "crash",
            "crash:0",
            "crash:0@2",
            "crash:0@2s+1s",
            "pause:0@2s",
            "stop:0@1s+1s",
            "slow:x@1s+1s",
        ] {
            assert!(text.parse::<Fault>().is_err_and(|error| error.contains("crash:0@2s")), "{text}");
        }
    }

    #[test]
    fn the_next_action_stands_last() {
        let actions = actions(&[parsed("pause:1@2s+1s"), parsed("crash:0@2500ms")]);
        let order: Vec<(u128, usize, Signal)> = actions
            .iter()
            .rev()
            .map(|action| (action.at.as_millis(), action.replica, action.signal))
            .collect();
        assert_eq!(order, [(2000, 1, Signal::STOP), (2500, 0, Signal::KILL), (3000, 1, Signal::CONT)]);
    }

    #[test]
    fn a_slow_replica_runs_a_tenth_of_the_time_and_is_let_go_in_the_end() {
        let actions = parsed("slow:0@1s+1s").actions();
        let stood: Duration = actions[..actions.len() - 1]
            .chunks(2)
            .map(|pair| {
                assert_eq!((pair[0].signal, pair[1].signal), (Signal::STOP, Signal::CONT));
                pair[1].at - pair[0].at
            })
            .sum();
        assert_eq!(stood, 900 * MS);
        let last = actions.last().expect("there are some");
        assert_eq!((last.at, last.signal), (2000 * MS, Signal::CONT));
    }
}
