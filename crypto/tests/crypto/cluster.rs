//! A small cluster to sign in: two replicas and two clients under one key, which the domain tells apart.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, ReplicaId};
use hypostyle_crypto::{
    Claim, Domain, Identity, Keyring, Proof, SUITES, Signed, Signer, SigningKey, Suite, Tag, sha256,
};

pub(crate) const DOMAIN: Domain = Domain { configuration: Digest([9; 32]) };

static KEYS: LazyLock<BTreeMap<Suite, LazyLock<String, Generate>>> = LazyLock::new(|| {
    let lazy =
        |suite| LazyLock::new(Box::new(move || SigningKey::generate(suite).to_pem().to_string()) as Generate);
    SUITES.into_iter().map(|suite| (suite, lazy(suite))).collect()
});

type Generate = Box<dyn FnOnce() -> String + Send>;

/// The key of `suite`, made once a process.
pub(crate) fn key(suite: Suite) -> SigningKey {
    SigningKey::from_pem(&KEYS[&suite]).unwrap()
}

pub(crate) fn replica(id: u16) -> Signer {
    Signer::Replica(ReplicaId(id))
}

pub(crate) fn identity(suite: Suite, signer: Signer) -> Identity {
    Identity::new(signer, key(suite), DOMAIN)
}

pub(crate) fn keyring(suite: Suite) -> Arc<Keyring> {
    let public = [key(suite).public(), key(suite).public()];
    Arc::new(Keyring::new(DOMAIN, &public, &public).unwrap())
}

/// A message of any claims.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Batch(pub(crate) Vec<Own>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) signer: Signer,
    pub(crate) content: Digest,
    pub(crate) signature: Bytes,
    pub(crate) remember: bool,
}

impl Own {
    pub(crate) fn new(suite: Suite, signer: Signer, content: &str) -> Self {
        let content = sha256(&[content.as_bytes()]);
        let signature = identity(suite, signer).sign(Tag::Request, &content);
        Self { signer, content, signature, remember: false }
    }

    pub(crate) fn spoiled(&self) -> Self {
        let mut signature = self.signature.to_vec();
        signature[20] ^= 4;
        Self { signature: signature.into(), ..self.clone() }
    }

    pub(crate) fn remembered(self) -> Self {
        Self { remember: true, ..self }
    }
}

impl Signed for Batch {
    fn claims(&self) -> usize {
        self.0.len()
    }

    fn claim(&self, index: usize) -> Claim<'_> {
        let Own { signer, content, signature, remember } = &self.0[index];
        Claim {
            tag: Tag::Request,
            signer: *signer,
            content: *content,
            proof: Proof::Signature(signature),
            remember: *remember,
        }
    }
}

#[test]
fn a_signature_holds_for_its_kind_signer_content_and_configuration_only() {
    let keyring = keyring(Suite::Ed25519);
    let own = Own::new(Suite::Ed25519, replica(1), "content");
    let batch = Batch(vec![own.clone()]);
    let claim = batch.claim(0);
    assert!(keyring.holds(&claim));
    assert!(!keyring.holds(&Claim { tag: Tag::Seal, ..claim }));
    assert!(!keyring.holds(&Claim { signer: replica(0), ..claim }));
    assert!(!keyring.holds(&Claim { signer: replica(2), ..claim }), "has no key");
    assert!(!keyring.holds(&Claim { signer: Signer::Client(ClientId(1)), ..claim }));
    assert!(!keyring.holds(&Claim { signer: Signer::Client(ClientId(u32::MAX)), ..claim }));
    assert!(!keyring.holds(&Claim { content: Digest::ZERO, ..claim }));
    let public = [key(Suite::Ed25519).public(), key(Suite::Ed25519).public()];
    let elsewhere = Keyring::new(Domain { configuration: Digest::ZERO }, &public, &[]).unwrap();
    assert!(!elsewhere.holds(&claim));
    assert_eq!((keyring.replicas(), elsewhere.clients(), keyring.domain()), (2, 0, DOMAIN));
}

#[test]
fn the_first_bad_signer_is_blamed() {
    let keyring = keyring(Suite::Ed25519);
    let good = Own::new(Suite::Ed25519, replica(0), "a");
    let bad = Own::new(Suite::Ed25519, replica(1), "b").spoiled();
    let bad_client = Own { signer: Signer::Client(ClientId(1)), ..good.clone() };
    let batch = Batch(vec![good.clone(), bad, bad_client]);
    let refused = keyring.verify(batch.clone()).unwrap_err();
    assert_eq!((refused.signer, refused.message), (replica(1), batch));
    assert_eq!(keyring.verify(Batch(vec![good.clone()])).unwrap().into_inner(), Batch(vec![good]));
    assert!(keyring.verify(Batch::default()).is_ok());
}
