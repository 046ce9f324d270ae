use proptest::prelude::*;

use super::*;

/// Per operation and replica: worker 6, crypto 3, executor 1, hand-off 0.5.
const COSTS: Costs = Costs {
    worker_us: 6.0,
    crypto_us: 3.0,
    executor_us: 1.0,
    hand_off_us: 0.5,
    generator_us: 0.0,
    usable: 1.0,
    crypto_threads_pay: true,
};

const ALONE: Deployment =
    Deployment { cores: 1, replicas: 1, pillars: 1, workers: 1, executor_thread: false, crypto_threads: 0 };

fn assert_predicts(costs: Costs, on: Deployment, us: f64, bound: Bound) {
    let Prediction { ops_per_s, bound: found } = costs.predict(on);
    assert!((ops_per_s * us / 1e6 - 1.0).abs() < 1e-9, "{ops_per_s} is not one in {us} µs: {on:?}");
    assert_eq!(found, bound, "{on:?}");
}

#[test]
fn throughput_is_that_of_the_slowest_stage() {
    // Everything on one thread: 6 + 3 + 1. The core and the worker are the same bound.
    let one = COSTS.predict(ALONE);
    assert!((one.ops_per_s - 100_000.0).abs() < 1e-6);
    // An executor of its own takes 1 off the worker and costs it 0.5.
    let thread = Deployment { cores: 2, executor_thread: true, ..ALONE };
    assert_predicts(COSTS, thread, 9.5, Bound::Worker);
    // Two workers: half of 9 each, and the executor on the first.
    let two = Deployment { cores: 2, pillars: 2, workers: 2, ..ALONE };
    assert_predicts(COSTS, two, 5.5, Bound::Worker);
    // Three threads on two cores: 10.5 in all.
    assert_predicts(COSTS, Deployment { executor_thread: true, ..two }, 5.25, Bound::Cores);
    // Eight workers, two crypto threads: 6.5 / 8 against 3 / 2 against 1.
    let eight =
        Deployment { cores: 16, pillars: 8, workers: 8, executor_thread: true, crypto_threads: 2, ..ALONE };
    assert_predicts(COSTS, eight, 1.5, Bound::Crypto);
    assert_predicts(COSTS, Deployment { crypto_threads: 4, ..eight }, 1.0, Bound::Executor);
    // Three pillars on two workers: the first owns two of them.
    let uneven = Deployment { cores: 8, pillars: 3, workers: 2, executor_thread: true, ..ALONE };
    assert_predicts(COSTS, uneven, 9.5 * 2.0 / 3.0, Bound::Worker);
}

#[test]
fn replicas_of_one_machine_share_its_cores_with_the_generator() {
    let shared = Deployment { cores: 2, replicas: 4, ..ALONE };
    let costs = Costs { generator_us: 2.0, ..COSTS };
    assert_predicts(costs, shared, 21.0, Bound::Cores);
    assert_predicts(Costs { usable: 0.5, ..costs }, shared, 42.0, Bound::Cores);
    assert_predicts(
        Costs { generator_us: 30.0, ..COSTS },
        Deployment { cores: 64, ..shared },
        30.0,
        Bound::Generator,
    );
}

#[test]
fn the_best_placement_uses_no_thread_for_nothing() {
    let (on, prediction) = COSTS.best(2, 1, 2);
    assert_eq!((on.workers, on.executor_thread, prediction.bound), (2, true, Bound::Cores));
    let free = Costs { crypto_us: 0.0, ..COSTS };
    assert_eq!(free.best(64, 1, 4).0.crypto_threads, 0);
    let dear = Costs { crypto_threads_pay: false, ..COSTS };
    assert_eq!(dear.best(64, 1, 4).0.crypto_threads, 0);
    let serial = Costs { executor_us: 2.0, ..COSTS };
    let (on, prediction) = serial.best(64, 1, 16);
    assert_eq!((prediction.bound, on.executor_thread), (Bound::Executor, true), "{on}");
    assert!(on.workers + on.crypto_threads < 8, "more would wait for the executor: {on}");
}

fn costs() -> impl Strategy<Value = Costs> {
    (0.1..100.0, 0.0..100.0, 0.01..10.0, 0.0..1.0, 0.0..10.0, 0.5..1.0).prop_map(
        |(worker_us, crypto_us, executor_us, hand_off_us, generator_us, usable)| Costs {
            worker_us,
            crypto_us,
            executor_us,
            hand_off_us,
            generator_us,
            usable,
            crypto_threads_pay: true,
        },
    )
}

proptest! {
    #[test]
    fn more_cores_are_never_worse(costs in costs(), cores in 1_u32..16, pillars in 1_u32..9) {
        let with = |cores| costs.best(cores, 1, pillars).1.ops_per_s;
        // The tolerance of `best`.
        prop_assert!(with(cores + 1) * 1.002 >= with(cores));
    }

    #[test]
    fn twice_the_pillars_are_never_worse(costs in costs(), cores in 1_u32..16, pillars in 1_u32..9) {
        let with = |pillars| costs.best(cores, 4, pillars).1.ops_per_s;
        prop_assert!(with(2 * pillars) * 1.002 >= with(pillars));
    }

    #[test]
    fn nothing_beats_the_serial_part_or_the_cores(costs in costs(), cores in 1_u32..16, pillars in 1_u32..9) {
        let found = costs.best(cores, 1, pillars).1.ops_per_s;
        let whole = costs.worker_us + costs.crypto_us + costs.executor_us;
        prop_assert!(found <= 1e6 / costs.executor_us * 1.000_001);
        prop_assert!(found <= f64::from(cores) * 1e6 / whole * 1.000_001);
        prop_assert!(found.is_finite() && found > 0.0);
    }

    #[test]
    fn dearer_stages_are_never_faster(costs in costs(), cores in 1_u32..9, pillars in 1_u32..9) {
        let dearer = Costs { worker_us: costs.worker_us * 1.5, ..costs };
        let with = |costs: Costs| costs.best(cores, 1, pillars).1.ops_per_s;
        prop_assert!(with(dearer) <= with(costs) * 1.002);
    }
}
