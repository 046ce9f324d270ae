//! Everybody's keys, a small configuration, and messages signed by whom a test says.

use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, Number, PillarId, ReplicaId, Seq, Timestamp, View};
use hypostyle_crypto::{Domain, Entry, Identity, Keyring, Seal, Signer, SigningKey, Suite, Tag};
use hypostyle_pillars::message::{
    Body, BodyBuilder, Bundle, Kind, Nonce, PeerFrame, Recover, Request, SealedBundle, Statement,
    encode_request,
};
use hypostyle_pillars::{Assign, Config, Declaration, Declared, Leaders, assigned_pillar};

pub(crate) const CLIENTS: u32 = 6;
pub(crate) const MS: Duration = Duration::from_millis(1);

/// The private keys of a whole cluster.
pub(crate) struct Keys {
    replicas: Vec<Identity>,
    clients: Vec<Identity>,
    pub(crate) keyring: Keyring,
}

impl Keys {
    pub(crate) fn new(replicas: u16) -> Self {
        let domain = Domain { configuration: Digest([1; 32]) };
        let identities = |signers: Vec<Signer>| -> (Vec<_>, Vec<_>) {
            let keyed = signers.into_iter().map(|signer| (signer, SigningKey::generate(Suite::Ed25519)));
            keyed.map(|(signer, key)| (key.public(), Identity::new(signer, key, domain))).unzip()
        };
        let (replica_keys, replicas) =
            identities((0..replicas).map(|id| Signer::Replica(ReplicaId(id))).collect());
        let (client_keys, clients) =
            identities((0..CLIENTS).map(|id| Signer::Client(ClientId(id))).collect());
        let keyring = Keyring::new(domain, &replica_keys, &client_keys).unwrap();
        Self { replicas, clients, keyring }
    }

    /// Statements of `signer`, sealed.
    pub(crate) fn bundle(
        &self,
        signer: ReplicaId,
        pillar: PillarId,
        statements: &[Statement],
    ) -> SealedBundle {
        let bundle = Bundle::new(signer, pillar, statements);
        let entries: Vec<Entry> = vec![bundle.entry()];
        let signature = self.replicas[signer.index()].sign(Tag::Seal, &Seal::content(signer, &entries));
        bundle.seal(Seal { signer, entries, signature })
    }

    /// What a replica declares, sealed.
    pub(crate) fn declared(&self, signer: ReplicaId, declaration: Declaration) -> Declared {
        let entries = vec![declaration.entry()];
        let signature = self.replicas[signer.index()].sign(Tag::Seal, &Seal::content(signer, &entries));
        declaration.seal(Seal { signer, entries, signature })
    }

    /// A request of operations `first`, `first`+1, …
    pub(crate) fn request(&self, client: u32, first: u64, floor: u64, operations: &[&[u8]]) -> Bytes {
        let client = ClientId(client);
        encode_request(&self.clients[client.index()], client, Number(first), Number(floor), operations)
    }

    /// A request of one operation, decoded.
    pub(crate) fn lone(&self, client: u32, number: u64) -> Request {
        self.decoded(&self.request(client, number, 0, &[b"operation"]))
    }

    pub(crate) fn decoded(&self, bytes: &Bytes) -> Request {
        let limits = Config { request_operations: 64, ..config(4, 1) }.frame_limits().request;
        Request::decode(bytes.clone(), &limits).unwrap()
    }

    /// The wish of `replica` to recover.
    pub(crate) fn recover(&self, replica: u16, incarnation: u64, nonce: u8) -> Recover {
        let (replica, nonce) = (ReplicaId(replica), Nonce([nonce; 16]));
        let content = Recover::content(replica, incarnation, nonce);
        let signature = self.replicas[replica.index()].sign(Tag::Recover, &content);
        Recover::new(replica, incarnation, nonce, &signature)
    }

    /// A body of lone requests of client 0.
    pub(crate) fn body(&self, timestamp: Timestamp, numbers: &[u64]) -> Body {
        let mut builder = BodyBuilder::new();
        numbers.iter().for_each(|number| builder.push(&self.lone(0, *number)));
        builder.finish(timestamp)
    }
}

/// n replicas and P pillars with small limits.
pub(crate) fn config(replicas: u16, pillars: u16) -> Config {
    Config {
        me: ReplicaId(0),
        pillar: PillarId(0),
        replicas,
        pillars,
        clients: CLIENTS,
        leaders: Leaders::Spread,
        assign: Assign::Request,
        client_window: 64,
        request_operations: 1,
        request_max: 4 << 10,
        client_tags: false,
        batch_max: 8,
        batch_bytes: 8 << 10,
        batch_delay: Duration::ZERO,
        pipeline: 4,
        checkpoint_interval: 4,
        window: 16,
        view_timeout: 500 * MS,
        max_clock_skew: 5000 * MS,
    }
}

/// A statement of view 0.
pub(crate) fn statement(kind: Kind, pillar: u16, seq: u64, digest: Digest) -> Statement {
    Statement { kind, pillar: PillarId(pillar), view: View(0), seq: Seq(seq), digest }
}

/// The first numbers of `client`, at least 1, that `pillar` orders.
pub(crate) fn numbers_of(config: &Config, client: u32, pillar: u16) -> impl Iterator<Item = u64> {
    let (assign, pillars, run) = (config.assign, config.pillars, config.request_operations);
    let home = move |number| assigned_pillar(assign, pillars, run, ClientId(client), Number(number));
    (1..).filter(move |number| home(*number) == PillarId(pillar))
}

pub(crate) fn frame(kind: u8, message: &[u8]) -> Bytes {
    Bytes::from([&[kind], message].concat())
}

pub(crate) fn bundle_frame(bundle: &SealedBundle) -> Bytes {
    frame(PeerFrame::BUNDLE, bundle.bytes())
}

pub(crate) fn body_frame(body: &Body) -> Bytes {
    frame(PeerFrame::BODY, body.bytes())
}
