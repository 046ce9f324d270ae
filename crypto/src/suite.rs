use std::fmt;
use std::str::FromStr;

/// Every suite, in the order of [`Suite`].
pub const SUITES: [Suite; 5] =
    [Suite::Rsa2048, Suite::Rsa3072, Suite::Rsa4096, Suite::Ed25519, Suite::EcdsaP256];

/// The length of the longest signature of any suite, in bytes.
pub const SIGNATURE_LEN_MAX: usize = 512;

/// A signature algorithm with its key size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017), modulus of 2048 bits.
    #[default]
    Rsa2048,
    /// The same, 3072 bits.
    Rsa3072,
    /// The same, 4096 bits.
    Rsa4096,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA over P-256 with SHA-256, signatures `r ‖ s` of fixed length and with the smaller `s`.
    EcdsaP256,
    /// A keyed hash for the simulator. Not among [`SUITES`]: no configuration and no key file can name it.
    #[cfg(feature = "simulation")]
    Simulated,
}

impl Suite {
    /// The length of a signature in bytes: the only one that verifies.
    #[must_use]
    pub const fn signature_len(self) -> usize {
        match self {
            Self::Rsa2048 => 256,
            Self::Rsa3072 => 384,
            Self::Rsa4096 => 512,
            Self::Ed25519 | Self::EcdsaP256 => 64,
            #[cfg(feature = "simulation")]
            Self::Simulated => 16,
        }
    }

    /// The name in configuration files and keys, such as `rsa-2048`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
            #[cfg(feature = "simulation")]
            Self::Simulated => "simulated",
        }
    }

    /// Whether signing costs so much more than a hand-off between threads that it belongs on another one.
    #[must_use]
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
}

/// No such suite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown suite {0:?}: expected one of rsa-2048, rsa-3072, rsa-4096, ed25519, ecdsa-p256")]
pub struct UnknownSuite(String);

impl FromStr for Suite {
    type Err = UnknownSuite;

    fn from_str(text: &str) -> Result<Self, UnknownSuite> {
        let unknown = || UnknownSuite(text.chars().take(40).collect());
        SUITES.into_iter().find(|suite| suite.name() == text).ok_or_else(unknown)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for suite in SUITES {
            assert_eq!(suite.to_string().parse(), Ok(suite));
            assert!(suite.signature_len() <= SIGNATURE_LEN_MAX);
        }
        let error = "rsa-1024".parse::<Suite>().expect_err("too small");
        assert!(error.to_string().contains("rsa-1024") && error.to_string().contains("rsa-2048"));
    }
}
