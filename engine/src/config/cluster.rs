use std::net::SocketAddr;
use std::time::Duration;

use hypostyle_app_api::{ClientId, Digest, ReplicaId};
use hypostyle_crypto::{Domain, KeyError, Keyring, PublicKey, SEAL_ENTRIES_MAX, Suite};
use hypostyle_pillars::{Assign, Leaders};

use super::error::Wrong;
use super::field::{Field, field};
use super::value::{Value, Word, word_value};

/// What all replicas and clients of a cluster agree on: `cluster.toml`.
///
/// All of it but the addresses is hashed into every handshake and every signed byte string, so replicas whose files
/// differ refuse each other and say in which setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// The cluster's name, for people.
    pub id: String,
    /// P: the independent ordering instances.
    pub pillars: u16,
    /// Which pillar orders a request.
    pub assign: Assign,
    /// Which replica leads a pillar.
    pub leaders: Leaders,
    /// The signatures of replicas and clients.
    pub auth: Suite,
    /// How clients authenticate requests.
    pub client_auth: ClientAuth,
    /// How replicas sign replies.
    pub replies: Replies,
    /// The most statements of a bundle.
    pub bundle: u16,
    /// The most operations of a batch.
    pub batch_max: u32,
    /// The most bytes of a batch's requests, headers and signatures included.
    pub batch_bytes: usize,
    /// How long the oldest request waits for others to fill its batch.
    pub batch_delay: Duration,
    /// The most slots a primary has open beyond the frontier; the window limits it too.
    pub pipeline: u32,
    /// K: rounds between checkpoints.
    pub checkpoint_interval: u32,
    /// L: rounds between the low and the high watermark.
    pub window: u32,
    /// W: the numbers a client may use beyond its floor.
    pub client_window: u32,
    /// M: the most operations of a request.
    pub request_operations: u16,
    /// The most bytes of a request, header and signature included.
    pub request_max: usize,
    /// The most bytes of a result; a larger one becomes an error.
    pub reply_max: usize,
    /// The bytes of unacknowledged results a replica keeps for a client.
    pub client_result_bytes: usize,
    /// The bytes of decided slots kept for a replica that catches up.
    pub catch_up_bytes: usize,
    /// How long a pillar may owe a slot before its primary is blamed.
    pub view_timeout: Duration,
    /// How long a client waits before it asks all replicas.
    pub client_timeout: Duration,
    /// How far a proposal's time may run ahead of a backup's clock.
    pub max_clock_skew: Duration,
    /// The replicas: replica i at index i, 3f+1 of them.
    pub replicas: Vec<ReplicaEntry>,
    /// The clients: client i at index i.
    pub clients: Vec<ClientEntry>,
}

/// A replica as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaEntry {
    /// Its index.
    pub id: ReplicaId,
    /// Where the other replicas reach it.
    pub peer: SocketAddr,
    /// Where clients reach it.
    pub client: SocketAddr,
    /// Whom to believe that it is this replica.
    pub key: PublicKey,
}

/// A client as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientEntry {
    /// Its index.
    pub id: ClientId,
    /// Whom to believe that it is this client.
    pub key: PublicKey,
}

/// How clients authenticate requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// With a signature of the suite `auth`; replies too are under the replicas' signatures.
    Signature,
    /// With a MAC tag for each replica, under keys of the connections; a signature where that doesn't do. Each reply has a
    /// tag.
    Mac,
}

/// How replicas sign replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// One signature over a Merkle tree of the replies of one turn.
    Merkle,
    /// Every reply on its own, as in the paper.
    Each,
}

impl ClusterConfig {
    /// A cluster of these members with every setting at its default: replica i has `addresses[i]` (for replicas, for
    /// clients) and `replica_keys[i]`. The suite is that of the first key. Change settings, then
    /// [`validate`](Self::validate).
    ///
    /// # Panics
    /// When there are not as many addresses as replicas' keys, or too many members to number.
    #[must_use]
    pub fn local(
        addresses: &[(SocketAddr, SocketAddr)],
        replica_keys: &[PublicKey],
        client_keys: &[PublicKey],
    ) -> Self {
        assert_eq!(addresses.len(), replica_keys.len(), "an address for every replica");
        let replica = |(index, (&(peer, client), key)): (usize, (&(SocketAddr, SocketAddr), &PublicKey))| {
            let id = ReplicaId(u16::try_from(index).expect("replicas fit 16 bits"));
            ReplicaEntry { id, peer, client, key: key.clone() }
        };
        let client = |(index, key): (usize, &PublicKey)| {
            let id = ClientId(u32::try_from(index).expect("clients fit 32 bits"));
            ClientEntry { id, key: key.clone() }
        };
        Self {
            auth: replica_keys.first().map_or_else(Suite::default, PublicKey::suite),
            replicas: addresses.iter().zip(replica_keys).enumerate().map(replica).collect(),
            clients: client_keys.iter().enumerate().map(client).collect(),
            ..Self::default()
        }
    }

    /// The number of replicas.
    #[must_use]
    pub fn n(&self) -> usize {
        self.replicas.len()
    }

    /// How many replicas may be Byzantine: the largest f with 3f+1 ≤ n.
    #[must_use]
    pub fn f(&self) -> usize {
        self.n().saturating_sub(1) / 3
    }

    /// 2f+1.
    #[must_use]
    pub fn quorum(&self) -> usize {
        2 * self.f() + 1
    }

    /// Everyone's public keys, parsed, under this configuration's hash.
    ///
    /// # Errors
    /// When a key does not parse.
    pub fn keyring(&self) -> Result<Keyring, KeyError> {
        let replicas: Vec<PublicKey> = self.replicas.iter().map(|replica| replica.key.clone()).collect();
        let clients: Vec<PublicKey> = self.clients.iter().map(|client| client.key.clone()).collect();
        Keyring::new(self.domain(), &replicas, &clients)
    }

    /// What this cluster's signatures are bound to.
    #[must_use]
    pub fn domain(&self) -> Domain {
        Domain { configuration: self.hash() }
    }

    /// The hash that stands in every handshake and signed byte string.
    #[must_use]
    pub fn hash(&self) -> Digest {
        super::canonical::hash(&self.summary())
    }

    /// The client with this key.
    #[must_use]
    pub fn client_with(&self, key: &PublicKey) -> Option<ClientId> {
        self.clients.iter().find(|client| client.key == *key).map(|client| client.id)
    }
}

impl Default for ClusterConfig {
    /// The defaults, without members.
    fn default() -> Self {
        Self {
            id: "hypostyle".to_owned(),
            pillars: 1,
            assign: Assign::Request,
            leaders: Leaders::Spread,
            auth: Suite::default(),
            client_auth: ClientAuth::Signature,
            replies: Replies::Merkle,
            bundle: 64,
            batch_max: 400,
            batch_bytes: 256 << 10,
            batch_delay: Duration::ZERO,
            pipeline: 64,
            checkpoint_interval: 32,
            window: 128,
            client_window: 1024,
            request_operations: 1,
            request_max: 64 << 10,
            reply_max: 64 << 10,
            client_result_bytes: 256 << 10,
            catch_up_bytes: 64 << 20,
            view_timeout: Duration::from_millis(500),
            client_timeout: Duration::from_millis(300),
            max_clock_skew: Duration::from_secs(5),
            replicas: Vec::new(),
            clients: Vec::new(),
        }
    }
}

/// The settings of `[cluster]`, with the range of each.
pub(crate) const FIELDS: &[Field<ClusterConfig>] = &[
    field!(ClusterConfig, id as "cluster_id"),
    field!(ClusterConfig, pillars, 1, 256),
    field!(ClusterConfig, assign),
    field!(ClusterConfig, leaders),
    field!(ClusterConfig, auth),
    field!(ClusterConfig, client_auth),
    field!(ClusterConfig, replies),
    field!(ClusterConfig, bundle, 1, BUNDLE_MAX),
    field!(ClusterConfig, batch_max, 1, 65_535),
    field!(ClusterConfig, batch_bytes, 1 << 10, 64 << 20),
    field!(ClusterConfig, batch_delay, Duration::ZERO, Duration::from_secs(10)),
    field!(ClusterConfig, pipeline, 1, 65_536),
    field!(ClusterConfig, checkpoint_interval, 1, 32_768),
    field!(ClusterConfig, window, 2, 65_536),
    field!(ClusterConfig, client_window, 1, 65_536),
    field!(ClusterConfig, request_operations, 1, 4096),
    field!(ClusterConfig, request_max, 1 << 10, 16 << 20),
    field!(ClusterConfig, reply_max, 32, 16 << 20),
    field!(ClusterConfig, client_result_bytes, 0, 1 << 30),
    field!(ClusterConfig, catch_up_bytes, 1 << 12, 1 << 40),
    field!(ClusterConfig, view_timeout, Duration::from_millis(10), HOUR),
    field!(ClusterConfig, client_timeout, Duration::from_millis(1), HOUR),
    field!(ClusterConfig, max_clock_skew, Duration::from_millis(1), HOUR),
];

const HOUR: Duration = Duration::from_secs(3600);
#[expect(clippy::cast_possible_truncation, reason = "64")]
const BUNDLE_MAX: u16 = SEAL_ENTRIES_MAX as u16;

impl Word for Assign {
    const WORDS: &'static [(&'static str, Self)] = &[("request", Self::Request), ("client", Self::Client)];
}

impl Word for Leaders {
    const WORDS: &'static [(&'static str, Self)] = &[("spread", Self::Spread), ("single", Self::Single)];
}

impl Word for ClientAuth {
    const WORDS: &'static [(&'static str, Self)] = &[("signature", Self::Signature), ("mac", Self::Mac)];
}

impl Word for Replies {
    const WORDS: &'static [(&'static str, Self)] = &[("merkle", Self::Merkle), ("each", Self::Each)];
}

word_value!(Assign, Leaders, ClientAuth, Replies);

impl Value for Suite {
    fn read(text: &str) -> Result<Self, Wrong> {
        text.parse().map_err(|_| {
            let known: Vec<String> = hypostyle_crypto::SUITES.iter().map(ToString::to_string).collect();
            let what = format!("\"{}\" is no suite", text.escape_debug());
            Wrong::new(what, super::error::suggestion(text, known.iter().map(String::as_str)))
        })
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for PublicKey {
    fn read(text: &str) -> Result<Self, Wrong> {
        let remedy = "copy the line that `hypostyle key show FILE` prints";
        text.parse().map_err(|error| Wrong::new(format!("no public key ({error})"), remedy))
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}
