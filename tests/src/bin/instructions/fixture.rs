//! Keys, limits and messages that the workloads share.

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, Number, PillarId, ReplicaId};
use hypostyle_crypto::{Domain, Entry, Identity, Keyring, Seal, Signer, SigningKey, Suite, Tag};
use hypostyle_pillars::message::{Bundle, Request, SealedBundle, Statement, encode_request};
use hypostyle_pillars::{Assign, Config, Leaders};
use std::time::Duration;

pub(crate) const REPLICAS: u16 = 4;
const CLIENTS: u32 = 10;
const OUTSTANDING: u64 = 100;
const OPERATION: [u8; 100] = [7; 100];

/// Everybody's keys. Ed25519, since signing here only has to be done, not to be paid for.
pub(crate) struct Fixture {
    replicas: Vec<Identity>,
    clients: Vec<Identity>,
    pub(crate) keyring: Keyring,
    numbers: u64,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let domain = Domain { configuration: Digest([1; 32]) };
        let identities = |signers: Vec<Signer>| -> (Vec<_>, Vec<_>) {
            let keyed = signers.into_iter().map(|signer| (signer, SigningKey::generate(Suite::Ed25519)));
            keyed.map(|(signer, key)| (key.public(), Identity::new(signer, key, domain))).unzip()
        };
        let (replica_keys, replicas) =
            identities((0..REPLICAS).map(|id| Signer::Replica(ReplicaId(id))).collect());
        let (client_keys, clients) =
            identities((0..CLIENTS).map(|id| Signer::Client(ClientId(id))).collect());
        let keyring = Keyring::new(domain, &replica_keys, &client_keys).expect("fresh keys parse");
        Self { replicas, clients, keyring, numbers: 0 }
    }

    /// The next request: one operation of 100 bytes, the clients in turn, each with some answers outstanding.
    pub(crate) fn request(&mut self) -> Bytes {
        let client = ClientId(u32::try_from(self.numbers % u64::from(CLIENTS)).expect("below CLIENTS"));
        let number = Number(self.numbers / u64::from(CLIENTS) + 1);
        self.numbers += 1;
        let floor = Number(number.0.saturating_sub(OUTSTANDING));
        encode_request(&self.clients[client.index()], client, number, floor, &[&OPERATION])
    }

    pub(crate) fn decoded_request(&mut self) -> Request {
        Request::decode(self.request(), &config(ReplicaId(0)).frame_limits().request).expect("well-formed")
    }

    /// The statements of a replica, sealed.
    pub(crate) fn bundle(&self, signer: ReplicaId, statements: &[Statement]) -> SealedBundle {
        let bundle = Bundle::new(signer, PillarId(0), statements);
        let seal = self.seal(signer, vec![bundle.entry()]);
        bundle.seal(seal)
    }

    pub(crate) fn seal(&self, signer: ReplicaId, entries: Vec<Entry>) -> Seal {
        let signature = self.replicas[signer.index()].sign(Tag::Seal, &Seal::content(signer, &entries));
        Seal { signer, entries, signature }
    }
}

/// The defaults of `cluster.toml`, for one pillar.
pub(crate) fn config(me: ReplicaId) -> Config {
    Config {
        me,
        pillar: PillarId(0),
        replicas: REPLICAS,
        pillars: 1,
        clients: CLIENTS,
        leaders: Leaders::Spread,
        assign: Assign::Request,
        client_window: 1024,
        request_operations: 1,
        request_max: 64 << 10,
        client_tags: false,
        batch_max: 400,
        batch_bytes: 256 << 10,
        batch_delay: Duration::ZERO,
        pipeline: 64,
        checkpoint_interval: 32,
        window: 128,
        view_timeout: Duration::from_millis(500),
        max_clock_skew: Duration::from_secs(5),
    }
}
