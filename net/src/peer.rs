use std::fmt;

use hypostyle_app_api::{ClientId, ReplicaId};
use hypostyle_crypto::{Keyring, Signer};

/// What a process is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Orders and executes.
    Replica,
    /// Sends operations.
    Client,
}

impl Role {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Replica => 0,
            Self::Client => 1,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Replica),
            1 => Some(Self::Client),
            _ => None,
        }
    }
}

/// Who is at an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// What it is.
    pub role: Role,
    /// Its index in the cluster configuration.
    pub id: u32,
}

impl Peer {
    /// Replica `id`.
    #[must_use]
    pub fn replica(id: ReplicaId) -> Self {
        Self { role: Role::Replica, id: u32::from(id.0) }
    }

    /// Client `id`.
    #[must_use]
    pub fn client(id: ClientId) -> Self {
        Self { role: Role::Client, id: id.0 }
    }

    /// The name that it signs under; none when no replica can have this id.
    pub(crate) fn signer(self) -> Option<Signer> {
        match self.role {
            Role::Replica => u16::try_from(self.id).ok().map(|id| Signer::Replica(ReplicaId(id))),
            Role::Client => Some(Signer::Client(ClientId(self.id))),
        }
    }

    /// Whether the configuration has a key for it.
    pub(crate) fn is_registered(self, keyring: &Keyring) -> bool {
        let known = match self.role {
            Role::Replica => keyring.replicas(),
            Role::Client => keyring.clients(),
        };
        usize::try_from(self.id).is_ok_and(|id| id < known)
    }

    /// Role and id as they stand in messages and key derivations.
    pub(crate) fn bytes(self) -> [u8; 5] {
        let [a, b, c, d] = self.id.to_le_bytes();
        [self.role.byte(), a, b, c, d]
    }
}

impl From<Signer> for Peer {
    fn from(signer: Signer) -> Self {
        match signer {
            Signer::Replica(id) => Self::replica(id),
            Signer::Client(id) => Self::client(id),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Role::Replica => write!(f, "replica {}", self.id),
            Role::Client => write!(f, "client {}", self.id),
        }
    }
}
