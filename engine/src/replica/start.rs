use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Sender, unbounded};
use hypostyle_app_api::{PillarId, ReplicaId};
use hypostyle_crypto::{Identity, Keyring, Pool};
use hypostyle_net::{Peer, Role, Settings, TicketKey, Transport, Wire};
use hypostyle_pillars::message::Nonce;

use super::clock::Clock;
use super::mail::{Postbox, mailbox};
use super::refused::RefusalLog;
use super::running::{Inquiry, RunningReplica, report_end};
use super::seat::{ExecutorThread, Seat};
use super::worker::{ExecutorLink, Links, Worker};
use super::{Listeners, Replica, ReplicaFailed, StartError};
use crate::Application;
use crate::admin::AdminServer;
use crate::config::{ClusterConfig, ReplicaConfig, Replies, genesis};
use crate::node::Node;
use crate::order_log::OrderFile;
use crate::pinning::{ExecutorPlace, ThreadPlan, confine, pin};
use crate::status::{Mode, ReplicaStatus};

pub(super) fn start<A: Application>(
    mut replica: Replica,
    application: A,
) -> Result<RunningReplica, StartError> {
    let (cluster, me) = (&replica.cluster, replica.config.id);
    let listeners = replica.listeners.take().map_or_else(|| Listeners::bind(cluster, me), Ok)?;
    let addresses = (listeners.peer.local_addr()?, listeners.client.local_addr()?);
    let keyring = Arc::new(cluster.keyring()?);
    let settings = settings(cluster, &replica.config, &keyring, &replica.identity);
    let plan = replica.plan();
    let wires = transports(cluster, &replica.config, &settings, usize::from(plan.workers), listeners)?;
    run(replica, application, &plan, &keyring, wires, addresses)
}

/// Starts the threads of a replica, a worker for each of the `wires`.
pub(super) fn run<A: Application, W: Wire + Send + 'static>(
    replica: Replica,
    application: A,
    plan: &ThreadPlan,
    keyring: &Arc<Keyring>,
    wires: Vec<W>,
    addresses: (SocketAddr, SocketAddr),
) -> Result<RunningReplica, StartError> {
    super::panics::quiet_the_application();
    let Replica { cluster, config, identity, listeners: _, restarted, home, extra_counters } = replica;
    let me = config.id;
    let pool = crypto_pool(plan, keyring, &identity);
    let (posts, mailboxes): (Vec<_>, Vec<_>) = wires.iter().map(|wire| mailbox(wake(wire))).unzip();
    let (executor_post, executor_mails, executor_bell) = match plan.executor {
        ExecutorPlace::Inline => (None, None, None),
        ExecutorPlace::Thread => {
            let (post, mails, bell) = ExecutorThread::<A>::mailbox();
            (Some(post), Some(mails), Some(bell))
        }
    };
    let seat = Seat::new(&cluster, me, application, wires.len(), order_file(&config)?);
    let wake_seat = executor_bell.unwrap_or_else(|| wake(&wires[0]));
    let mut seat = Box::new(seat.in_background(wake_seat));
    let nonce = restarted.then(|| Nonce(hypostyle_crypto::random()));
    if nonce.is_some() {
        seat.recovers();
        tracing::warn!(
            replica = me.0,
            "this replica was started before and has no log: it recovers. It votes again when the others have ordered its \
             Recover and a checkpoint a window above it is stable; until then restart no other"
        );
    }
    let inquiry = Arc::new(Inquiry {
        blank: blank_status(&cluster, me, plan),
        workers: posts.clone(),
        executor: executor_post.clone(),
        extra_counters,
    });
    let admin = config.admin.map(|address| {
        let server = AdminServer::start(address, Arc::clone(&inquiry));
        server.map_err(|error| StartError::Listen { replica: me, what: "the administrator", address, error })
    });
    let admin = admin.transpose()?;
    if let Some((home, _)) = home.as_ref().filter(|_| !restarted) {
        genesis::consume(home)?;
    }

    let (ended_sender, ended) = unbounded();
    let lock = home.map(|(_, lock)| lock);
    let spawner = Spawner { inquiry: Arc::clone(&inquiry), ended: ended_sender };
    // From here on it stops by being dropped.
    let mut running = RunningReplica { inquiry, threads: Vec::new(), ended, admin, addresses, _lock: lock };
    let mut seat = Some(seat);
    // One clock: moments pass between workers with the connections they hand over.
    let clock = Clock::start();
    if let Some(mails) = executor_mails {
        let seat = seat.take().expect("seated once");
        let thread = ExecutorThread::new(seat, mails, posts.iter().map(Postbox::post).collect(), clock);
        running.threads.push(spawner.spawn("executor", plan.executor_core(), || thread.run())?);
    }
    let host = executor_post.as_ref().unwrap_or(&posts[0]);
    for (index, (transport, mailbox)) in wires.into_iter().zip(mailboxes).enumerate() {
        let pillars = owned(index, posts.len(), cluster.pillars);
        let configs = pillars.map(|pillar| cluster.pillar_config(me, pillar)).collect();
        let singly = cluster.replies == Replies::Each;
        let mut node = Node::new(configs, &pool, usize::from(cluster.bundle), singly, wake(&transport));
        if let Some(nonce) = nonce {
            node.recover(clock.now(), nonce);
        }
        let worker = Worker {
            me,
            node,
            transport,
            mailbox,
            executor: match seat.take() {
                Some(seat) => ExecutorLink::Local(seat),
                None => ExecutorLink::Queue { post: host.post(), inputs: Vec::new() },
            },
            others: posts
                .iter()
                .enumerate()
                .map(|(other, post)| (other != index).then(|| post.post()))
                .collect(),
            workers: posts.len(),
            clock,
            links: Links::new(u16::try_from(cluster.n()).expect("n fits 16 bits")),
            refused: RefusalLog::new(u16::try_from(cluster.n()).expect("n fits 16 bits")),
        };
        let name = format!("worker-{index}");
        running.threads.push(spawner.spawn(&name, plan.worker_core(index), || worker.run())?);
    }
    Ok(running)
}

fn settings(
    cluster: &ClusterConfig,
    config: &ReplicaConfig,
    keyring: &Arc<Keyring>,
    identity: &Arc<Identity>,
) -> Settings {
    Settings {
        keyring: Arc::clone(keyring),
        identity: Arc::clone(identity),
        me: Peer { role: Role::Replica, id: u32::from(config.id.0) },
        pillars: cluster.pillars,
        summary: cluster.summary(),
        frame_max_replica: cluster.frame_max_replica(),
        frame_max_request: 1 + cluster.request_max,
        frame_max_reply: cluster.frame_max_client(),
        write_buffer_max: config.limits.write_buffer,
        handshakes_max: config.limits.handshakes as usize,
        connections_max: config.limits.connections as usize,
        handshake_timeout: config.limits.handshake_timeout,
        source: config.source,
        tickets: Arc::new(TicketKey::generate()),
    }
}

/// One a worker, dialling for its pillars. The first accepts for all and hands over what isn't for its own.
fn transports(
    cluster: &ClusterConfig,
    config: &ReplicaConfig,
    settings: &Settings,
    workers: usize,
    listeners: Listeners,
) -> Result<Vec<Transport>, StartError> {
    let mut transports = Vec::new();
    for worker in 0..workers {
        let mut transport = Transport::new(settings.clone())?;
        let pillars: Vec<_> = owned(worker, workers, cluster.pillars).collect();
        transport.serves(&pillars);
        for (peer, pillar, address) in dials(cluster, &config.dial, config.id, &pillars) {
            transport.dial(peer, pillar, address);
        }
        transports.push(transport);
    }
    transports[0].listen_on(listeners.peer, Role::Replica)?;
    transports[0].listen_on(listeners.client, Role::Client)?;
    Ok(transports)
}

fn wake(wire: &impl Wire) -> Arc<dyn Fn() + Send + Sync> {
    let waker = wire.wake_handle();
    Arc::new(move || {
        // Fails only when the event queue is gone, and with it the worker.
        let _ = waker.wake();
    })
}

fn order_file(config: &ReplicaConfig) -> Result<Option<OrderFile>, StartError> {
    let open = |path: &std::path::PathBuf| {
        OrderFile::open(path).map_err(|error| StartError::OrderLog { path: path.clone(), error })
    };
    config.order_log.as_ref().map(open).transpose()
}

fn blank_status(cluster: &ClusterConfig, me: ReplicaId, plan: &ThreadPlan) -> ReplicaStatus {
    ReplicaStatus {
        replica: me.0,
        replicas: u16::try_from(cluster.n()).expect("n fits 16 bits"),
        cluster_id: cluster.id.clone(),
        configuration: cluster.hash().to_string(),
        mode: Mode::from(plan),
        ..ReplicaStatus::default()
    }
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
fn crypto_pool(plan: &ThreadPlan, keyring: &Arc<Keyring>, identity: &Arc<Identity>) -> Pool {
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

/// Starts the threads one by one.
struct Spawner {
    inquiry: Arc<Inquiry>,
    ended: Sender<Result<(), ReplicaFailed>>,
}

impl Spawner {
    fn spawn(
        &self,
        name: &str,
        core: Option<usize>,
        body: impl FnOnce() -> std::io::Result<()> + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let (inquiry, ended) = (Arc::clone(&self.inquiry), self.ended.clone());
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Some(core) = core
                && let Err(error) = pin(core)
            {
                tracing::warn!(%error, "not pinned");
            }
            report_end(&inquiry, &ended, body);
        })
    }
}
