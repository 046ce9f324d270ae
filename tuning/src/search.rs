//! Which candidate is measured next. Pure: it is told what was measured, how long that took and what time is left.
//!
//! It walks from the default along one axis after the other. A *heat* measures the best so far (the incumbent) and those
//! beside it on the axis, each once; who leads it meets the incumbent again in a *duel*, and takes its place when
//! its median of both is better. When nothing beside the incumbent is better, or only the time for it is left, the
//! *final* measures default and incumbent in turn. Only the final decides: what won heats by luck has no luck
//! to bring along.

use std::time::Duration;

use hypostyle_bench::summary::Spread;
use serde::Serialize;

use crate::settings::{Settings, Space};

/// One measurement that was made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// What was measured.
    pub settings: Settings,
    /// In which part of the search.
    pub part: Part,
    /// More is better; `None`: the run was invalid.
    pub score: Option<f64>,
    /// How long it took.
    pub took: Took,
}

/// What a trial took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Took {
    /// What is done once for any settings: requests are signed.
    pub preparing: Duration,
    /// The rest, which each repetition takes again.
    pub measuring: Duration,
}

/// A part of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Looking for what is better.
    Heat,
    /// Looking again.
    Duel,
    /// Default and incumbent in turn: what decides.
    Final,
}

/// What the search came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The settings to use.
    pub chosen: Settings,
    /// Why these.
    pub reason: Reason,
}

/// Why settings were chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Measured no worse than the default in the final.
    NoWorse,
    /// The default: nothing beside it led its heat and its duel.
    NothingBetter,
    /// The default: what seemed better measured worse in the final.
    WorseInFinal,
    /// The default: no time was left to measure another in turn with it.
    NoTime,
}

/// The search's state.
#[derive(Clone, Debug)]
pub struct Search {
    space: Space,
    default: Settings,
    incumbent: Settings,
    trials: Vec<Trial>,
    /// What is measured next, in this order.
    queue: Vec<Settings>,
    stage: Stage,
    /// The heat or final that goes on began at this trial.
    since: usize,
    /// The axis of the heat, as an index of the space's.
    axis: usize,
    /// Axes in a row that brought nothing.
    idle_axes: usize,
    /// What a trial is believed to take before one was made.
    guess: Duration,
    /// The time that was left at the beginning.
    whole: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Heat,
    Duel(Settings),
    Final,
    Done,
}

/// Pairs of the final for which time is kept.
const PAIRS_KEPT: u32 = 3;
/// Pairs of the final at most.
const PAIRS_MAX: usize = 7;

impl Search {
    /// Begins at `default`. Before it has seen a trial it believes that one takes `guess`.
    #[must_use]
    pub fn new(space: Space, default: Settings, guess: Duration) -> Self {
        let (axis, stage) = (0, Stage::Heat);
        let mut search = Self {
            space,
            default,
            incumbent: default,
            trials: Vec::new(),
            queue: vec![default],
            stage,
            since: 0,
            axis,
            idle_axes: 0,
            guess,
            whole: None,
        };
        search.queue = search.heat();
        search
    }

    /// What to measure next, when so much time is left; `None`: the search is over. Ask again after
    /// [`record`](Self::record).
    pub fn next(&mut self, left: Duration) -> Option<Settings> {
        let whole = *self.whole.get_or_insert(left);
        loop {
            if self.queue.is_empty() {
                self.conclude();
            }
            let next = *self.queue.first()?;
            match self.stage {
                Stage::Done => return None,
                // A pair is begun when there is time for both.
                Stage::Final if next != self.default || left >= self.pair() => return Some(next),
                Stage::Final => self.stage = Stage::Done,
                _ if self.trials.is_empty() || left >= self.cost(next) + self.kept(whole) => {
                    return Some(next);
                }
                _ => {
                    self.adopt_leader();
                    self.begin_final();
                }
            }
        }
    }

    /// What came of the candidate that [`next`](Self::next) named: its score, `None` when the run was invalid.
    pub fn record(&mut self, score: Option<f64>, took: Took) {
        let settings = self.queue.remove(0);
        let part = match self.stage {
            Stage::Heat => Part::Heat,
            Stage::Duel(_) => Part::Duel,
            Stage::Final | Stage::Done => Part::Final,
        };
        self.trials.push(Trial { settings, part, score, took });
    }

    /// What was measured, in this order.
    #[must_use]
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// The settings that it began at.
    #[must_use]
    pub fn default(&self) -> Settings {
        self.default
    }

    /// What the search has come to so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let keep = |reason| Verdict { chosen: self.default, reason };
        if self.incumbent == self.default {
            let alone = self.trials.iter().all(|trial| trial.settings == self.default);
            let searched = self.space.axes.is_empty() || !alone;
            return keep(if searched { Reason::NothingBetter } else { Reason::NoTime });
        }
        if self.pairs() == 0 {
            return keep(Reason::NoTime);
        }
        let median = |settings| median(self.counted(settings).map(|index| self.trials[index].score));
        if median(self.incumbent) >= median(self.default) && median(self.incumbent).is_finite() {
            return Verdict { chosen: self.incumbent, reason: Reason::NoWorse };
        }
        keep(Reason::WorseInFinal)
    }

    /// The trials of these settings that say what they are worth: those of the final's whole pairs; without any pair, all.
    pub fn counted(&self, settings: Settings) -> impl Iterator<Item = usize> {
        let pairs = self.pairs();
        let counts =
            move |trial: &Trial| trial.settings == settings && (pairs == 0 || trial.part == Part::Final);
        let indices =
            self.trials.iter().enumerate().filter(move |(_, trial)| counts(trial)).map(|(index, _)| index);
        indices.take(if pairs == 0 { usize::MAX } else { pairs })
    }

    /// Pairs of the final of which both were measured.
    fn pairs(&self) -> usize {
        self.finals() / 2
    }

    fn finals(&self) -> usize {
        self.trials.iter().filter(|trial| trial.part == Part::Final).count()
    }

    /// The incumbent and what is new beside it; only the incumbent: nothing is.
    fn heat(&self) -> Vec<Settings> {
        let Some(axis) = self.space.axes.get(self.axis) else { return vec![self.incumbent] };
        let tried = |settings: &Settings| {
            self.trials.iter().any(|trial| self.space.effect(trial.settings) == self.space.effect(*settings))
        };
        let fresh = self.space.neighbours(*axis, self.incumbent).into_iter().filter(|one| !tried(one));
        std::iter::once(self.incumbent).chain(fresh).collect()
    }

    /// Draws the consequence of a queue that was worked through.
    fn conclude(&mut self) {
        match self.stage {
            Stage::Heat => {
                let (since, incumbent) = (self.since, self.incumbent);
                let rivals = self.trials[since..].iter().filter(|trial| trial.settings != incumbent);
                let leader = rivals.max_by(|a, b| value(a.score).total_cmp(&value(b.score)));
                match leader {
                    Some(leader) if value(leader.score) > self.median_since(self.incumbent) => {
                        self.stage = Stage::Duel(leader.settings);
                        self.queue = vec![self.incumbent, leader.settings];
                    }
                    _ => self.turn(false),
                }
            }
            Stage::Duel(rival) => {
                let won = self.median_since(rival) > self.median_since(self.incumbent);
                if won {
                    self.incumbent = rival;
                }
                self.turn(won);
            }
            Stage::Final => match self.pairs() < PAIRS_MAX {
                true => self.queue = vec![self.default, self.incumbent],
                false => self.stage = Stage::Done,
            },
            Stage::Done => {}
        }
    }

    /// On to the next heat: on the same axis after a step, else on the next that has anything new; to the final when none
    /// has.
    fn turn(&mut self, stepped: bool) {
        self.idle_axes = if stepped { 0 } else { self.idle_axes + 1 };
        self.axis = (self.axis + usize::from(!stepped)) % self.space.axes.len().max(1);
        while self.idle_axes < self.space.axes.len() {
            self.queue = self.heat();
            if self.queue.len() > 1 {
                self.stage = Stage::Heat;
                self.since = self.trials.len();
                return;
            }
            self.idle_axes += 1;
            self.axis = (self.axis + 1) % self.space.axes.len();
        }
        self.begin_final();
    }

    /// Time is up in the middle of a heat or duel: its best so far goes into the final, which decides anyway.
    fn adopt_leader(&mut self) {
        let seen = self.trials[self.since..].iter().map(|trial| trial.settings);
        let best = seen.max_by(|a, b| self.median_since(*a).total_cmp(&self.median_since(*b)));
        if let Some(best) = best.filter(|best| self.median_since(*best) > self.median_since(self.incumbent)) {
            self.incumbent = best;
        }
    }

    fn begin_final(&mut self) {
        let nothing = self.incumbent == self.default;
        self.stage = if nothing { Stage::Done } else { Stage::Final };
        self.queue = vec![self.default, self.incumbent];
    }

    /// Of the heat and the duel that go on.
    fn median_since(&self, settings: Settings) -> f64 {
        let own = self.trials[self.since..].iter().filter(|trial| trial.settings == settings);
        median(own.map(|trial| trial.score))
    }

    /// What a trial of these settings takes at most: a quarter more than the last time; where there was none, than any
    /// other's, with what has to be prepared. An invalid run says nothing: it has waited in vain.
    fn cost(&self, settings: Settings) -> Duration {
        let valid = || self.trials.iter().filter(|trial| trial.score.is_some());
        let own = valid().rfind(|trial| trial.settings == settings);
        let most = |part: fn(Took) -> Duration| valid().map(|trial| part(trial.took)).max();
        let seen = match own {
            Some(trial) => trial.took.measuring,
            None => {
                most(|took| took.measuring).unwrap_or(self.guess)
                    + most(|took| took.preparing).unwrap_or_default()
            }
        };
        seen + seen / 4
    }

    /// The time kept for the final: half of the whole at most, but a pair.
    fn kept(&self, whole: Duration) -> Duration {
        let pair = self.pair();
        (PAIRS_KEPT * pair).min(whole / 2).max(pair)
    }

    fn pair(&self) -> Duration {
        self.cost(self.default) + self.cost(self.incumbent)
    }
}

fn value(score: Option<f64>) -> f64 {
    score.unwrap_or(f64::NEG_INFINITY)
}

fn median(scores: impl Iterator<Item = Option<f64>>) -> f64 {
    let values: Vec<f64> = scores.map(value).collect();
    if values.is_empty() { f64::NEG_INFINITY } else { Spread::of(values).median }
}

#[cfg(test)]
mod tests;
