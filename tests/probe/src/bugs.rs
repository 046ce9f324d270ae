/// A protocol bug that is in the code behind a switch, so that the simulator can show that it would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// A replica's second vote for a slot is counted too.
    VoteCountedTwice,
    /// A prepared certificate is one backup short: the primary's proposal counts as its Prepare too.
    PrimaryCountsAsPreparer,
    /// 2f Commits decide.
    CommitQuorumShort,
    /// A VIEW-CHANGE doesn't tell what was prepared.
    PreparedNotCarried,
    /// Backups take a new primary's proposals for what its NEW-VIEW chose.
    NewViewNotRecomputed,
}

impl Bug {
    /// Every seeded bug.
    pub const ALL: [Self; 5] = [
        Self::VoteCountedTwice,
        Self::PrimaryCountsAsPreparer,
        Self::CommitQuorumShort,
        Self::PreparedNotCarried,
        Self::NewViewNotRecomputed,
    ];

    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VoteCountedTwice => "vote-counted-twice",
            Self::PrimaryCountsAsPreparer => "primary-counts-as-preparer",
            Self::CommitQuorumShort => "commit-quorum-short",
            Self::PreparedNotCarried => "prepared-not-carried",
            Self::NewViewNotRecomputed => "new-view-not-recomputed",
        }
    }
}
