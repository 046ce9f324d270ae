use hypostyle_app_api::Number;

use crate::reply::Failure;

/// Why nothing was sent: the operation was not and will not be executed, and may be submitted again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// As many operations are in flight as the window allows.
    #[error("not sent: the window of {window} operations in flight is full")]
    WindowFull {
        /// `client_window`.
        window: u64,
    },
    /// The request would be longer than the cluster takes.
    #[error(
        "not sent: the request would have {size} bytes, more than request_max = {max}; split the operation, or raise request_max in cluster.toml"
    )]
    TooLarge {
        /// Bytes of the request, signature included.
        size: usize,
        /// `request_max`.
        max: usize,
    },
    /// A request of so many operations that start with this number isn't allowed.
    #[error("not sent: {count} operations in a request, which may hold {max} from number {first} on")]
    Operations {
        /// The request's first number.
        first: Number,
        /// How many there are.
        count: usize,
        /// How many there may be, at least 1.
        max: u16,
    },
    /// A request signed ahead doesn't begin with the number that is next.
    #[error("not sent: the request begins with number {first}, but {expected} is next")]
    OutOfTurn {
        /// The request's first number.
        first: Number,
        /// The next number.
        expected: Number,
    },
    /// A request signed ahead is not a request of this client in this cluster.
    #[error("not sent: {0}")]
    NotOurs(&'static str),
    /// The numbers are used up.
    #[error("not sent: the client's numbers are used up; register a new client")]
    NumbersExhausted,
    /// The caller's deadline passed while the operation waited for room in the window.
    #[error("not sent: the deadline passed while {0} operations were in flight before it")]
    Deadline(u64),
    /// As many operations are handed over as may wait.
    #[error("not sent: {0} operations are in flight or waiting already")]
    Busy(usize),
    /// The client was closed, or its thread died.
    #[error("not sent: the client is closed")]
    Closed,
}

/// What f+1 replicas say of an operation instead of a result. It is final.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// An error of the engine's.
    #[error("{}", explain(*.0))]
    Failure(Failure),
    /// An error with a code that this version doesn't know.
    #[error("the replicas answer with the error {0}")]
    Other(String),
    /// The number was used before, for another request of this client: this operation will not be executed.
    #[error("number {0} was used before by this client: start above all numbers it ever used")]
    NumberUsed(Number),
}

impl OperationError {
    /// The error with this text code.
    pub(super) fn from_code(code: &[u8]) -> Self {
        let code = String::from_utf8_lossy(code);
        Failure::from_code(&code).map_or_else(|| Self::Other(code.into_owned()), Self::Failure)
    }
}

fn explain(failure: Failure) -> &'static str {
    match failure {
        Failure::Panicked => "the application panicked on the operation",
        Failure::ResultTooLarge => "executed, but the result is longer than reply_max",
        Failure::ResultNotKept => "executed, but the result is no longer kept; raise client_result_bytes",
        Failure::Acknowledged => {
            "another client with the same key acknowledged the operation's number; whether it was executed is unknown"
        }
    }
}

/// Why a reply was dropped, before its signature was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub enum Rejected {
    /// It is signed by another replica than the one it came from.
    OtherReplica,
    /// It is for another client.
    OtherClient,
    /// It is signed where replies have tags, or the other way round.
    OtherProof,
    /// There is no such replica or pillar.
    UnknownPillar,
    /// It tells nothing new: all its operations are settled, or this replica said the same before.
    Late,
}

impl Rejected {
    /// The counter's label.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::OtherReplica => "a reply of another replica",
            Self::OtherClient => "a reply for another client",
            Self::OtherProof => "a reply with the other kind of authenticator",
            Self::UnknownPillar => "a reply of an unknown pillar",
            Self::Late => "a reply with nothing new",
        }
    }
}
