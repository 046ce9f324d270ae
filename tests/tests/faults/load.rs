//! Clients in a closed loop, and when what they sent was acknowledged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hypostyle::client::{Driver, Registration};
use hypostyle::config::ClusterConfig;
use hypostyle::crypto::{SigningKey, read_key};
use hypostyle::{ClientId, Number};
use hypostyle_tests::poll;

use crate::PATIENCE;
use crate::cluster::Cluster;

/// Clients at work, all on one thread, each with the same number of operations under way.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// What a load has seen.
pub(crate) struct Seen {
    /// When operations were acknowledged, in order.
    pub(crate) times: Vec<Instant>,
    /// The same operations, by client and number.
    pub(crate) acknowledged: Vec<(u32, u64)>,
    /// Operations that were sent more than once.
    pub(crate) resent: u64,
}

struct Shared {
    seen: Mutex<Seen>,
    stop: AtomicBool,
}

const FIRST: Number = Number(1);
/// A turn of the driver waits this long at most.
const TURN_MAX: Duration = Duration::from_millis(5);

impl Load {
    /// Starts all clients of the cluster and waits for their first answers.
    pub(crate) fn start(cluster: &Cluster, outstanding: usize) -> Self {
        let load = Self::begin(cluster, outstanding);
        load.wait_for(10 * cluster.config().clients.len() * outstanding);
        load
    }

    /// Starts all clients of the cluster.
    pub(crate) fn begin(cluster: &Cluster, outstanding: usize) -> Self {
        Self::begin_with(cluster.config(), cluster, outstanding)
    }

    /// Starts all clients of the cluster, who know it by this configuration.
    pub(crate) fn begin_with(config: &ClusterConfig, cluster: &Cluster, outstanding: usize) -> Self {
        let config = config.clone();
        let keys = (0..u32::try_from(config.clients.len()).unwrap())
            .map(|c| read_key(&cluster.client_key(c)).unwrap());
        let keys: Vec<SigningKey> = keys.collect();
        let seen = Mutex::new(Seen { times: Vec::new(), acknowledged: Vec::new(), resent: 0 });
        let shared = Arc::new(Shared { seen, stop: AtomicBool::new(false) });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || run(&config, keys, outstanding, &for_thread));
        Self { shared, thread }
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.shared.seen.lock().unwrap().times.len()
    }

    /// Waits until so many more operations are acknowledged.
    #[track_caller]
    pub(crate) fn wait_for(&self, more: usize) {
        let (before, patience) = (self.acknowledged(), PATIENCE + Duration::from_millis(more as u64));
        let done = || (self.acknowledged() >= before + more || self.thread.is_finished()).then_some(());
        let done = poll::eventually(patience, done).is_some() && !self.thread.is_finished();
        assert!(done, "{} of {more} operations were acknowledged", self.acknowledged() - before);
    }

    /// Lets the load run for so long.
    #[track_caller]
    pub(crate) fn run_for(&self, time: Duration) {
        let begun = Instant::now();
        let done = || (begun.elapsed() >= time || self.thread.is_finished()).then_some(());
        poll::eventually(time + PATIENCE, done);
        assert!(!self.thread.is_finished(), "the load has ended");
    }

    /// Sends nothing more and waits until all that was sent is acknowledged.
    #[track_caller]
    pub(crate) fn finish(self) -> Seen {
        self.shared.stop.store(true, Ordering::Relaxed);
        let ended = poll::eventually(2 * PATIENCE, || self.thread.is_finished().then_some(()));
        assert!(ended.is_some(), "what was sent is not acknowledged");
        self.thread.join().expect("the load");
        let shared = Arc::into_inner(self.shared).expect("the load has ended");
        shared.seen.into_inner().unwrap()
    }
}

impl Seen {
    /// The longest time without an acknowledgement that ends after `from` and begins before `to`.
    pub(crate) fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let gaps = self.times.windows(2).filter(|two| two[1] > from && two[0] < to);
        gaps.map(|two| two[1] - two[0]).max().expect("operations were acknowledged")
    }

    /// Acknowledgements a second.
    pub(crate) fn rate(&self, from: Instant, to: Instant) -> f64 {
        let count = self.times.iter().filter(|at| (from..to).contains(at)).count();
        count as f64 / (to - from).as_secs_f64()
    }
}

fn run(config: &ClusterConfig, keys: Vec<SigningKey>, outstanding: usize, shared: &Shared) {
    let clients = keys.len();
    let register = |(client, key)| Registration { client: ClientId(client), key, first: FIRST };
    let mut driver = Driver::new(config, (0..).zip(keys).map(register).collect()).unwrap();
    let mut sent = vec![0_u64; clients];
    loop {
        let stopped = shared.stop.load(Ordering::Relaxed);
        let in_flight: usize = (0..clients).map(|client| driver.core(client).in_flight()).sum();
        if stopped && in_flight == 0 {
            return;
        }
        for (client, sent) in sent.iter_mut().enumerate().filter(|_| !stopped) {
            while driver.core(client).in_flight() < outstanding && driver.core(client).room() > 0 {
                let operation = format!("set c{client}-{} {sent}", *sent % 1000);
                driver.submit(client, &[operation.as_bytes()]).unwrap();
                *sent += 1;
            }
        }
        driver.turn(Some(TURN_MAX)).unwrap();
        let now = Instant::now();
        let mut seen = shared.seen.lock().unwrap();
        for settled in driver.settled() {
            assert_eq!(settled.completion.result.unwrap(), "OK");
            seen.times.push(now);
            seen.acknowledged.push((u32::try_from(settled.client).unwrap(), settled.completion.number.0));
            seen.resent += u64::from(settled.completion.resent);
        }
    }
}
