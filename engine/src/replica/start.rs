use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Sender, unbounded};
use hypostyle_app_api::{PillarId, ReplicaId};
use hypostyle_crypto::{Identity, Pool, Signer};
use hypostyle_net::{Peer, Role, Settings, TicketKey, Transport};

use super::clock::Clock;
use super::mail::{Mailbox, Postbox, mailbox};
use super::running::{Inquiry, RunningReplica, report_end};
use super::seat::{ExecutorThread, Seat};
use super::worker::{ExecutorLink, Links, Worker};
use super::{Listeners, Replica, ReplicaFailed, StartError};
use crate::Application;
use crate::admin::AdminServer;
use crate::config::{ClusterConfig, Replies};
use crate::node::Node;
use crate::order_log::OrderFile;
use crate::pinning::{ExecutorPlace, ThreadPlan, available_cores, confine, pin, plan};
use crate::status::{Mode, ReplicaStatus};

type Ended = Sender<Result<(), ReplicaFailed>>;

pub(super) fn start<A: Application>(replica: Replica, application: A) -> Result<RunningReplica, StartError> {
    let Replica { cluster, config, key, listeners, lock, extra_counters } = replica;
    let me = config.id;
    let cores = available_cores().unwrap_or_default();
    let plan = plan(&config, cluster.pillars, &cores);
    plan.notes.iter().for_each(|note| tracing::warn!(replica = me.0, "{note}"));

    let listeners = listeners.map_or_else(|| Listeners::bind(&cluster, me), Ok)?;
    let addresses = (listeners.peer.local_addr()?, listeners.client.local_addr()?);
    let keyring = Arc::new(cluster.keyring()?);
    let identity = Arc::new(Identity::new(Signer::Replica(me), key, cluster.domain()));
    let pool = crypto_pool(&plan, &keyring, &identity);
    let settings = Settings {
        keyring,
        identity,
        me: Peer { role: Role::Replica, id: u32::from(me.0) },
        pillars: cluster.pillars,
        summary: cluster.summary(),
        frame_max_replica: cluster.frame_max_replica(),
        frame_max_client: cluster.frame_max_client(),
        write_buffer_max: config.limits.write_buffer,
        handshakes_max: config.limits.handshakes as usize,
        connections_max: config.limits.connections as usize,
        handshake_timeout: config.limits.handshake_timeout,
        source: config.source,
        tickets: Arc::new(TicketKey::generate()),
    };

    let workers = usize::from(plan.workers);
    let mut transports = Vec::new();
    for worker in 0..workers {
        let mut transport = Transport::new(settings.clone())?;
        let pillars: Vec<_> = owned(worker, workers, cluster.pillars).collect();
        transport.serves(&pillars);
        for (peer, pillar, address) in dials(&cluster, &config.dial, me, &pillars) {
            transport.dial(peer, pillar, address);
        }
        transports.push(transport);
    }
    // One accepts for all and hands over what isn't for its pillars.
    transports[0].listen_on(listeners.peer, Role::Replica)?;
    transports[0].listen_on(listeners.client, Role::Client)?;

    let mailboxes: Vec<_> = transports
        .iter()
        .map(|transport| {
            let waker = transport.wake_handle();
            mailbox(Arc::new(move || {
                // Fails only when the event queue is gone, and with it the worker.
                let _ = waker.wake();
            }))
        })
        .collect();
    let (posts, boxes): (Vec<Postbox>, Vec<Mailbox>) = mailboxes.into_iter().unzip();

    let file = match &config.order_log {
        Some(path) => {
            Some(OrderFile::open(path).map_err(|error| StartError::OrderLog { path: path.clone(), error })?)
        }
        None => None,
    };
    let seat = Box::new(Seat::new(&cluster, me, application, workers, file));
    let (ended_sender, ended) = unbounded();
    let mut threads = Vec::new();
    let mut seat = Some(seat);
    let executor = match plan.executor {
        ExecutorPlace::Inline => None,
        ExecutorPlace::Thread => {
            let seat = seat.take().expect("seated once");
            let (post, mails) = ExecutorThread::<A>::mailbox();
            let thread = ExecutorThread::new(seat, mails, posts.iter().map(Postbox::post).collect());
            threads.push(spawn("executor", me, plan.executor_core(), &ended_sender, move || thread.run())?);
            Some(post)
        }
    };
    let host = executor.clone().unwrap_or_else(|| posts[0].clone());
    for (index, (transport, mailbox)) in transports.into_iter().zip(boxes).enumerate() {
        let executor = match seat.take() {
            Some(seat) => ExecutorLink::Local(seat),
            None => ExecutorLink::Queue { post: host.post(), inputs: Vec::new() },
        };
        let configs = owned(index, workers, cluster.pillars).map(|pillar| cluster.pillar_config(me, pillar));
        let wake = transport.wake_handle();
        let wake = Arc::new(move || {
            let _ = wake.wake();
        });
        let singly = cluster.replies == Replies::Each;
        let node = Node::new(configs.collect(), &pool, usize::from(cluster.bundle), singly, wake);
        let others = posts.iter().enumerate().map(|(other, post)| (other != index).then(|| post.post()));
        let worker = Worker {
            node,
            transport,
            mailbox,
            executor,
            others: others.collect(),
            workers,
            clock: Clock::start(),
            links: Links::new(u16::try_from(cluster.n()).expect("n fits 16 bits")),
        };
        let name = format!("worker-{index}");
        threads.push(spawn(&name, me, plan.worker_core(index), &ended_sender, move || worker.run())?);
    }

    let blank = ReplicaStatus {
        replica: me.0,
        replicas: u16::try_from(cluster.n()).expect("n fits 16 bits"),
        cluster_id: cluster.id.clone(),
        configuration: cluster.hash().to_string(),
        mode: Mode::from(&plan),
        ..ReplicaStatus::default()
    };
    let inquiry = Arc::new(Inquiry { blank, workers: posts, executor, extra_counters });
    let admin = match config.admin {
        Some(address) => Some(AdminServer::start(address, Arc::clone(&inquiry)).map_err(|error| {
            StartError::Listen { replica: me, what: "the administrator", address, error }
        })?),
        None => None,
    };
    Ok(RunningReplica { inquiry, threads, ended, admin, addresses, _lock: lock })
}

impl Listeners {
    fn bind(cluster: &ClusterConfig, replica: ReplicaId) -> Result<Self, StartError> {
        let entry = &cluster.replicas[replica.index()];
        let bind = |address: SocketAddr, what| {
            TcpListener::bind(address).map_err(|error| StartError::Listen { replica, what, address, error })
        };
        Ok(Self { peer: bind(entry.peer, "replicas")?, client: bind(entry.client, "clients")? })
    }
}

/// Worker w owns the pillars p with p mod workers = w.
fn owned(worker: usize, workers: usize, pillars: u16) -> impl Iterator<Item = PillarId> {
    (0..pillars).map(PillarId).filter(move |pillar| pillar.index() % workers == worker)
}

/// The higher id dials the lower one, so that a pair has one link a pillar.
fn dials<'a>(
    cluster: &'a ClusterConfig,
    elsewhere: &'a std::collections::BTreeMap<ReplicaId, SocketAddr>,
    me: ReplicaId,
    pillars: &'a [PillarId],
) -> impl Iterator<Item = (Peer, PillarId, SocketAddr)> + 'a {
    let lower = cluster.replicas.iter().filter(move |replica| replica.id < me);
    lower.flat_map(move |replica| {
        let address = elsewhere.get(&replica.id).copied().unwrap_or(replica.peer);
        let peer = Peer { role: Role::Replica, id: u32::from(replica.id.0) };
        pillars.iter().map(move |pillar| (peer, *pillar, address))
    })
}

/// The crypto threads inherit the mask of the thread that starts them.
fn crypto_pool(
    plan: &ThreadPlan,
    keyring: &Arc<hypostyle_crypto::Keyring>,
    identity: &Arc<Identity>,
) -> Pool {
    let (threads, cores) = (usize::from(plan.crypto_threads), plan.crypto_cores.clone());
    let (keyring, identity) = (Arc::clone(keyring), Arc::clone(identity));
    let make = move || {
        if !cores.is_empty()
            && let Err(error) = confine(&cores)
        {
            tracing::warn!(%error, "crypto threads are not confined to their cores");
        }
        Pool::new(threads, keyring, identity)
    };
    std::thread::spawn(make).join().expect("making a pool doesn't panic")
}

fn spawn(
    name: &str,
    replica: ReplicaId,
    core: Option<usize>,
    ended: &Ended,
    body: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let ended = ended.clone();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Some(core) = core
            && let Err(error) = pin(core)
        {
            tracing::warn!(%error, "not pinned");
        }
        report_end(replica, &ended, body);
    })
}
