//! What a seed draws before it runs: each run has some of all settings and faults, so that together they have all
//! (swarm testing).

use hypostyle::config::{Assign, Leaders, Replies};
use hypostyle_crypto::Suite;

use super::network::NetworkOptions;
use super::queue::{MICROSECOND, MILLISECOND, SECOND, Time};
use super::random::Random;
use super::rescue::Rescue;
use super::service::Service;
use crate::byzantine::{Behaviour, ClientStrategy, Strategy};

/// All that a run depends on beside its seed.
#[derive(Clone, Debug)]
pub struct Options {
    /// n.
    pub replicas: u16,
    /// P.
    pub pillars: u16,
    /// K.
    pub checkpoint_interval: u32,
    /// L.
    pub window: u32,
    /// Most operations of a batch.
    pub batch_max: u32,
    /// How long a request waits for its batch.
    pub batch_delay: Time,
    /// Most slots in flight.
    pub pipeline: u32,
    /// Most statements of a bundle.
    pub bundle: u16,
    /// Whether clients put tags on requests, and replicas on replies.
    pub tags: bool,
    /// How replies are signed.
    pub replies: Replies,
    /// Which pillar orders a request.
    pub assign: Assign,
    /// Who leads which pillar.
    pub leaders: Leaders,
    /// Most operations of a request.
    pub request_operations: u16,
    /// W.
    pub client_window: u32,
    /// Bytes of large results kept for a client.
    pub client_result_bytes: usize,
    /// How long a pillar may owe a slot.
    pub view_timeout: Time,
    /// How long a client waits.
    pub client_timeout: Time,
    /// The signatures.
    pub suite: Suite,
    /// Worker threads of a replica, and whether the executor has one of its own.
    pub threads: (usize, bool),
    /// The longest turn of a replica.
    pub turn: Time,
    /// How many clients.
    pub clients: usize,
    /// Operations a client submits before the network calms down.
    pub operations: u64,
    /// Operations a client has in flight.
    pub outstanding: u64,
    /// The longest pause between a client's requests.
    pub think: Time,
    /// The network.
    pub network: NetworkOptions,
    /// The faults.
    pub faults: FaultOptions,
    /// Which replicas are adversaries, at most f, and what they do.
    pub byzantine: Vec<(usize, Behaviour)>,
    /// Byzantine clients beside the correct ones.
    pub hostile: Vec<ClientStrategy>,
    /// How long anything may go wrong.
    pub safety: Time,
    /// Who needs the state of others.
    pub rescue: Option<Rescue>,
    /// Whether little may be held.
    pub lean: Option<Lean>,
}

/// Runs in which a replica needs the state of others, of a thousand, and what sets their chance apart.
const RESCUES_PERMILLE: u64 = 60;
const RESCUES: u64 = 0x7265_7363_7565;
/// Runs with tags, of a thousand.
const TAGS_PERMILLE: u64 = 300;
const TAGS: u64 = 0x7461_6773;

/// Limits so low, in runs so long, that what is kept too long shows.
#[derive(Clone, Debug)]
pub struct Lean {
    /// Most bytes of a batch.
    pub batch_bytes: usize,
    /// What is kept of decided slots while a state is on its way.
    pub catch_up_bytes: usize,
    /// Bytes of some operations.
    pub operation_bytes: usize,
}

/// Such runs, of a thousand, and what sets their chance apart.
const LEAN_PERMILLE: u64 = 5;
const LEAN: u64 = 0x6c65_616e;

/// Which faults strike, and how often.
#[derive(Clone, Debug, Default)]
pub struct FaultOptions {
    /// The longest time between two faults; 0: none strike.
    pub every: Time,
    /// Connections are cut.
    pub cuts: bool,
    /// Directions of connections stand still.
    pub clogs: bool,
    /// The network falls into parts.
    pub partitions: bool,
    /// Replicas stand still.
    pub pauses: bool,
    /// Replicas crash for good. At most f fail at a time in this way or another.
    pub crashes: bool,
    /// Replicas crash and start again without a disk.
    pub restarts: bool,
    /// How much faster or slower a replica's clock goes, in parts of a million.
    pub drift: u64,
    /// How far a replica's wall clock is off.
    pub skew: Time,
}

impl FaultOptions {
    /// Whether nothing goes wrong.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.every == 0
    }
}

impl Lean {
    /// One pillar or two and thousands of slots, in a network that lets them pass; an adversary, if there is one, is a primary.
    fn draw(options: &mut Options, random: &mut Random) -> Self {
        let hoards = random.chance(700).then_some(Behaviour::Strategy(Strategy::Hoards));
        let drawn = options.byzantine.first().map(|(_, behaviour)| *behaviour);
        options.byzantine = hoards.or(drawn).into_iter().map(|behaviour| (0, behaviour)).collect();
        options.replicas = 4;
        options.pillars = random.pick(&[1, 1, 2]);
        options.threads.0 = options.threads.0.min(usize::from(options.pillars));
        options.checkpoint_interval = random.pick(&[1, 2]);
        options.window = 2 * options.checkpoint_interval;
        options.request_operations = 1;
        options.client_window = 4;
        options.client_result_bytes = 100;
        options.batch_max = random.pick(&[1, 4]);
        options.clients = 2;
        options.operations = 2500;
        options.outstanding = 4;
        options.think = 0;
        options.hostile.truncate(1);
        options.network = Options::good_network(random);
        Self { batch_bytes: 8 << 10, catch_up_bytes: 4 << 10, operation_bytes: random.pick(&[700, 3000]) }
    }
}

impl Options {
    /// What this seed draws.
    #[must_use]
    pub fn draw(random: &mut Random) -> Self {
        // Of chance of its own: a seed that draws no restarts runs as it did before there were any.
        let restarts = Random::new(random.clone().number()).chance(300);
        let checkpoint_interval = random.pick(&[1, 2, 4, 4, 8, 16]);
        let window = checkpoint_interval * random.pick(&[2, 2, 3, 4, 8]);
        let pillars = random.pick(&[1, 1, 2, 2, 2, 3, 4, 4, 4, 8]);
        let request_operations = random.pick(&[1, 1, 1, 2, 5]);
        let batch_max = u32::from(request_operations) * random.pick(&[1, 2, 4, 16, 100]);
        let view_timeout = random.pick(&[20, 50, 100, 200, 500]) * MILLISECOND;
        let threads = random.pick(&[(1, false), (1, false), (1, false), (1, true), (2, false), (3, true)]);
        let calm = random.chance(150);
        let replicas = random.pick(&[4, 4, 4, 4, 4, 4, 4, 4, 4, 7]);
        let mut byzantine = if calm { Vec::new() } else { Self::adversaries(random, replicas) };
        let needs_views = byzantine.iter().any(|(_, behaviour)| behaviour.needs_view_changes());
        // Of chance of its own: a seed that draws none runs as it did before there were any.
        let mut own = Random::new(random.clone().number() ^ RESCUES);
        let mut lean = Random::new(random.clone().number() ^ LEAN);
        let mut tagging = Random::new(random.clone().number() ^ TAGS);
        let tags = tagging.chance(TAGS_PERMILLE);
        // Where only signatures are, nobody takes them for a moment.
        if let Some((_, behaviour)) = byzantine.first_mut().filter(|_| tags && tagging.chance(300)) {
            *behaviour = Behaviour::Strategy(Strategy::MadeUpRequests);
        }
        let mut options = Self {
            replicas,
            pillars,
            checkpoint_interval,
            window,
            batch_max,
            batch_delay: random.pick(&[0, 0, 0, 1, 5]) * MILLISECOND,
            pipeline: random.pick(&[1, 2, 4, 16, 64]),
            bundle: random.pick(&[1, 2, 8, 64, 64, 64]),
            tags,
            replies: random.pick(&[Replies::Merkle, Replies::Merkle, Replies::Merkle, Replies::Each]),
            assign: random.pick(&[Assign::Request, Assign::Request, Assign::Client]),
            leaders: random.pick(&[Leaders::Spread, Leaders::Single]),
            request_operations,
            client_window: u32::from(request_operations) * random.pick(&[1, 4, 16, 64]),
            client_result_bytes: random.pick(&[0, 100, 4096]),
            view_timeout,
            client_timeout: random.within(view_timeout / 4..=view_timeout),
            suite: if random.chance(10) { Suite::Ed25519 } else { Suite::Simulated },
            threads: (threads.0.min(usize::from(pillars)), threads.1),
            turn: random.pick(&[2, 20, 200, 1000]) * MICROSECOND,
            clients: random.pick(&[1, 1, 2, 2, 3, 4]),
            operations: random.pick(&[2, 5, 10, 10, 20, 20, 50, 100]),
            outstanding: random.pick(&[1, 2, 8, 32]),
            think: random.pick(&[0, 0, 1, 10, 50]) * MILLISECOND,
            network: if calm { Self::good_network(random) } else { Self::bad_network(random) },
            faults: if calm {
                FaultOptions::default()
            } else {
                FaultOptions { restarts, ..Self::bad_faults(random, view_timeout, needs_views) }
            },
            byzantine,
            safety: random.within(300..=2500) * MILLISECOND,
            hostile: Self::hostile_clients(&mut Random::new(random.clone().number())),
            rescue: None,
            lean: None,
        };
        if !calm && own.chance(RESCUES_PERMILLE) {
            options.rescue = Some(Rescue::draw(&mut options, &mut own));
        } else if lean.chance(LEAN_PERMILLE) {
            options.lean = Some(Lean::draw(&mut options, &mut lean));
        }
        options
    }

    /// n = 4, P = 4, nothing goes wrong: what speed is measured with.
    #[must_use]
    pub fn bench() -> Self {
        let mut random = Random::new(0);
        Self {
            replicas: 4,
            pillars: 4,
            checkpoint_interval: 8,
            window: 32,
            batch_max: 4,
            batch_delay: 0,
            pipeline: 16,
            bundle: 64,
            tags: false,
            replies: Replies::Merkle,
            assign: Assign::Request,
            leaders: Leaders::Spread,
            request_operations: 1,
            client_window: 64,
            client_result_bytes: 4096,
            view_timeout: 500 * MILLISECOND,
            client_timeout: 300 * MILLISECOND,
            suite: Suite::Simulated,
            threads: (1, false),
            turn: 20 * MICROSECOND,
            clients: 4,
            operations: 10,
            outstanding: 1,
            think: 0,
            network: Self::good_network(&mut random),
            faults: FaultOptions::default(),
            byzantine: Vec::new(),
            hostile: Vec::new(),
            safety: SECOND,
            rescue: None,
            lean: None,
        }
    }

    /// Most Byzantine or crashed replicas.
    #[must_use]
    pub fn f(&self) -> usize {
        usize::from(self.replicas / 3)
    }

    /// Whether nothing goes wrong with replicas or network.
    #[must_use]
    pub fn is_fault_free(&self) -> bool {
        self.faults.is_none() && self.byzantine.is_empty() && self.network.loss == 0 && self.network.in_order
    }

    /// Bytes of a snapshot of the application.
    pub(super) fn snapshot_bytes(&self) -> usize {
        Service::snapshot_bytes(self.rescue.as_ref().map_or(0, |rescue| rescue.ballast))
    }

    /// Bytes of some operations.
    pub(super) fn operation_bytes(&self) -> usize {
        let lean = self.lean.as_ref().map(|lean| lean.operation_bytes);
        self.rescue.as_ref().map(|rescue| rescue.operation_bytes).or(lean).unwrap_or(0)
    }

    /// Clients, correct or not.
    pub(super) fn all_clients(&self) -> usize {
        self.clients + self.hostile.len()
    }

    fn adversaries(random: &mut Random, replicas: u16) -> Vec<(usize, Behaviour)> {
        let f = u64::from(replicas / 3);
        let count = if random.chance(500) { random.within(1..=f) } else { 0 };
        let count = usize::try_from(count).expect("few replicas");
        let who = random.some_of(count, usize::from(replicas));
        who.into_iter().map(|replica| (replica, Behaviour::draw(random))).collect()
    }

    /// Any number of them is a normal case; most runs have none, and draw nothing else for it.
    fn hostile_clients(random: &mut Random) -> Vec<ClientStrategy> {
        let count = if random.chance(350) { 1 + random.skewed(5) } else { 0 };
        (0..count).map(|_| random.pick(&ClientStrategy::ALL)).collect()
    }

    fn good_network(random: &mut Random) -> NetworkOptions {
        let delay_min = random.pick(&[10, 50, 200]) * MICROSECOND;
        NetworkOptions {
            delay_min,
            delay_spread: delay_min,
            loss: 0,
            duplicates: 0,
            replays: 0,
            in_order: true,
            reconnect: MILLISECOND,
        }
    }

    fn bad_network(random: &mut Random) -> NetworkOptions {
        NetworkOptions {
            delay_min: random.pick(&[10, 50, 200, 1000]) * MICROSECOND,
            delay_spread: random.pick(&[50, 500, 5000, 20_000]) * MICROSECOND,
            loss: random.pick(&[0, 0, 1, 10, 50, 200, 300]),
            duplicates: random.pick(&[0, 0, 10, 100, 500]),
            replays: random.pick(&[0, 0, 10, 100, 500]),
            in_order: random.chance(600),
            reconnect: random.pick(&[1, 20, 200]) * MILLISECOND,
        }
    }

    /// `views` are to change.
    fn bad_faults(random: &mut Random, view_timeout: Time, views: bool) -> FaultOptions {
        let every = random.pick(&[view_timeout / 4, view_timeout, 4 * view_timeout]);
        FaultOptions {
            every: if views { view_timeout } else { every },
            cuts: random.chance(500),
            clogs: random.chance(500),
            partitions: random.chance(400) || views,
            pauses: random.chance(400) || views,
            crashes: random.chance(300),
            restarts: false,
            drift: random.pick(&[0, 0, 1000, 500_000]),
            skew: random.pick(&[0, 0, 10 * MILLISECOND, SECOND]),
        }
    }
}
