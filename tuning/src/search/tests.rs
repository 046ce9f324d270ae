use hypostyle::config::{Count, Executor};

use super::*;
use crate::settings::tests::{DEFAULT, small};
use crate::settings::{AXES, Axis};

/// A machine that isn't there: a score for settings, noise, a time for each trial, and a clock.
struct Fake {
    surface: fn(Settings) -> Option<f64>,
    noise: f64,
    random: u64,
    budget: Duration,
    spent: Duration,
    took: Duration,
    preparing: Duration,
}

impl Fake {
    fn new(surface: fn(Settings) -> Option<f64>, noise: f64, seed: u64) -> Self {
        let took = Duration::from_millis(2300);
        let budget = Duration::from_secs(120);
        let preparing = Duration::from_secs(1);
        Self { surface, noise, random: seed * 2 + 1, budget, spent: Duration::ZERO, took, preparing }
    }

    /// From -1 to 1, by a linear congruence.
    fn random(&mut self) -> f64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.random >> 33).expect("31 bits")) / f64::from(1_u32 << 30) - 1.0
    }

    /// Drives a search to its end. A trial takes up to a tenth more or less, the first of any settings a second more.
    fn drive(&mut self, space: Space) -> Search {
        let mut search = Search::new(space, DEFAULT, Duration::from_secs(3));
        while let Some(settings) = search.next(self.budget.saturating_sub(self.spent)) {
            let fresh = search.trials().iter().all(|trial| trial.settings != settings);
            let measuring = self.took.mul_f64(1.0 + 0.1 * self.random());
            let took = Took { measuring, preparing: self.preparing * u32::from(fresh) };
            self.spent += took.measuring + took.preparing;
            let noise = 1.0 + self.noise * self.random();
            search.record((self.surface)(settings).map(|score| score * noise), took);
        }
        search
    }
}

/// Best at P = 2, batch 1600, bundle 16, an executor's thread.
fn hill(settings: Settings) -> Option<f64> {
    let off = |value: u32, best: u32| (f64::from(value).log2() - f64::from(best).log2()).abs();
    let thread = if settings.threads.executor == Executor::Thread { 1.0 } else { 0.93 };
    let off = off(settings.pillars.into(), 2) * 0.15
        + off(settings.batch_max, 1600) * 0.08
        + off(settings.bundle.into(), 16) * 0.05;
    Some(100_000.0 * (1.0 - off) * thread)
}

fn flat(_: Settings) -> Option<f64> {
    Some(100_000.0)
}

/// Everything but the default is worse.
fn peak_at_default(settings: Settings) -> Option<f64> {
    Some(if settings == DEFAULT { 100_000.0 } else { 90_000.0 })
}

#[test]
fn without_noise_the_top_of_the_hill_is_found() {
    let search = Fake::new(hill, 0.0, 1).drive(small());
    let verdict = search.verdict();
    assert_eq!(verdict.reason, Reason::NoWorse);
    let Settings { pillars, batch_max, bundle, threads, .. } = verdict.chosen;
    assert_eq!((pillars, batch_max, bundle, threads.executor), (2, 1600, 16, Executor::Thread));
}

#[test]
fn under_noise_what_is_chosen_is_truly_better() {
    let worth = |settings| hill(settings).expect("a score");
    for seed in 0..200 {
        let chosen = Fake::new(hill, 0.04, seed).drive(small()).verdict().chosen;
        assert!(worth(chosen) > 1.2 * worth(DEFAULT), "seed {seed}: {chosen}");
    }
}

#[test]
fn the_default_stays_where_nothing_is_better() {
    for seed in 0..200 {
        let search = Fake::new(peak_at_default, 0.03, seed).drive(small());
        assert_eq!(search.verdict().chosen, DEFAULT, "seed {seed}");
    }
}

#[test]
fn luck_in_the_heats_counts_for_nothing_in_the_final() {
    let mut kept = 0;
    for seed in 0..200 {
        let search = Fake::new(flat, 0.05, seed).drive(small());
        let verdict = search.verdict();
        let finals = search.trials().iter().filter(|trial| trial.part == Part::Final);
        let scores = |settings| {
            let own = finals.clone().filter(move |trial| trial.settings == settings);
            median(own.map(|trial| trial.score))
        };
        match verdict.reason {
            Reason::NoWorse => assert!(scores(verdict.chosen) >= scores(DEFAULT), "seed {seed}"),
            _ => kept += 1,
        }
    }
    assert!(kept > 40, "about half of the finals are lost to the default: {kept}");
}

#[test]
fn default_and_chosen_alternate_in_the_final() {
    let search = Fake::new(hill, 0.02, 7).drive(small());
    let chosen = search.verdict().chosen;
    let finals: Vec<Settings> = search
        .trials()
        .iter()
        .filter(|trial| trial.part == Part::Final)
        .map(|trial| trial.settings)
        .collect();
    assert!(finals.len() >= 6, "{}", finals.len());
    assert!(finals.chunks(2).all(|pair| pair == [DEFAULT, chosen]));
    assert_eq!(search.trials()[0].settings, DEFAULT);
}

#[test]
fn it_ends_within_any_budget() {
    for seconds in [0, 3, 5, 8, 13, 20, 40, 120, 600] {
        for seed in 0..50 {
            let mut fake = Fake::new(hill, 0.05, seed);
            fake.budget = Duration::from_secs(seconds);
            let search = fake.drive(small());
            // The default is measured whatever the budget.
            let Took { preparing, measuring } = search.trials()[0].took;
            assert!(
                fake.spent <= fake.budget.max(preparing + measuring),
                "{seconds} s, seed {seed}: {:?}",
                fake.spent
            );
            assert_eq!(search.finals() % 2, 0);
        }
    }
}

#[test]
fn a_short_budget_still_looks_and_compares() {
    let mut fake = Fake::new(hill, 0.0, 1);
    fake.budget = Duration::from_secs(20);
    let search = fake.drive(small());
    assert_eq!(search.verdict().reason, Reason::NoWorse);
    fake = Fake { budget: Duration::from_secs(4), ..Fake::new(hill, 0.0, 1) };
    assert_eq!(fake.drive(small()).verdict().reason, Reason::NoTime);
}

#[test]
fn what_is_prepared_once_leaves_time_for_repetitions() {
    let preparing = Duration::from_secs(15);
    let mut fake = Fake { preparing, ..Fake::new(hill, 0.0, 1) };
    let search = fake.drive(small());
    assert!(fake.spent <= fake.budget, "{:?}", fake.spent);
    let fresh = search.trials().iter().filter(|trial| trial.took.preparing == preparing).count();
    assert!(fresh >= 4, "{fresh}");
    assert_eq!(search.verdict().reason, Reason::NoWorse);
}

#[test]
fn settings_that_do_not_run_lose() {
    let surface: fn(Settings) -> Option<f64> =
        |settings| if settings.pillars > 1 { None } else { hill(settings) };
    let chosen = Fake::new(surface, 0.01, 3).drive(small()).verdict().chosen;
    assert_eq!((chosen.pillars, chosen.batch_max), (1, 1600));
}

#[test]
fn an_interrupted_search_says_what_it_has() {
    let mut search = Search::new(small(), DEFAULT, Duration::from_secs(1));
    assert_eq!(search.verdict().reason, Reason::NoTime);
    let long = Duration::from_secs(1000);
    let took = Took { measuring: Duration::from_secs(1), ..Took::default() };
    while let Some(settings) = search.next(long) {
        search.record(hill(settings), took);
        match search.finals() {
            0 => assert_eq!(search.verdict().chosen, DEFAULT),
            1 => assert_eq!(search.verdict().reason, Reason::NoTime),
            _ => assert_eq!(search.verdict().reason, Reason::NoWorse),
        }
    }
}

#[test]
fn what_is_given_is_kept() {
    let axes = vec![Axis::BatchMax];
    let space = Space::of_machine(2, 4, axes);
    let search = Fake::new(hill, 0.0, 1).drive(space);
    let kept = |trial: &Trial| Settings { batch_max: 400, ..trial.settings } == DEFAULT;
    assert!(search.trials().iter().all(kept));
    assert_eq!(search.verdict().chosen.batch_max, 1600);
    let nothing = Fake::new(hill, 0.0, 1).drive(Space::of_machine(2, 4, Vec::new()));
    assert_eq!(nothing.trials().len(), 1);
}

#[test]
fn no_effect_is_looked_for_twice() {
    let space = Space::of_machine(2, 4, AXES.to_vec());
    let search = Fake::new(peak_at_default, 0.0, 1).drive(space.clone());
    let others: Vec<Settings> =
        search.trials().iter().map(|t| t.settings).filter(|s| *s != DEFAULT).collect();
    for (index, one) in others.iter().enumerate() {
        let same = others[..index].iter().any(|other| space.effect(*other) == space.effect(*one));
        assert!(!same, "{one}");
    }
    assert!(others.iter().any(|one| one.threads.crypto_threads == Count::Fixed(1)));
}
