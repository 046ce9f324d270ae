use std::collections::VecDeque;
use std::sync::Arc;

use hypostyle_app_api::{Digest, ReplicaId, Round};
use hypostyle_pillars::message::SealedBundle;
use hypostyle_pillars::{CheckpointVote, Stable};
use hypostyle_probe::{Bug, bug};

use super::Output;

/// Collects the replicas' verified Checkpoint statements until 2f+1 agree (OSDI'99, section 4.3).
///
/// Kept: one vote a replica for each checkpoint round in (h, h+2L+K], and beyond that each replica's highest, so that a
/// replica that was left far behind learns of it. Of two votes of a replica for one round that one stays which more others
/// agree with: a faulty replica that tells each another digest may stand in the proof that others have, and that proof
/// must count here too.
///
/// Where a state was taken over that lies above h+L+K, the rounds begin below it and not at h: the proof of what is stable
/// elsewhere must find room, whatever a faulty replica in it has told beyond.
#[derive(Debug)]
pub struct Checkpoints {
    faults: usize,
    interval: u64,
    window: u64,
    stable: Round,
    digest: Digest,
    /// Votes are kept by round above this one: h, or higher.
    base: Round,
    /// Those for the rounds base+K, base+2K, … base+2L+K: from L below what was taken over to L above it, which nobody
    /// is behind for.
    rounds: VecDeque<Votes>,
    /// Each replica's highest above these.
    beyond: Vec<Option<(Round, Vote)>>,
    /// The highest round each replica told.
    told: Vec<Round>,
    executed: Round,
    /// Own digests above h, ascending.
    own: VecDeque<(Round, Digest)>,
    /// Stable digests above what is executed here, ascending; the latest ones.
    ahead: VecDeque<(Round, Digest)>,
    behind: Round,
}

/// Why a vote had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Ignored {
    /// Its signer is no replica.
    #[error("checkpoint of an unknown replica")]
    UnknownReplica,
    /// There is no checkpoint after such a round.
    #[error("checkpoint of a round that has none")]
    NoCheckpointRound,
    /// The round is stable already, or so far below the state taken over that it doesn't matter.
    #[error("checkpoint of a round that is past")]
    Old,
    /// The replica voted for this round, or, beyond the window, for a higher one.
    #[error("checkpoint repeated")]
    Repeated,
    /// The replica voted for another digest in this round, which as many agree with: it is faulty.
    #[error("checkpoint contradicts an earlier one")]
    Contradicts,
}

#[derive(Clone, Debug)]
struct Vote {
    digest: Digest,
    bundle: Arc<SealedBundle>,
}

/// The votes for one round, one place a replica: nobody counts twice.
#[derive(Debug)]
struct Votes {
    votes: Box<[Option<Vote>]>,
    split: bool,
}

impl Checkpoints {
    /// For n = `replicas`, K = `interval`, L = `window`; round 0 is stable.
    ///
    /// # Panics
    /// When n isn't 3f+1 or K doesn't divide L: the configuration is checked.
    #[must_use]
    pub fn new(replicas: u16, interval: u64, window: u64) -> Self {
        assert!(replicas % 3 == 1 && interval > 0 && window >= interval && window.is_multiple_of(interval));
        let kept = usize::try_from(2 * window / interval + 1).expect("the window fits memory");
        Self {
            faults: usize::from(replicas / 3),
            interval,
            window,
            stable: Round(0),
            digest: Digest::ZERO,
            base: Round(0),
            rounds: std::iter::repeat_with(|| Votes::new(replicas)).take(kept).collect(),
            beyond: vec![None; usize::from(replicas)],
            told: vec![Round(0); usize::from(replicas)],
            executed: Round(0),
            own: VecDeque::new(),
            ahead: VecDeque::new(),
            behind: Round(0),
        }
    }

    /// The stable round, h, and its digest ([`Digest::ZERO`] in the beginning).
    #[must_use]
    pub fn stable(&self) -> (Round, Digest) {
        (self.stable, self.digest)
    }

    /// Takes a vote whose signature holds; this replica's own comes in the same way, once it is sealed.
    ///
    /// # Errors
    /// When it has no effect.
    pub fn vote(&mut self, vote: CheckpointVote, out: &mut Vec<Output>) -> Result<(), Ignored> {
        let CheckpointVote { replica, round, digest, bundle } = vote;
        if replica.index() >= self.told.len() {
            return Err(Ignored::UnknownReplica);
        }
        if round.0 == 0 || !round.0.is_multiple_of(self.interval) {
            return Err(Ignored::NoCheckpointRound);
        }
        if round <= self.base {
            return Err(Ignored::Old);
        }
        self.cast(replica, round, Vote { digest, bundle }, out)?;
        let told = &mut self.told[replica.index()];
        *told = round.max(*told);
        self.look_behind(out);
        Ok(())
    }

    /// Takes a proof as a whole: 2f+1 replicas' statements for one round and digest, checked where they came together. It
    /// comes once, whatever the replicas in it have told this one apart.
    pub fn prove(&mut self, proven: Stable, out: &mut Vec<Output>) {
        if proven.round <= self.stable {
            return;
        }
        for signer in proven.proof.iter().map(|bundle| bundle.signer()) {
            let told = &mut self.told[signer.index()];
            *told = proven.round.max(*told);
        }
        self.advance(proven, out);
        self.look_behind(out);
    }

    /// This replica has executed all slots up to `round`.
    pub fn executed(&mut self, round: Round) {
        self.executed = round;
    }

    /// This replica took the checkpoint after `round`.
    pub fn own(&mut self, round: Round, digest: Digest, out: &mut Vec<Output>) {
        self.executed(round);
        while let Some((stable, theirs)) = self.ahead.front().copied().filter(|(stable, _)| *stable <= round)
        {
            self.ahead.pop_front();
            if stable == round {
                compare(round, digest, theirs, out);
            }
        }
        if round > self.stable {
            push_bounded(&mut self.own, (round, digest), self.rounds.len());
        }
    }

    /// The highest round that each replica has voted for.
    #[must_use]
    pub fn told(&self) -> &[Round] {
        &self.told
    }

    /// The highest round that f+1 replicas have voted for.
    #[must_use]
    pub fn told_by_some_correct(&self) -> Round {
        let mut told = self.told.clone();
        told.sort_unstable();
        told[told.len() - 1 - self.faults]
    }

    /// This replica took over the state after `round`, or in the middle of the next: what it had executed before doesn't
    /// count any more.
    pub fn installed(&mut self, round: Round, out: &mut Vec<Output>) {
        self.own.clear();
        self.executed = round;
        self.behind = Round(0);
        self.ahead.retain(|(ahead, _)| *ahead >= round);
        // Who has executed so much holds a stable checkpoint at most L below.
        let below = round.0.saturating_sub(self.window + self.interval);
        self.rebase(Round(below - below % self.interval));
        self.take_in(out);
        self.look_behind(out);
    }

    fn quorum(&self) -> usize {
        if bug!(Bug::StableByTooFew) { self.faults + 1 } else { 2 * self.faults + 1 }
    }

    /// The place of a round in the window.
    fn place(&self, round: Round) -> Option<usize> {
        let checkpoints = (round.0 - self.base.0) / self.interval;
        usize::try_from(checkpoints - 1).ok().filter(|place| *place < self.rounds.len())
    }

    /// Votes are kept above `base` from now on, if that is higher.
    fn rebase(&mut self, base: Round) {
        let replicas = u16::try_from(self.told.len()).expect("one place a replica");
        let passed = base.0.saturating_sub(self.base.0) / self.interval;
        for _ in 0..passed.min(self.rounds.len() as u64) {
            self.rounds.pop_front();
            self.rounds.push_back(Votes::new(replicas));
        }
        self.base = base.max(self.base);
    }

    fn cast(
        &mut self,
        replica: ReplicaId,
        round: Round,
        vote: Vote,
        out: &mut Vec<Output>,
    ) -> Result<(), Ignored> {
        let digest = vote.digest;
        let agreed = match self.place(round) {
            Some(place) => {
                self.rounds[place].cast(replica, vote)?;
                self.rounds[place].agreed(digest)
            }
            None => {
                self.keep_beyond(replica, round, vote)?;
                self.agreed_beyond(round, digest)
            }
        };
        if agreed.len() >= self.quorum() {
            self.advance(Stable { round, digest, proof: agreed.into() }, out);
        } else if let Some(place) = self.place(round) {
            self.look_for_split(place, round, out);
        }
        Ok(())
    }

    fn keep_beyond(&mut self, replica: ReplicaId, round: Round, vote: Vote) -> Result<(), Ignored> {
        let kept = &mut self.beyond[replica.index()];
        match kept {
            Some((highest, old)) if *highest == round && old.digest != vote.digest => {
                Err(Ignored::Contradicts)
            }
            Some((highest, _)) if *highest >= round => Err(Ignored::Repeated),
            _ => {
                *kept = Some((round, vote));
                Ok(())
            }
        }
    }

    fn agreed_beyond(&self, round: Round, digest: Digest) -> Vec<Arc<SealedBundle>> {
        let agrees = |(told, vote): &&(Round, Vote)| *told == round && vote.digest == digest;
        self.beyond.iter().flatten().filter(agrees).map(|(_, vote)| Arc::clone(&vote.bundle)).collect()
    }

    /// Moves the window up to a stable round, and into it what was kept beyond.
    fn advance(&mut self, stable: Stable, out: &mut Vec<Output>) {
        self.rebase(stable.round);
        (self.stable, self.digest) = (stable.round, stable.digest);
        self.compare_own(out);
        out.push(Output::Stable(stable));
        self.take_in(out);
    }

    fn compare_own(&mut self, out: &mut Vec<Output>) {
        let (round, stable) = self.stable();
        while let Some((own_round, own)) =
            self.own.front().copied().filter(|(own_round, _)| *own_round <= round)
        {
            self.own.pop_front();
            if own_round == round {
                compare(round, own, stable, out);
            }
        }
        if round > self.executed {
            push_bounded(&mut self.ahead, (round, stable), self.rounds.len());
        }
    }

    fn take_in(&mut self, out: &mut Vec<Output>) {
        for index in 0..self.beyond.len() {
            let Some((round, _)) = self.beyond[index] else { continue };
            if round > self.base && self.place(round).is_none() {
                continue;
            }
            let (round, vote) = self.beyond[index].take().expect("seen above");
            if round > self.base {
                let replica = ReplicaId(u16::try_from(index).expect("one place a replica"));
                // Its replica may have voted for a round of the window since: that may stand.
                let _ = self.cast(replica, round, vote, out);
            }
        }
    }

    fn look_for_split(&mut self, place: usize, round: Round, out: &mut Vec<Output>) {
        let quorum = self.quorum();
        let votes = &mut self.rounds[place];
        if !votes.split && votes.best_possible() < quorum {
            votes.split = true;
            out.push(Output::Split { round });
        }
    }

    fn look_behind(&mut self, out: &mut Vec<Output>) {
        let round = self.told_by_some_correct();
        if round.0 > self.executed.0.saturating_add(self.window) && round > self.behind {
            self.behind = round;
            out.push(Output::Behind { round });
        }
    }
}

impl Votes {
    fn new(replicas: u16) -> Self {
        Self { votes: vec![None; usize::from(replicas)].into(), split: false }
    }

    fn cast(&mut self, replica: ReplicaId, vote: Vote) -> Result<(), Ignored> {
        let agree = |digest| self.votes.iter().flatten().filter(|vote| vote.digest == digest).count();
        match &self.votes[replica.index()] {
            Some(old) if old.digest == vote.digest => return Err(Ignored::Repeated),
            // The old one counts for itself.
            Some(old) if agree(vote.digest) < agree(old.digest) => return Err(Ignored::Contradicts),
            _ => self.votes[replica.index()] = Some(vote),
        }
        Ok(())
    }

    fn agreed(&self, digest: Digest) -> Vec<Arc<SealedBundle>> {
        let agree = self.votes.iter().flatten().filter(|vote| vote.digest == digest);
        agree.map(|vote| Arc::clone(&vote.bundle)).collect()
    }

    /// The most votes that one digest can still reach, if nobody votes again.
    fn best_possible(&self) -> usize {
        let cast = || self.votes.iter().flatten();
        let count = |digest: Digest| cast().filter(|vote| vote.digest == digest).count();
        let most = cast().map(|vote| count(vote.digest)).max().unwrap_or(0);
        most + self.votes.len() - cast().count()
    }
}

fn compare(round: Round, own: Digest, stable: Digest, out: &mut Vec<Output>) {
    if own != stable {
        out.push(Output::Diverged { round, own, stable });
    }
}

fn push_bounded(queue: &mut VecDeque<(Round, Digest)>, entry: (Round, Digest), most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(entry);
}

#[cfg(test)]
mod tests;
