use hypostyle_app_api::{ClientId, ReplicaId};

use crate::domain::{Domain, Signer};
use crate::key::{KeyError, PublicKey, VerifyingKey};
use crate::verified::{Claim, Proof, Refused, Signed, Verified};

/// The public keys of a cluster, parsed, and the domain their signatures are made in.
#[derive(Debug)]
pub struct Keyring {
    domain: Domain,
    replicas: Vec<VerifyingKey>,
    clients: Vec<VerifyingKey>,
}

impl Keyring {
    /// Keys by index: `replicas[i]` belongs to replica i, `clients[i]` to client i.
    ///
    /// # Errors
    /// When a key is refused.
    pub fn new(domain: Domain, replicas: &[PublicKey], clients: &[PublicKey]) -> Result<Self, KeyError> {
        let parse = |keys: &[PublicKey]| keys.iter().map(VerifyingKey::new).collect::<Result<_, _>>();
        Ok(Self { domain, replicas: parse(replicas)?, clients: parse(clients)? })
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// How many replicas it knows.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// How many clients it knows.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Whether the claim's signature is its signer's, over its tag and content in this domain. Nobody else's claims
    /// hold, nor those of a signer without a key, nor those that tags prove.
    #[must_use]
    pub fn holds(&self, claim: &Claim<'_>) -> bool {
        let message = self.domain.message(claim.tag, claim.signer, &claim.content);
        let Proof::Signature(signature) = claim.proof else { return false };
        self.key(claim.signer).is_some_and(|key| key.verify(&message, signature))
    }

    /// Checks all claims of `message`, up to the first that doesn't hold.
    ///
    /// # Errors
    /// The message, and whose signature failed.
    pub fn verify<T: Signed>(&self, message: T) -> Result<Verified<T>, Refused<T>> {
        for index in 0..message.claims() {
            let claim = message.claim(index);
            if !self.holds(&claim) {
                return Err(Refused { signer: claim.signer, message });
            }
        }
        Ok(Verified::new(message))
    }

    fn key(&self, signer: Signer) -> Option<&VerifyingKey> {
        match signer {
            Signer::Replica(ReplicaId(id)) => self.replicas.get(usize::from(id)),
            Signer::Client(ClientId(id)) => self.clients.get(usize::try_from(id).ok()?),
        }
    }
}
