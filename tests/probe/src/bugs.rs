/// A protocol bug that is in the code behind a switch, so that the simulator can show that it would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// A replica's second vote for a slot is counted too.
    VoteCountedTwice,
}

impl Bug {
    /// Every seeded bug.
    pub const ALL: [Self; 1] = [Self::VoteCountedTwice];

    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VoteCountedTwice => "vote-counted-twice",
        }
    }
}
