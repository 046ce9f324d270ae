use bytes::Bytes;
use hypostyle_app_api::Digest;

use crate::domain::{Domain, Signer, Tag};
use crate::key::SigningKey;
use crate::suite::Suite;

/// Who we are: signs in our own name and in one domain only.
#[derive(Debug)]
pub struct Identity {
    signer: Signer,
    key: SigningKey,
    domain: Domain,
}

impl Identity {
    /// `signer` with its private key.
    #[must_use]
    pub fn new(signer: Signer, key: SigningKey, domain: Domain) -> Self {
        Self { signer, key, domain }
    }

    /// Our name.
    #[must_use]
    pub fn signer(&self) -> Signer {
        self.signer
    }

    /// The suite we sign with.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.key.suite()
    }

    /// Signs `content` as a thing of kind `tag`.
    #[must_use]
    pub fn sign(&self, tag: Tag, content: &Digest) -> Bytes {
        self.key.sign(&self.domain.message(tag, self.signer, content))
    }
}
