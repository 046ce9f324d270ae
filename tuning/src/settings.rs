use hypostyle::ReplicaId;
use hypostyle::config::{Cores, Count, Executor, Profile, ReplicaConfig, Threads, TunedCluster};
use hypostyle::pinning::{ExecutorPlace, plan};
use serde::{Serialize, Serializer};

/// What is tuned: one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// P.
    pub pillars: u16,
    /// The most operations of a batch.
    pub batch_max: u32,
    /// The most statements of a bundle.
    pub bundle: u16,
    /// The most slots of a pillar in progress.
    pub pipeline: u32,
    /// Threads of each replica.
    #[serde(flatten, serialize_with = "threads")]
    pub threads: Threads,
}

/// A direction of the search: what is changed together, the others kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Pillar counts.
    Pillars,
    /// Batch sizes.
    BatchMax,
    /// Workers and the executor's place.
    Workers,
    /// Crypto threads.
    CryptoThreads,
    /// Bundle sizes.
    Bundle,
    /// Pipeline depths.
    Pipeline,
}

/// All axes, those that usually matter most first.
pub const AXES: [Axis; 6] =
    [Axis::Pillars, Axis::BatchMax, Axis::Workers, Axis::CryptoThreads, Axis::Bundle, Axis::Pipeline];

/// Which settings are candidates.
#[derive(Clone, Debug)]
pub struct Space {
    /// The axes that are searched, in this order.
    pub axes: Vec<Axis>,
    /// Cores that each replica has to itself; with fewer than 2 it shares them all with the others.
    pub own_cores: usize,
    /// The most pillars.
    pub pillars_max: u16,
}

const BATCHES: &[u32] = &[10, 25, 50, 100, 200, 400, 800, 1600, 3200];
const BUNDLES: &[u16] = &[1, 4, 16, 64];
const PIPELINES: &[u32] = &[4, 16, 64, 256];
/// More pillars than this are of no use to replicas of any size seen so far.
const PILLARS_MAX: u16 = 32;
/// Even replicas that share their cores are tried with this many pillars.
const PILLARS_TRIED: u16 = 4;

impl Space {
    /// For n replicas on a machine with so many cores.
    #[must_use]
    pub fn of_machine(cores: usize, n: usize, axes: Vec<Axis>) -> Self {
        let own_cores = cores / n;
        let useful = u16::try_from(own_cores.next_power_of_two()).unwrap_or(PILLARS_MAX);
        Self { axes, own_cores, pillars_max: useful.clamp(PILLARS_TRIED, PILLARS_MAX) }
    }

    /// The candidates next to `from` on `axis`: one step to either side, or every other placement of threads. None of
    /// them does what `from` does.
    #[must_use]
    pub fn neighbours(&self, axis: Axis, from: Settings) -> Vec<Settings> {
        let all: Vec<Settings> = match axis {
            Axis::Pillars => {
                let steps = [from.pillars / 2, from.pillars.saturating_mul(2)];
                let within = steps.into_iter().filter(|pillars| (1..=self.pillars_max).contains(pillars));
                within.map(|pillars| Settings { pillars, ..from }).collect()
            }
            Axis::BatchMax => {
                beside(BATCHES, from.batch_max).map(|batch_max| Settings { batch_max, ..from }).collect()
            }
            Axis::Bundle => beside(BUNDLES, from.bundle).map(|bundle| Settings { bundle, ..from }).collect(),
            Axis::Pipeline => {
                beside(PIPELINES, from.pipeline).map(|pipeline| Settings { pipeline, ..from }).collect()
            }
            Axis::Workers => {
                let workers = [Count::Auto, Count::Fixed(1), Count::Fixed(from.pillars)];
                let places = [Executor::Auto, Executor::Inline, Executor::Thread];
                let pairs = workers.iter().flat_map(|w| places.iter().map(move |e| (*w, *e)));
                let threads = |(workers, executor)| Threads { workers, executor, ..from.threads };
                pairs.map(|pair| Settings { threads: threads(pair), ..from }).collect()
            }
            Axis::CryptoThreads => {
                let counts = [Count::Auto, Count::Fixed(0), Count::Fixed(1), Count::Fixed(2)];
                let threads = |crypto_threads| Threads { crypto_threads, ..from.threads };
                counts.into_iter().map(|count| Settings { threads: threads(count), ..from }).collect()
            }
        };
        let mut seen = vec![self.effect(from)];
        let mut fresh = |settings: &Settings| {
            let effect = self.effect(*settings);
            let new = !seen.contains(&effect);
            seen.push(effect);
            new
        };
        all.into_iter().filter(|settings| fresh(settings)).collect()
    }

    /// What the settings come to on this machine: equal effects need no second measurement.
    #[must_use]
    pub fn effect(&self, settings: Settings) -> Settings {
        let own: Vec<usize> = (0..self.own_cores).collect();
        let cores = if own.is_empty() { Cores::Shared } else { Cores::List(own.clone()) };
        let config = ReplicaConfig { cores, ..ReplicaConfig::new(ReplicaId(0)) };
        let plan = plan(&config.with_threads(settings.threads), settings.pillars, &own);
        let executor = match plan.executor {
            ExecutorPlace::Inline => Executor::Inline,
            ExecutorPlace::Thread => Executor::Thread,
        };
        let threads = Threads {
            workers: Count::Fixed(plan.workers),
            executor,
            crypto_threads: Count::Fixed(plan.crypto_threads),
        };
        Settings { threads, ..settings }
    }
}

impl Settings {
    /// As a profile that sets all of it.
    #[must_use]
    pub fn profile(self) -> Profile {
        let cluster = TunedCluster {
            pillars: Some(self.pillars),
            bundle: Some(self.bundle),
            batch_max: Some(self.batch_max),
            pipeline: Some(self.pipeline),
        };
        Profile { cluster, threads: self.threads, ..Profile::default() }
    }
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pillars, batch_max, bundle, pipeline, threads } = self;
        let [workers, executor, crypto] = words(*threads);
        write!(
            f,
            "P = {pillars}, batch {batch_max}, bundle {bundle}, pipeline {pipeline}, workers {workers}, executor {executor}, \
             crypto threads {crypto}"
        )
    }
}

/// The values beside this one: the next below and the next above.
fn beside<T: Copy + PartialOrd>(ladder: &[T], value: T) -> impl Iterator<Item = T> {
    let below = ladder.iter().rev().find(|step| **step < value);
    let above = ladder.iter().find(|step| **step > value);
    [below.copied(), above.copied()].into_iter().flatten()
}

fn words(threads: Threads) -> [String; 3] {
    let count = |count| match count {
        Count::Auto => "auto".to_owned(),
        Count::Fixed(threads) => threads.to_string(),
    };
    let executor = match threads.executor {
        Executor::Auto => "auto",
        Executor::Inline => "inline",
        Executor::Thread => "thread",
    };
    [count(threads.workers), executor.to_owned(), count(threads.crypto_threads)]
}

fn threads<S: Serializer>(threads: &Threads, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Words {
        workers: String,
        executor: String,
        crypto_threads: String,
    }
    let [workers, executor, crypto_threads] = words(*threads);
    Words { workers, executor, crypto_threads }.serialize(to)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The defaults of `hypostyle-bench run`.
    pub(crate) const DEFAULT: Settings = Settings {
        pillars: 1,
        batch_max: 400,
        bundle: 64,
        pipeline: 64,
        threads: Threads { workers: Count::Auto, executor: Executor::Auto, crypto_threads: Count::Auto },
    };

    /// Four replicas on two cores.
    pub(crate) fn small() -> Space {
        Space::of_machine(2, 4, AXES.to_vec())
    }

    #[test]
    fn neighbours_are_one_step_away() {
        let pillars = |p| small().neighbours(Axis::Pillars, Settings { pillars: p, ..DEFAULT });
        assert_eq!(pillars(1).iter().map(|s| s.pillars).collect::<Vec<_>>(), [2]);
        assert_eq!(pillars(4).iter().map(|s| s.pillars).collect::<Vec<_>>(), [2]);
        let batches = small().neighbours(Axis::BatchMax, Settings { batch_max: 60, ..DEFAULT });
        assert_eq!(batches.iter().map(|s| s.batch_max).collect::<Vec<_>>(), [50, 100]);
        let bundles = small().neighbours(Axis::Bundle, DEFAULT);
        assert_eq!(bundles.iter().map(|s| s.bundle).collect::<Vec<_>>(), [16]);
    }

    #[test]
    fn no_neighbour_does_what_its_origin_does() {
        // On shared cores "auto" is one worker that does everything.
        let workers = small().neighbours(Axis::Workers, DEFAULT);
        let effects: Vec<Threads> = workers.iter().map(|s| small().effect(*s).threads).collect();
        assert_eq!(effects.len(), 1, "{effects:?}");
        assert_eq!(effects[0].executor, Executor::Thread);
        let crypto = small().neighbours(Axis::CryptoThreads, DEFAULT);
        assert_eq!(crypto.len(), 2, "{crypto:?}");
        let two = small().neighbours(Axis::Workers, Settings { pillars: 2, ..DEFAULT });
        assert_eq!(two.len(), 3, "one worker with an executor's thread, two with and without: {two:?}");
    }

    #[test]
    fn large_machines_try_more_pillars() {
        assert_eq!(Space::of_machine(64, 4, AXES.to_vec()).pillars_max, 16);
        assert_eq!(Space::of_machine(1024, 4, AXES.to_vec()).pillars_max, PILLARS_MAX);
        assert_eq!(small().pillars_max, PILLARS_TRIED);
    }
}
