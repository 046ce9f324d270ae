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
    /// A replica commits what is only proposed.
    CommitUnprepared,
    /// A replica that has left its view goes on committing.
    CommitAfterLeaving,
    /// A certified slot is decided with whatever body is at hand.
    DecidesWhatItHolds,
    /// A primary without requests proposes nothing, though slots are owed.
    EmptySlotsNotProposed,
    /// Backups pass requests on and expect nothing.
    RequestsNotExpected,
    /// Timers run out without consequences.
    NobodyBlamed,
    /// Of several prepared digests a new view chooses that of the lowest view.
    LowestViewWins,
    /// A new view begins with empty bodies, whatever was prepared.
    NewViewForgetsPrepared,
    /// Slots are acted on beyond the window.
    WindowNotEnforced,
    /// A Commit names another digest than what is prepared.
    CommitsOtherDigest,
    /// The merge leaves positions out.
    MergeLeavesGaps,
    /// Who lost something isn't helped.
    NothingSentAgain,
    /// A checkpoint's digest leaves out the client table.
    ClientTableNotInCheckpoint,
    /// The agreed time isn't monotonic.
    TimestampFalls,
    /// What clients acknowledge isn't applied.
    FloorsIgnored,
    /// A retransmission is answered as if it had been acknowledged.
    RepeatedAnswerWrong,
    /// A checkpoint is taken a round early.
    CheckpointOneRoundEarly,
    /// A batch is executed from its end.
    RequestsBackwards,
    /// A number that was executed is executed again.
    ExecutedAgain,
    /// Slots are executed in the order in which they were decided.
    MergeByArrival,
    /// f+1 checkpoints make one stable.
    StableByTooFew,
    /// A client believes a single replica.
    OneReplyTrusted,
    /// A stalled pillar doesn't tell where it stands.
    StalledTellsNobody,
    /// A recovering replica votes as soon as its Recover is executed.
    RecoversTooSoon,
    /// A body whose tags this replica can't check is accepted all the same.
    DoubtsIgnored,
    /// A replica that lost its memory votes at once.
    RecoversUnasked,
    /// A Recover makes nobody owe slots.
    RecoveryNotOwed,
    /// Slots are kept for ever.
    SlotsNeverForgotten,
    /// Bodies that nobody proposes are kept for ever.
    EarlyBodiesKept,
}

impl Bug {
    /// Every seeded bug.
    pub const ALL: [Self; 34] = [
        Self::VoteCountedTwice,
        Self::PrimaryCountsAsPreparer,
        Self::CommitQuorumShort,
        Self::PreparedNotCarried,
        Self::NewViewNotRecomputed,
        Self::CommitUnprepared,
        Self::CommitAfterLeaving,
        Self::DecidesWhatItHolds,
        Self::EmptySlotsNotProposed,
        Self::RequestsNotExpected,
        Self::NobodyBlamed,
        Self::LowestViewWins,
        Self::NewViewForgetsPrepared,
        Self::WindowNotEnforced,
        Self::CommitsOtherDigest,
        Self::MergeLeavesGaps,
        Self::NothingSentAgain,
        Self::ClientTableNotInCheckpoint,
        Self::TimestampFalls,
        Self::FloorsIgnored,
        Self::RepeatedAnswerWrong,
        Self::CheckpointOneRoundEarly,
        Self::RequestsBackwards,
        Self::ExecutedAgain,
        Self::MergeByArrival,
        Self::StableByTooFew,
        Self::OneReplyTrusted,
        Self::StalledTellsNobody,
        Self::RecoversTooSoon,
        Self::DoubtsIgnored,
        Self::RecoversUnasked,
        Self::RecoveryNotOwed,
        Self::SlotsNeverForgotten,
        Self::EarlyBodiesKept,
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
            Self::CommitUnprepared => "commit-unprepared",
            Self::CommitAfterLeaving => "commit-after-leaving",
            Self::DecidesWhatItHolds => "decides-what-it-holds",
            Self::EmptySlotsNotProposed => "empty-slots-not-proposed",
            Self::RequestsNotExpected => "requests-not-expected",
            Self::NobodyBlamed => "nobody-blamed",
            Self::LowestViewWins => "lowest-view-wins",
            Self::NewViewForgetsPrepared => "new-view-forgets-prepared",
            Self::WindowNotEnforced => "window-not-enforced",
            Self::CommitsOtherDigest => "commits-other-digest",
            Self::MergeLeavesGaps => "merge-leaves-gaps",
            Self::NothingSentAgain => "nothing-sent-again",
            Self::ClientTableNotInCheckpoint => "client-table-not-in-checkpoint",
            Self::TimestampFalls => "timestamp-falls",
            Self::FloorsIgnored => "floors-ignored",
            Self::RepeatedAnswerWrong => "repeated-answer-wrong",
            Self::CheckpointOneRoundEarly => "checkpoint-one-round-early",
            Self::RequestsBackwards => "requests-backwards",
            Self::ExecutedAgain => "executed-again",
            Self::MergeByArrival => "merge-by-arrival",
            Self::StableByTooFew => "stable-by-too-few",
            Self::OneReplyTrusted => "one-reply-trusted",
            Self::StalledTellsNobody => "stalled-tells-nobody",
            Self::RecoversTooSoon => "recovers-too-soon",
            Self::DoubtsIgnored => "doubts-ignored",
            Self::RecoversUnasked => "recovers-unasked",
            Self::RecoveryNotOwed => "recovery-not-owed",
            Self::SlotsNeverForgotten => "slots-never-forgotten",
            Self::EarlyBodiesKept => "early-bodies-kept",
        }
    }
}
