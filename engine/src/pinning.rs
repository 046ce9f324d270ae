//! Which threads a replica runs and on which cores.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::config::{Cores, Count, Executor, ReplicaConfig};

/// The threads of a replica and their cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadPlan {
    /// Worker threads; worker w owns the pillars p with p mod workers = w.
    pub workers: u16,
    /// Where the executor runs.
    pub executor: ExecutorPlace,
    /// Threads that verify and sign; with none the workers do.
    pub crypto_threads: u16,
    /// The core of each worker and then of the executor's thread, if it has one; `None`: not pinned.
    pub cores: Vec<Option<usize>>,
    /// The cores left to crypto and control threads ([`confine`]); empty: all.
    pub crypto_cores: Vec<usize>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// Where the executor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorPlace {
    /// On the first worker's thread.
    Inline,
    /// On a thread of its own.
    Thread,
}

/// Why a thread is not where it was told to be.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The system refused, or did something else.
    #[error("this thread may run on cores {actual:?}, not on {wanted:?}")]
    Elsewhere {
        /// What was asked.
        wanted: Vec<usize>,
        /// What the mask read back says.
        actual: Vec<usize>,
    },
    /// The mask could not be set or read.
    #[error("the affinity mask cannot be set or read: {0}")]
    Mask(#[from] rustix::io::Errno),
}

impl ThreadPlan {
    /// Whether workers and the executor have cores of their own.
    #[must_use]
    pub fn pinned(&self) -> bool {
        self.cores.iter().any(Option::is_some)
    }

    /// The core of a worker.
    #[must_use]
    pub fn worker_core(&self, worker: usize) -> Option<usize> {
        self.cores.get(worker).copied().flatten().filter(|_| worker < usize::from(self.workers))
    }

    /// The core of the executor's thread.
    #[must_use]
    pub fn executor_core(&self) -> Option<usize> {
        self.cores.get(usize::from(self.workers)).copied().flatten()
    }
}

/// The cores this process may run on, ascending.
///
/// # Errors
/// When the system does not tell.
pub fn available_cores() -> Result<Vec<usize>, PinError> {
    let mask = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| mask.is_set(*core)).collect())
}

/// Pins the calling thread to one core and reads the mask back.
///
/// # Errors
/// When the thread is not on that core alone afterwards.
pub fn pin(core: usize) -> Result<(), PinError> {
    // The library indexes its mask with it.
    if core < CpuSet::MAX_CPU {
        core_affinity::set_for_current(core_affinity::CoreId { id: core });
    }
    check_mask(&[core])
}

/// Confines the calling thread, and those it will start, to these cores, and reads the mask back.
///
/// # Errors
/// When the mask is another afterwards.
pub fn confine(cores: &[usize]) -> Result<(), PinError> {
    let mut mask = CpuSet::new();
    cores.iter().filter(|core| **core < CpuSet::MAX_CPU).for_each(|core| mask.set(*core));
    sched_setaffinity(None, &mask)?;
    check_mask(cores)
}

fn check_mask(wanted: &[usize]) -> Result<(), PinError> {
    let actual = available_cores()?;
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable();
    if actual == sorted { Ok(()) } else { Err(PinError::Elsewhere { wanted: sorted, actual }) }
}

/// Places the threads of a replica with `pillars` pillars on those of its cores that are `available`.
///
/// `auto`: with fewer than two cores one worker does everything, not pinned; else min(P, cores − 1) workers and the
/// executor have a core each and crypto threads take what remains. Where there are fewer cores than threads of the
/// first two kinds, none is pinned: a pinned thread that shares its core waits though another is idle.
#[must_use]
pub fn plan(config: &ReplicaConfig, pillars: u16, available: &[usize]) -> ThreadPlan {
    let mut notes = Vec::new();
    let owned = owned_cores(&config.cores, available, &mut notes);
    let alone = owned.len() < 2;
    let workers = match config.workers {
        Count::Auto if alone => 1,
        Count::Auto => pillars.min(count(owned.len() - 1)),
        Count::Fixed(workers) if workers > pillars => {
            notes.push(format!("workers = {workers} exceeds pillars = {pillars}: {pillars} workers run"));
            pillars
        }
        Count::Fixed(workers) => workers,
    };
    let executor = match config.executor {
        Executor::Auto if alone => ExecutorPlace::Inline,
        Executor::Auto | Executor::Thread => ExecutorPlace::Thread,
        Executor::Inline => ExecutorPlace::Inline,
    };
    let busy = usize::from(workers) + usize::from(executor == ExecutorPlace::Thread);
    let pinned = !alone && busy <= owned.len();
    let spare = owned.get(busy..).unwrap_or_default();
    let crypto_threads = match config.crypto_threads {
        Count::Auto => count(spare.len()),
        Count::Fixed(threads) => threads,
    };
    if busy > 1 && !pinned {
        notes.push(format!(
            "{busy} busy threads on {} cores of its own: none is pinned, they share what there is",
            owned.len()
        ));
    }
    let cores = (0..busy).map(|thread| owned.get(thread).copied().filter(|_| pinned)).collect();
    let crypto_cores = if pinned { spare.to_vec() } else { Vec::new() };
    ThreadPlan { workers, executor, crypto_threads, cores, crypto_cores, notes }
}

fn owned_cores(cores: &Cores, available: &[usize], notes: &mut Vec<String>) -> Vec<usize> {
    match cores {
        Cores::Auto => available.to_vec(),
        Cores::Shared => Vec::new(),
        Cores::List(list) => {
            let (owned, missing): (Vec<_>, Vec<_>) = list.iter().partition(|core| available.contains(core));
            if !missing.is_empty() {
                notes.push(format!("cores {missing:?} are not available to this process: done without"));
            }
            owned
        }
    }
}

fn count(cores: usize) -> u16 {
    u16::try_from(cores).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hypostyle_app_api::ReplicaId;

    use super::*;

    fn config(workers: Count, executor: Executor, crypto_threads: Count, cores: Cores) -> ReplicaConfig {
        ReplicaConfig { workers, executor, crypto_threads, cores, ..ReplicaConfig::new(ReplicaId(0)) }
    }

    fn auto() -> ReplicaConfig {
        ReplicaConfig::new(ReplicaId(0))
    }

    /// Workers, executor, crypto threads, cores.
    fn shape(plan: &ThreadPlan) -> (u16, bool, u16, Vec<Option<usize>>) {
        (plan.workers, plan.executor == ExecutorPlace::Thread, plan.crypto_threads, plan.cores.clone())
    }

    #[test]
    fn auto_below_two_cores_is_one_worker_with_everything_inline() {
        for available in [&[][..], &[5]] {
            let plan = plan(&auto(), 4, available);
            assert_eq!(shape(&plan), (1, false, 0, vec![None]));
            assert!(plan.notes.is_empty() && !plan.pinned());
        }
        let shared = config(Count::Auto, Executor::Auto, Count::Auto, Cores::Shared);
        assert_eq!(shape(&plan(&shared, 4, &[0, 1, 2, 3])), (1, false, 0, vec![None]));
    }

    #[test]
    fn auto_gives_workers_and_the_executor_a_core_each_and_the_rest_to_crypto() {
        assert_eq!(shape(&plan(&auto(), 4, &[0, 1])), (1, true, 0, vec![Some(0), Some(1)]));
        let wide = plan(&auto(), 2, &[4, 5, 6, 7, 8]);
        assert_eq!(shape(&wide), (2, true, 2, vec![Some(4), Some(5), Some(6)]));
        assert_eq!(wide.crypto_cores, [7, 8]);
        assert_eq!(
            (wide.worker_core(1), wide.worker_core(2), wide.executor_core()),
            (Some(5), None, Some(6))
        );
        let narrow = plan(&auto(), 8, &[0, 1, 2, 3]);
        assert_eq!(shape(&narrow), (3, true, 0, vec![Some(0), Some(1), Some(2), Some(3)]));
    }

    #[test]
    fn more_threads_than_cores_run_unpinned_and_say_so() {
        let config = config(Count::Fixed(4), Executor::Thread, Count::Fixed(2), Cores::Auto);
        let plan = plan(&config, 4, &[0, 1]);
        assert_eq!(shape(&plan), (4, true, 2, vec![None; 5]));
        assert!(plan.notes[0].contains("5 busy threads on 2 cores"), "{:?}", plan.notes);
    }

    #[test]
    fn no_more_workers_than_pillars() {
        let config = config(Count::Fixed(4), Executor::Inline, Count::Fixed(0), Cores::Auto);
        let plan = plan(&config, 2, &[0, 1]);
        assert_eq!(shape(&plan), (2, false, 0, vec![Some(0), Some(1)]));
        assert!(plan.notes[0].contains("exceeds pillars"));
    }

    #[test]
    fn listed_cores_that_are_not_there_are_done_without() {
        let config = config(Count::Auto, Executor::Auto, Count::Auto, Cores::List(vec![6, 1, 0]));
        let plan = plan(&config, 4, &[0, 1, 2]);
        assert_eq!(shape(&plan), (1, true, 0, vec![Some(1), Some(0)]));
        assert!(plan.notes[0].contains("[6]"));
    }

    #[test]
    fn a_pinned_thread_is_where_it_says() {
        std::thread::spawn(|| {
            let core = available_cores().unwrap()[0];
            pin(core).unwrap();
            assert_eq!(available_cores().unwrap(), [core]);
            assert!(matches!(pin(1023), Err(PinError::Elsewhere { .. })));
            confine(&[core]).unwrap();
        })
        .join()
        .unwrap();
    }
}
