use std::collections::BTreeMap;

/// What a [`Driver`](super::Driver) did since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverCounters {
    /// Requests signed or tagged here; those signed ahead are not among them.
    pub authenticated: u64,
    /// Seals of replicas verified.
    pub verifications: u64,
    /// Seals that needed no verification because the same one was verified before: it covers many clients' replies.
    pub remembered: u64,
    /// Requests put on a connection, retransmissions included.
    pub requests: u64,
    /// Requests not put on a connection because its write buffer was full; they go out again after the timeout.
    pub dropped: u64,
    /// Reply messages counted.
    pub replies: u64,
    /// System calls of the event loop and its sockets.
    pub syscalls: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Replies that came when f+1 others had settled their operations: normal, since every replica answers.
    pub late: u64,
    /// What no correct replica sends, by replica and reason.
    pub refusals: BTreeMap<(u16, &'static str), u64>,
}
