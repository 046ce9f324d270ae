use std::fmt;

macro_rules! refusals {
    ($($(#[$meta:meta])* $name:ident = $text:literal,)*) => {
        /// Why a connection or a frame was refused: a fixed set, so that every counter exists from the start.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Refusal {
            $($(#[$meta])* $name,)*
        }

        impl Refusal {
            /// All reasons, in the order of their wire codes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

refusals! {
    /// The first bytes are not those of this protocol.
    NotHypostyle = "not a Hypostyle peer",
    /// Another version of the handshake.
    Version = "another protocol version",
    /// A handshake message of impossible content.
    Malformed = "malformed handshake",
    /// The cluster configurations differ.
    Configuration = "another cluster configuration",
    /// The configuration has no key for who it says it is.
    UnknownIdentity = "identity not in the configuration",
    /// Somebody else answers than the one dialled.
    UnexpectedIdentity = "not the peer that was dialled",
    /// This address doesn't serve that role.
    Role = "role not served at this address",
    /// No such pillar.
    Pillar = "no such pillar",
    /// A handshake signature doesn't verify.
    Signature = "handshake signature does not verify",
    /// Possession of a ticket's secret wasn't proved.
    KeyConfirmation = "key confirmation does not verify",
    /// A ticket that was made for somebody else.
    Ticket = "ticket of another identity",
    /// One peer makes too many signed handshakes.
    TooManyHandshakes = "too many handshakes",
    /// The handshake took too long.
    Timeout = "handshake timed out",
    /// Dropped half-way to make room for a newer connection.
    Displaced = "too many half-open connections",
    /// The connection table or the open-files limit is reached.
    Full = "too many connections",
    /// A frame's link MAC doesn't verify.
    LinkMac = "link MAC does not verify",
    /// A frame's length exceeds the limit.
    FrameTooLong = "frame longer than the limit",
    /// The caller refused a frame.
    Frame = "frame refused",
    /// Nothing was heard from the peer for too long.
    Silent = "nothing heard",
    /// The other side refused us.
    ByPeer = "refused by the peer",
}

impl Refusal {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What a [`Transport`](crate::Transport) did so far. Plain numbers of one thread; the worker copies them out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of `epoll_wait`.
    pub waits: u64,
    /// Calls of `read`.
    pub reads: u64,
    /// Calls of `write` or `writev`.
    pub writes: u64,
    /// Calls of `accept`.
    pub accepts: u64,
    /// Calls of `connect`.
    pub connects: u64,
    /// Frames received, heartbeats included.
    pub frames_in: u64,
    /// Frames taken for sending, heartbeats included.
    pub frames_out: u64,
    /// Bytes read on established connections.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// Frames dropped because the connection's write buffer was full, the connection gone or the frame too long.
    pub frames_dropped: u64,
    /// Handshakes completed with signatures.
    pub handshakes_signed: u64,
    /// Handshakes completed with a ticket.
    pub handshakes_resumed: u64,
    refusals: [u64; Refusal::COUNT],
}

impl Counters {
    /// System calls of all kinds.
    #[must_use]
    pub fn syscalls(&self) -> u64 {
        self.waits + self.reads + self.writes + self.accepts + self.connects
    }

    /// How often `reason` applied.
    #[must_use]
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refusals[usize::from(reason.code())]
    }

    /// All reasons with how often each applied, zeros included.
    pub fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.iter().copied().zip(self.refusals)
    }

    pub(crate) fn refuse(&mut self, reason: Refusal) {
        self.refusals[usize::from(reason.code())] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_code_and_its_text() {
        let mut texts = std::collections::BTreeSet::new();
        for (index, reason) in Refusal::ALL.iter().enumerate() {
            assert_eq!(usize::from(reason.code()), index);
            assert_eq!(Refusal::from_code(reason.code()), Some(*reason));
            assert!(texts.insert(reason.to_string()));
        }
        assert_eq!(Refusal::from_code(255), None);
    }

    #[test]
    fn refusals_are_counted_by_reason() {
        let mut counters = Counters::default();
        counters.refuse(Refusal::Pillar);
        counters.refuse(Refusal::Pillar);
        assert_eq!(counters.refused(Refusal::Pillar), 2);
        assert_eq!(counters.refusals().map(|(_, n)| n).sum::<u64>(), 2);
        assert_eq!(counters.refusals().count(), Refusal::COUNT);
    }
}
