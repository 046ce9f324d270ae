//! The application of simulated replicas: a bank whose money is neither made nor lost, and a store of keys. It writes
//! down what it executed, so that checkers can compare that.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hypostyle_app_api::{Application, ApplicationError, ClientId, Context, Digest, Number, Snapshot};
use hypostyle_crypto::sha256;

use super::random::Random;
use super::trace::hash;
use crate::memory::owned_by_nobody;

/// Accounts of the bank.
const ACCOUNTS: usize = 8;
/// What each holds at first.
const DEPOSIT: u64 = 1000;
/// What ballast is made of.
const BALLAST: u8 = 0xba;
/// Keys of the store.
const KEYS: usize = 16;

/// An operation that was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Whose it was.
    pub client: ClientId,
    /// The client's number for it.
    pub number: Number,
    /// A hash of what was asked.
    pub operation: u64,
    /// A hash of what was answered.
    pub result: u64,
}

/// The state, and what led to it here.
#[derive(Clone, Debug)]
pub struct Service {
    state: State,
    /// Operations executed before `journal`: in the state that was taken over.
    first: u64,
    journal: Vec<Executed>,
    /// How many states were taken over.
    restored: u64,
    /// Bytes of a snapshot that never change: it has chunks to spare.
    ballast: usize,
    faults: Arc<ServiceFaults>,
    /// Whether the state went wrong here, and no other was taken over since.
    rotten: bool,
}

/// What goes wrong with the application of one replica.
#[derive(Debug, Default)]
pub struct ServiceFaults {
    /// The next operation spoils the state.
    pub rots: AtomicBool,
    /// So many states are not taken over.
    pub refusals: AtomicU32,
}

#[derive(Clone, Debug)]
struct State {
    executed: u64,
    accounts: [u64; ACCOUNTS],
    values: [u64; KEYS],
}

impl Service {
    /// A bank with full accounts and an empty store.
    #[must_use]
    pub fn new() -> Self {
        let state = State { executed: 0, accounts: [DEPOSIT; ACCOUNTS], values: [0; KEYS] };
        let (first, restored, ballast, rotten) = (0, 0, 0, false);
        Self { state, first, journal: Vec::new(), restored, ballast, faults: Arc::default(), rotten }
    }

    /// The same with so many bytes more in its snapshots, and with what may go wrong.
    #[must_use]
    pub fn with(ballast: usize, faults: &Arc<ServiceFaults>) -> Self {
        Self { ballast, faults: Arc::clone(faults), ..Self::new() }
    }

    /// Bytes of its snapshots.
    #[must_use]
    pub fn snapshot_bytes(ballast: usize) -> usize {
        8 * (1 + ACCOUNTS + KEYS) + ballast
    }

    /// Whether its state went wrong.
    #[must_use]
    pub fn is_rotten(&self) -> bool {
        self.rotten
    }

    /// Whether no money was made or lost.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.state.accounts.iter().sum::<u64>() == DEPOSIT * ACCOUNTS as u64
    }

    /// How many states it has taken over.
    #[must_use]
    pub fn restored(&self) -> u64 {
        self.restored
    }

    /// The number of the first operation of [`Service::journal`].
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// What was executed here, in order.
    #[must_use]
    pub fn journal(&self) -> &[Executed] {
        &self.journal
    }

    /// An operation to ask for.
    #[must_use]
    pub fn operation(random: &mut Random) -> Vec<u8> {
        let byte = |random: &mut Random, bound: usize| u8::try_from(random.index(bound)).unwrap_or(0);
        match random.below(20) {
            0..8 => vec![0, byte(random, ACCOUNTS), byte(random, ACCOUNTS), byte(random, 200)],
            8..10 => vec![1],
            10..16 => vec![2, byte(random, KEYS), byte(random, 256)],
            16..19 => vec![3, byte(random, KEYS), byte(random, 200)],
            _ => vec![9; random.index(40)],
        }
    }

    fn apply(&mut self, operation: &[u8], reply: &mut Vec<u8>) {
        let State { accounts, values, .. } = &mut self.state;
        match *operation {
            [0, from, to, amount] => {
                let (from, to, amount) = (usize::from(from), usize::from(to), u64::from(amount));
                if from.max(to) >= ACCOUNTS || accounts[from] < amount {
                    return reply.push(0);
                }
                accounts[from] -= amount;
                accounts[to] += amount;
                reply.extend_from_slice(&accounts[to].to_le_bytes());
            }
            [1] => accounts.iter().for_each(|amount| reply.extend_from_slice(&amount.to_le_bytes())),
            [2, key, value] if usize::from(key) < KEYS => {
                // What was there before: every write of a key depends on the one before it.
                let value = values[usize::from(key)].wrapping_mul(257).wrapping_add(u64::from(value));
                let old = std::mem::replace(&mut values[usize::from(key)], value);
                reply.extend_from_slice(&old.to_le_bytes());
            }
            [3, key, times] if usize::from(key) < KEYS => {
                let value = values[usize::from(key)].to_le_bytes();
                (0..=times / 4).for_each(|_| reply.extend_from_slice(&value));
            }
            _ => reply.extend_from_slice(b"what?"),
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn encode(&self) -> Vec<u8> {
        let numbers = std::iter::once(&self.executed).chain(&self.accounts).chain(&self.values);
        numbers.flat_map(|number| number.to_le_bytes()).collect()
    }
}

impl Application for Service {
    type Snapshot = ServiceSnapshot;

    fn execute(&mut self, context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        if self.faults.rots.swap(false, Ordering::Relaxed) {
            self.state.values[0] ^= 1;
            self.rotten = true;
        }
        self.apply(operation, reply);
        self.state.executed += 1;
        let Context { client, number, .. } = *context;
        let executed = Executed { client, number, operation: hash(operation), result: hash(reply) };
        // For checkers: no state.
        owned_by_nobody(|| self.journal.push(executed));
    }

    fn digest(&self) -> Digest {
        sha256(&[&self.state.encode()])
    }

    fn snapshot(&self) -> ServiceSnapshot {
        ServiceSnapshot([self.state.encode(), vec![BALLAST; self.ballast]].concat())
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError> {
        let refusals = self.faults.refusals.load(Ordering::Relaxed);
        if refusals > 0 {
            self.faults.refusals.store(refusals - 1, Ordering::Relaxed);
            return Err(ApplicationError::Malformed("not today".to_owned()));
        }
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        let ballast = bytes.split_off(bytes.len().min(8 * (1 + ACCOUNTS + KEYS)));
        if bytes.len() != 8 * (1 + ACCOUNTS + KEYS) || ballast != vec![BALLAST; self.ballast] {
            return Err(ApplicationError::Malformed(format!("{} bytes", bytes.len() + ballast.len())));
        }
        let mut numbers = bytes.as_chunks().0.iter().map(|chunk| u64::from_le_bytes(*chunk));
        let mut next = || numbers.next().unwrap_or(0);
        let executed = next();
        let accounts = std::array::from_fn(|_| next());
        let values = std::array::from_fn(|_| next());
        self.state = State { executed, accounts, values };
        (self.first, self.restored, self.rotten) = (executed, self.restored + 1, false);
        self.journal.clear();
        Ok(())
    }
}

/// The state at one moment.
pub struct ServiceSnapshot(Vec<u8>);

impl Snapshot for ServiceSnapshot {
    fn write_to(&mut self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.0)
    }
}
