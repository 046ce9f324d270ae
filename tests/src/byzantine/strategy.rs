//! What adversaries do, each by a name.

/// A way to be Byzantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// As primary proposes one body to some and another to the rest, and votes for each where it is known.
    EquivocatingPrimary,
    /// Says nothing.
    Silent,
    /// Says nothing to one victim.
    SilentToOne,
    /// Says nothing on one pillar.
    SilentPillar,
    /// Votes for two digests.
    DoubleVote,
    /// Votes before some only.
    SelectiveVotes,
    /// Doesn't commit.
    WithheldCommits,
    /// Doesn't prepare.
    WithheldPrepares,
    /// Proposes as late as it can without being blamed at once.
    SlowPrimary,
    /// Doesn't hear one client, whoever passes its requests on.
    CensorClient,
    /// Sends bytes that are nothing.
    Garbage,
    /// Sends again what it sent long ago.
    StaleReplays,
    /// Answers clients with other results.
    WrongReplies,
    /// Sends bodies whose requests nobody signed.
    BadBodies,
    /// As primary proposes requests that it has made up.
    MadeUpRequests,
    /// Proposes far ahead and leaves gaps.
    SeqGaps,
    /// Votes in views to come.
    FarViews,
    /// As primary prepares its own proposals.
    PrimaryPrepares,
    /// Sends bodies to few.
    BodiesToFew,
    /// Tells wrong places in Status.
    LyingStatus,
    /// States checkpoints that nobody has.
    WrongCheckpoints,
    /// States checkpoints far ahead.
    FarCheckpoints,
    /// Leaves for view after view.
    ViewChangeSpam,
    /// Leaves views without what it had prepared.
    HidesPrepared,
    /// Tells some only of the view it begins.
    WithheldNewView,
    /// Names VIEW-CHANGEs that don't exist.
    WrongNewView,
    /// Sends chunks of state that are wrong.
    LyingDonor,
    /// Tells of snapshots that nobody has.
    LyingTeller,
    /// Answers no question about its state.
    SilentDonor,
    /// Tells of its snapshots and sends no chunk of them.
    WithheldChunks,
    /// Asks for snapshots and chunks without end.
    AsksConstantly,
    /// Wishes to recover again and again.
    RecoversConstantly,
    /// As a new primary proposes something else than its NEW-VIEW chose.
    DepartsFromNewView,
    /// Passes on requests that their clients didn't send.
    ForwardsGarbage,
    /// Changes a bit now and then.
    BitFlips,
    /// Sends everything five times.
    Flood,
    /// Sends statements one by one, the last one first.
    Reorders,
    /// Votes for whatever is proposed by anybody.
    VotesForAll,
    /// Sends what others may come to keep: full bodies that nobody proposes, votes for every slot there may be.
    Hoards,
}

impl Strategy {
    /// Those that any run may draw; one that hoards has runs of its own.
    pub const ALL: [Self; 38] = [
        Self::EquivocatingPrimary,
        Self::Silent,
        Self::SilentToOne,
        Self::SilentPillar,
        Self::DoubleVote,
        Self::SelectiveVotes,
        Self::WithheldCommits,
        Self::WithheldPrepares,
        Self::SlowPrimary,
        Self::CensorClient,
        Self::Garbage,
        Self::StaleReplays,
        Self::WrongReplies,
        Self::BadBodies,
        Self::MadeUpRequests,
        Self::SeqGaps,
        Self::FarViews,
        Self::PrimaryPrepares,
        Self::BodiesToFew,
        Self::LyingStatus,
        Self::WrongCheckpoints,
        Self::FarCheckpoints,
        Self::ViewChangeSpam,
        Self::HidesPrepared,
        Self::WithheldNewView,
        Self::WrongNewView,
        Self::LyingDonor,
        Self::LyingTeller,
        Self::SilentDonor,
        Self::WithheldChunks,
        Self::AsksConstantly,
        Self::RecoversConstantly,
        Self::DepartsFromNewView,
        Self::ForwardsGarbage,
        Self::BitFlips,
        Self::Flood,
        Self::Reorders,
        Self::VotesForAll,
    ];

    /// Those that need a view change, which not every run has: drawn more often than others.
    pub const OF_VIEW_CHANGES: [Self; 3] =
        [Self::HidesPrepared, Self::WrongNewView, Self::DepartsFromNewView];

    /// Those that concern who has fallen behind.
    pub const OF_DONORS: [Self; 5] =
        [Self::LyingDonor, Self::LyingTeller, Self::SilentDonor, Self::WithheldChunks, Self::AsksConstantly];
}
