/// What an executor has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecutorCounters {
    /// Operations executed.
    pub operations: u64,
    /// Operations skipped because their number was executed, acknowledged or void.
    pub skipped_past: u64,
    /// Operations skipped because their number was beyond the client's window.
    pub skipped_far: u64,
    /// Operations on which the application panicked.
    pub panics: u64,
    /// Results longer than `reply_max`.
    pub results_too_large: u64,
    /// Slots executed.
    pub slots: u64,
    /// Of these, empty ones.
    pub empty_slots: u64,
    /// Non-empty batches whose operations had all been executed before.
    pub replayed_batches: u64,
    /// Numbers answered from the client table.
    pub lookups: u64,
    /// Lookups not answered because the client asked for too many at once.
    pub lookups_refused: u64,
    /// Decided slots refused by the merge.
    pub refused_slots: u64,
    /// Checkpoint votes that didn't count.
    pub ignored_votes: u64,
    /// Recoveries of replicas that took effect.
    pub recoveries: u64,
    /// Checkpoints taken.
    pub checkpoints: u64,
}
