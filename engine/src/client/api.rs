use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fmt, io};

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Number};
use hypostyle_crypto::{KeyFileError, SigningKey, read_key};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, oneshot};

use super::driver::{Driver, DriverError, Registration};
use super::error::NotSent;
use super::mailbox::{Command, Mailbox};
use super::pending::{CallResult, Pending, block_on};
use super::worker::Worker;
use crate::config::{ClusterConfig, ConfigError};

/// A client of a cluster: a handle that is cheap to clone and whose methods take `&self`, with as many operations
/// in flight as the cluster's `client_window` allows.
///
/// A call resolves to the operation's executed result once f+1 replicas have told the same. However often the
/// client sends a request again, the operation is executed at most once. The work is done on a thread of the
/// client's own; [`Client::call`] works under any executor, [`Client::call_blocking`] without one. Dropping the last
/// clone stops the thread and waits for its end.
///
/// ```no_run
/// use std::time::Duration;
///
/// use hypostyle::client::{CallError, Client};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::open("cluster.toml", "client-0.pem")?.with_deadline(Duration::from_secs(5));
///
/// // Many in flight, no runtime needed:
/// let pending: Vec<_> = (0..10).map(|_| client.send("add 1")).collect();
/// for operation in pending {
///     println!("{:?}", operation.wait()?);
/// }
///
/// // An operation that isn't settled in time is still the same operation: waiting on repeats nothing.
/// match client.call_blocking("add 1") {
///     Ok(result) => println!("{result:?}"),
///     Err(CallError::OutcomeUnknown(unresolved)) => {
///         eprintln!("{unresolved}");
///         if let Some(operation) = unresolved.resume() {
///             println!("{:?}", operation.wait()?);
///         }
///     }
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
    deadline: Option<Duration>,
}

/// Why a client can't be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `cluster.toml` is missing or wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The key file is missing or wrong.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The key belongs to no client of the configuration.
    #[error(
        "the key in {} belongs to no client in {}; give the key of a [[client]], or add this one: key = \"{public}\"",
        key.display(),
        cluster.display()
    )]
    NotRegistered {
        /// The key file.
        key: PathBuf,
        /// The configuration.
        cluster: PathBuf,
        /// The key's public half.
        public: String,
    },
    /// Key and configuration are no client.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The system refuses a thread.
    #[error("no thread: {0}")]
    Thread(io::Error),
}

/// The client's thread and the way to it.
struct Handle {
    client: ClientId,
    mailbox: Arc<Mailbox>,
    permits: Arc<Semaphore>,
    capacity: usize,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// A client of the cluster that this `cluster.toml` describes: the one whose private key is in the file `key`.
    /// Its numbers start at the present time, see [`Client::connect`].
    ///
    /// Returns at once: connections come up while the first calls wait.
    ///
    /// # Errors
    /// When a file is missing or wrong, or the key belongs to no client of the cluster.
    pub fn open(cluster: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, OpenError> {
        let (cluster_path, key_path) = (cluster.as_ref(), key.as_ref());
        let cluster = ClusterConfig::load(cluster_path)?;
        let key = read_key(key_path)?;
        let public = key.public();
        let client = cluster.client_with(&public).ok_or_else(|| OpenError::NotRegistered {
            key: key_path.to_owned(),
            cluster: cluster_path.to_owned(),
            public: public.to_string(),
        })?;
        Self::connect(&cluster, client, key, None)
    }

    /// A client of this cluster with this key.
    ///
    /// `first` is the number of its first operation, which must be above all numbers this client ever used: a
    /// number is executed once, and the first request tells the replicas to forget everything below. When the caller
    /// doesn't keep count, `None` takes the nanoseconds since 1970, which is above whatever an earlier run can have
    /// used, as long as the clock isn't set back across a restart. Two clients at the same time need two keys.
    ///
    /// # Errors
    /// When client and key don't belong together, or the system refuses the event loop or the thread.
    pub fn connect(
        cluster: &ClusterConfig,
        client: ClientId,
        key: SigningKey,
        first: Option<Number>,
    ) -> Result<Self, OpenError> {
        let first = first.unwrap_or_else(number_of_now);
        let driver = Driver::new(cluster, vec![Registration { client, key, first }])?;
        // One window in flight and one waiting behind it.
        let capacity = 2 * cluster.client_window as usize;
        let mailbox = Arc::new(Mailbox::new(capacity, driver.wake_handle()));
        let worker = Worker::new(driver, Arc::clone(&mailbox));
        let thread = thread::Builder::new().name(format!("hypostyle-client-{client}"));
        let thread = thread.spawn(move || worker.run()).map_err(OpenError::Thread)?;
        let permits = Arc::new(Semaphore::new(capacity));
        let handle = Handle { client, mailbox, permits, capacity, thread: Some(thread) };
        Ok(Self { handle: Arc::new(handle), deadline: None })
    }

    /// A clone whose operations report back after this time at the latest: with
    /// [`NotSent::Deadline`](super::NotSent::Deadline) when they were not sent by then, else with
    /// [`CallError::OutcomeUnknown`](super::CallError::OutcomeUnknown). The time runs from when the operation is
    /// handed to the client's thread, at once unless two windows of operations are under way.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { handle: Arc::clone(&self.handle), deadline: Some(deadline) }
    }

    /// Which client it is.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.handle.client
    }

    /// Executes an operation. While two windows of operations are under way, waits before handing it over.
    ///
    /// Dropping the future before that withdraws the operation, later it does not: it goes on.
    ///
    /// # Errors
    /// See [`CallError`](super::CallError).
    pub async fn call(&self, operation: impl Into<Bytes>) -> CallResult {
        let permit = Arc::clone(&self.handle.permits).acquire_owned().await;
        self.hand_over(operation.into(), permit).await
    }

    /// Executes an operation, blocking the thread; see [`Client::call`].
    ///
    /// # Errors
    /// See [`CallError`](super::CallError).
    pub fn call_blocking(&self, operation: impl Into<Bytes>) -> CallResult {
        let call = Box::pin(self.call(operation));
        block_on(call, None).unwrap_or_else(|_| unreachable!("there is no deadline"))
    }

    /// Starts an operation without waiting for anything. While two windows of operations are under way it is
    /// refused: the handle then tells [`NotSent::Busy`](super::NotSent::Busy).
    pub fn send(&self, operation: impl Into<Bytes>) -> Pending {
        match Arc::clone(&self.handle.permits).try_acquire_owned() {
            Ok(permit) => self.hand_over(operation.into(), Ok(permit)),
            Err(_) => Pending::refused(NotSent::Busy(self.handle.capacity)),
        }
    }

    fn hand_over(&self, operation: Bytes, permit: Result<OwnedSemaphorePermit, AcquireError>) -> Pending {
        let Ok(permit) = permit else { return Pending::refused(NotSent::Closed) };
        let deadline = self.deadline.and_then(|deadline| Instant::now().checked_add(deadline));
        let (answer, pending) = oneshot::channel();
        match self.handle.mailbox.push(Command { operation, deadline, answer, permit }) {
            Ok(()) => Pending::new(pending),
            Err(_) => Pending::refused(NotSent::Closed),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.handle.client).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.mailbox.close();
        if let Some(thread) =
            self.thread.take().filter(|handle| handle.thread().id() != thread::current().id())
        {
            // A panic there was printed when it happened; its callers learned that the thread is gone.
            drop(thread.join());
        }
    }
}

fn number_of_now() -> Number {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Number(u64::try_from(since.as_nanos()).unwrap_or(1).max(1))
}
