use std::fmt;

/// Why a message was refused; also the label of the metric that counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rejected {
    /// The bytes are no message.
    Malformed,
    /// A signature doesn't verify, or the tag on a client's own request.
    BadSignature,
    /// A request with tags where a signature is asked for.
    Unsigned,
    /// A request or body for another pillar.
    WrongPillar,
    /// Everything in it is known already, decided, or not needed any more.
    Redundant,
    /// For another view than the current one.
    OtherView,
    /// Outside the slots that are kept.
    OutsideWindow,
    /// A client's number too far above its floor.
    BeyondClientWindow,
    /// A body nobody asked for, or from one who isn't primary.
    Unsolicited,
    /// A second, different statement for the same slot.
    Equivocation,
    /// No room: the sender may try again.
    Full,
}

impl Rejected {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::BadSignature,
        Self::Unsigned,
        Self::WrongPillar,
        Self::Redundant,
        Self::OtherView,
        Self::OutsideWindow,
        Self::BeyondClientWindow,
        Self::Unsolicited,
        Self::Equivocation,
        Self::Full,
    ];

    /// As an index into per-reason arrays.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The metric's label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BadSignature => "bad_signature",
            Self::Unsigned => "unsigned",
            Self::WrongPillar => "wrong_pillar",
            Self::Redundant => "redundant",
            Self::OtherView => "other_view",
            Self::OutsideWindow => "outside_window",
            Self::BeyondClientWindow => "beyond_client_window",
            Self::Unsolicited => "unsolicited",
            Self::Equivocation => "equivocation",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
