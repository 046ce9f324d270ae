//! Everybody's keys, and a configuration with the smallest limits.

use std::time::Duration;

use hypostyle_app_api::{ClientId, Digest, Number, PillarId, ReplicaId, Timestamp};
use hypostyle_crypto::{Domain, Identity, Keyring, Seal, Signer, SigningKey, Suite, Tag};
use hypostyle_pillars::message::{
    Body, BodyBuilder, Bundle, Request, SealedBundle, Statement, encode_request,
};
use hypostyle_pillars::{Assign, Config, Declaration, Declared, Leaders};

/// The private keys of a cluster with one client.
pub(super) struct Keys {
    replicas: Vec<Identity>,
    client: Identity,
    pub(super) keyring: Keyring,
}

impl Keys {
    pub(super) fn new(replicas: u16) -> Self {
        let domain = Domain { configuration: Digest([1; 32]) };
        let key = || SigningKey::generate(Suite::Ed25519);
        let keys: Vec<_> = (0..replicas).map(|id| (Signer::Replica(ReplicaId(id)), key())).collect();
        let public: Vec<_> = keys.iter().map(|(_, key)| key.public()).collect();
        let client = key();
        let keyring = Keyring::new(domain, &public, &[client.public()]).expect("fresh keys");
        let identity = |(signer, key)| Identity::new(signer, key, domain);
        Self {
            replicas: keys.into_iter().map(identity).collect(),
            client: identity((Signer::Client(ClientId(0)), client)),
            keyring,
        }
    }

    pub(super) fn bundle(&self, signer: ReplicaId, statement: Statement) -> SealedBundle {
        let bundle = Bundle::new(signer, PillarId(0), &[statement]);
        let entries = vec![bundle.entry()];
        let signature = self.replicas[signer.index()].sign(Tag::Seal, &Seal::content(signer, &entries));
        bundle.seal(Seal { signer, entries, signature })
    }

    pub(super) fn declared(&self, signer: ReplicaId, declaration: Declaration) -> Declared {
        let entries = vec![declaration.entry()];
        let signature = self.replicas[signer.index()].sign(Tag::Seal, &Seal::content(signer, &entries));
        declaration.seal(Seal { signer, entries, signature })
    }

    /// The client's request with this number.
    pub(super) fn request(&self, number: u64) -> Request {
        let bytes = encode_request(&self.client, ClientId(0), Number(number), Number(0), &[b"operation"]);
        Request::decode(bytes, &config(4).frame_limits().request).expect("well-formed")
    }

    pub(super) fn body(&self, number: u64, timestamp: Timestamp) -> Body {
        let mut builder = BodyBuilder::new();
        builder.push(&self.request(number));
        builder.finish(timestamp)
    }
}

/// One pillar, and room for a few slots.
pub(super) fn config(replicas: u16) -> Config {
    Config {
        me: ReplicaId(0),
        pillar: PillarId(0),
        replicas,
        pillars: 1,
        clients: 1,
        leaders: Leaders::Spread,
        assign: Assign::Request,
        client_window: 32,
        request_operations: 1,
        request_max: 1 << 10,
        client_tags: false,
        batch_max: 1,
        batch_bytes: 1 << 10,
        batch_delay: Duration::ZERO,
        pipeline: 2,
        checkpoint_interval: 4,
        window: 8,
        view_timeout: Duration::from_millis(500),
        max_clock_skew: Duration::from_secs(3600),
    }
}
