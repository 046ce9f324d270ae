//! The configuration and keys of a run.

use std::sync::Arc;
use std::time::Duration;

use hypostyle::config::{ClientAuth, ClusterConfig};
use hypostyle_app_api::{ClientId, ReplicaId};
use hypostyle_crypto::{Identity, Keyring, MacKey, Session, Signer, SigningKey, Suite};
use zeroize::Zeroizing;

use super::options::Options;

/// Who is who in a run.
pub(super) struct Cluster {
    pub(super) config: ClusterConfig,
    pub(super) keyring: Arc<Keyring>,
    pub(super) replicas: Vec<Arc<Identity>>,
    pub(super) clients: Vec<Arc<Identity>>,
}

impl Cluster {
    pub(super) fn new(options: &Options) -> Self {
        let key = |number: u64| key(options.suite, number);
        let replica_keys: Vec<_> = (0..u64::from(options.replicas)).map(key).collect();
        let client_keys: Vec<_> = (1000..1000 + options.all_clients() as u64).map(key).collect();
        let config = configuration(options, &replica_keys, &client_keys);
        config.validate().expect("the options drawn are a valid configuration");
        let domain = config.domain();
        let replicas = (0..).map(ReplicaId).zip(replica_keys);
        let replicas = replicas.map(|(id, key)| Arc::new(Identity::new(Signer::Replica(id), key, domain)));
        let clients = (0..).map(ClientId).zip(client_keys);
        let clients = clients.map(|(id, key)| Arc::new(Identity::new(Signer::Client(id), key, domain)));
        Self {
            keyring: Arc::new(config.keyring().expect("made of whole keys")),
            replicas: replicas.collect(),
            clients: clients.collect(),
            config,
        }
    }
}

fn configuration(options: &Options, replicas: &[SigningKey], clients: &[SigningKey]) -> ClusterConfig {
    let public = |keys: &[SigningKey]| keys.iter().map(SigningKey::public).collect::<Vec<_>>();
    // Nobody dials them.
    let addresses: Vec<_> = (0..options.replicas)
        .map(|id| (([127, 0, 0, 1], 1000 + id).into(), ([127, 0, 0, 1], 2000 + id).into()))
        .collect();
    let lean = options.lean.as_ref();
    let little = lean.map(|lean| lean.catch_up_bytes);
    let catch_up_bytes = options.rescue.as_ref().map(|rescue| rescue.catch_up_bytes).or(little);
    let catch_up_bytes = catch_up_bytes.unwrap_or(64 << 20);
    ClusterConfig {
        pillars: options.pillars,
        assign: options.assign,
        leaders: options.leaders,
        client_auth: if options.tags { ClientAuth::Mac } else { ClientAuth::Signature },
        replies: options.replies,
        bundle: options.bundle,
        batch_max: options.batch_max,
        batch_bytes: lean.map_or(64 << 10, |lean| lean.batch_bytes),
        batch_delay: Duration::from_nanos(options.batch_delay),
        pipeline: options.pipeline,
        checkpoint_interval: options.checkpoint_interval,
        window: options.window,
        client_window: options.client_window,
        request_operations: options.request_operations,
        request_max: 4 << 10,
        reply_max: 4 << 10,
        client_result_bytes: options.client_result_bytes,
        catch_up_bytes,
        view_timeout: Duration::from_nanos(options.view_timeout),
        client_timeout: Duration::from_nanos(options.client_timeout),
        ..ClusterConfig::local(&addresses, &public(replicas), &public(clients))
    }
}

/// The same keys in every run: what is hashed over them is the same too.
fn key(suite: Suite, number: u64) -> SigningKey {
    match suite {
        Suite::Simulated => SigningKey::simulated([number, 0x5eed]),
        _ => {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&number.to_le_bytes());
            SigningKey::ed25519_from_seed(&seed).expect("any seed is a key")
        }
    }
}

/// The keys of a client's connection: no two of a run have the same.
pub(super) fn session(client: usize, replica: usize, pillar: u16, connection: u64) -> Session {
    let key = |direction: u64| {
        let numbers = [connection, (client << 32 | replica << 16 | usize::from(pillar)) as u64, direction, 0];
        let mut bytes = Zeroizing::new([0; 32]);
        for (place, number) in bytes.chunks_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        MacKey::new(bytes)
    };
    Session { requests: key(1), replies: key(2) }
}
