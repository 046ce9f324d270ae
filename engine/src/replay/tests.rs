#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::LazyLock;

use hypostyle_crypto::Suite;

use super::*;
use crate::config::{ClientAuth, Count, Executor};
use crate::status::ReplicaStatus;

/// Appends the operation's place among all.
#[derive(Default)]
struct Counter(u64);

struct CounterAt(u64);

impl Application for Counter {
    type Snapshot = CounterAt;

    fn execute(&mut self, _: &hypostyle_app_api::Context, _: &[u8], reply: &mut Vec<u8>) {
        self.0 += 1;
        reply.extend_from_slice(&self.0.to_le_bytes());
    }

    fn digest(&self) -> hypostyle_app_api::Digest {
        hypostyle_crypto::sha256(&[&self.0.to_le_bytes()])
    }

    fn snapshot(&self) -> CounterAt {
        CounterAt(self.0)
    }

    fn restore(&mut self, from: &mut dyn std::io::Read) -> Result<(), hypostyle_app_api::ApplicationError> {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes)?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

impl hypostyle_app_api::Snapshot for CounterAt {
    fn write_to(&mut self, to: &mut dyn std::io::Write) -> std::io::Result<()> {
        to.write_all(&self.0.to_le_bytes())
    }
}

const WORK: Work = Work { operations: 3_000, payload: 20, wave: 8 };

/// Those of the replicas, or of the clients: the same at every call.
fn keys(of: Range<usize>) -> Vec<SigningKey> {
    static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
        (0..CLIENTS.end).map(|_| SigningKey::generate(Suite::Ed25519).to_pem().to_string()).collect()
    });
    KEYS[of].iter().map(|pem| SigningKey::from_pem(pem).unwrap()).collect()
}

const REPLICAS: Range<usize> = 0..4;
const CLIENTS: Range<usize> = 4..12;

fn cluster(pillars: u16, client_auth: ClientAuth) -> ClusterConfig {
    let public = |keys: Vec<SigningKey>| keys.iter().map(SigningKey::public).collect::<Vec<_>>();
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let addresses: Vec<_> = (1..5).map(|port| (address(port), address(port + 10))).collect();
    let cluster = ClusterConfig::local(&addresses, &public(keys(REPLICAS)), &public(keys(CLIENTS)));
    let cluster = ClusterConfig {
        pillars,
        client_auth,
        batch_max: 10,
        window: 32,
        checkpoint_interval: 8,
        auth: Suite::Ed25519,
        ..cluster
    };
    recordable(cluster)
}

fn record(cluster: &ClusterConfig) -> Result<Recording, RecordError> {
    Recording::make(cluster, keys(REPLICAS), keys(CLIENTS), WORK, Counter::default)
}

fn play(recording: &Recording, workers: u16, executor: Executor) -> ReplicaStatus {
    let config = ReplicaConfig {
        workers: Count::Fixed(workers),
        crypto_threads: Count::Fixed(0),
        executor,
        ..ReplicaConfig::new(ReplicaId(0))
    };
    let key = keys(REPLICAS).pop().unwrap();
    let listening = recording.listen(config, key, Counter::default()).unwrap();
    assert_eq!(listening.status().execution.executed_operations, 0, "nothing is played yet");
    listening.play(Duration::from_secs(60)).expect("it is executed");
    let status = listening.status();
    let state =
        State { position: status.execution.executed_position, digest: status.execution.state_digest.clone() };
    assert_eq!((status.execution.executed_operations, &state), (recording.operations(), recording.state()));
    status
}

#[test]
fn what_is_played_is_executed_to_the_same_state_whatever_the_threads() {
    for (pillars, client_auth) in [(1, ClientAuth::Mac), (2, ClientAuth::Mac), (3, ClientAuth::Signature)] {
        let recording = record(&cluster(pillars, client_auth)).unwrap();
        assert!(recording.operations() >= WORK.operations);
        for (workers, executor) in [(1, Executor::Inline), (1, Executor::Thread), (pillars, Executor::Thread)]
        {
            let status = play(&recording, workers, executor);
            let verified = status.counters["verifications"];
            let [bundles, operations] = [recording.frames()["bundles"], recording.operations()];
            match client_auth {
                ClientAuth::Mac => assert!((1..=bundles).contains(&verified), "{verified} of {bundles}"),
                ClientAuth::Signature => {
                    assert!((operations + 1..=operations + bundles).contains(&verified), "{verified}");
                }
            }
        }
    }
}

/// With 80 operations a wave in batches of 10, as many statements come in each bundle as there are batches.
#[test]
fn pillars_get_equal_shares_in_full_batches_and_full_bundles() {
    for pillars in [1, 2] {
        let recording = record(&cluster(pillars, ClientAuth::Mac)).unwrap();
        let wave = u64::from(WORK.wave) * 10 * u64::from(pillars);
        let waves = WORK.operations.div_ceil(wave);
        let slots = waves * u64::from(WORK.wave) * u64::from(pillars);
        assert_eq!((recording.operations(), recording.state().position), (waves * wave, slots));
        assert_eq!(recording.frames()["bodies"], slots);
        // Of each pillar a Propose, two Prepares and three Commits, and checkpoints.
        let bundles = recording.frames()["bundles"];
        let least = waves * 6 * u64::from(pillars);
        assert!((least..least + 4 * waves).contains(&bundles), "{bundles} bundles of {waves} waves");
    }
}

#[test]
fn what_cannot_be_recorded_is_refused_with_the_reason() {
    let make = |cluster: &ClusterConfig, work| {
        Recording::make(cluster, keys(REPLICAS), keys(CLIENTS), work, Counter::default)
            .unwrap_err()
            .to_string()
    };
    assert!(make(&cluster(4, ClientAuth::Mac), WORK).contains("leads some"));
    assert!(make(&cluster(1, ClientAuth::Mac), Work { wave: 17, ..WORK }).contains("half the window"));
    let narrow = ClusterConfig { client_window: 8, ..cluster(1, ClientAuth::Mac) };
    assert!(make(&narrow, WORK).contains("client_window"));
}
