use bytes::Bytes;
use hypostyle_app_api::{Digest, Instant, Position, ReplicaId, Round};
use hypostyle_probe::mark;

use super::TransferSettings;
use super::fetching::{Fetching, Outcome, Piece};
use super::message::{Telling, TransferMessage};

/// What a message to a peer is and to whom it goes.
pub(super) type Outgoing = Vec<(ReplicaId, TransferMessage)>;

/// Gets the state of another moment from peers: names a round, collects f+1 equal tellings, fetches the chunks.
#[derive(Debug)]
pub(super) struct Asker {
    settings: TransferSettings,
    attempt: Option<Attempt>,
    /// After a failure: when to begin again.
    pause: Option<(Instant, Position)>,
    failures: u32,
    /// Rounds between what peers have executed and the round that is named: doubles when they were faster.
    margin: u64,
    last_id: u64,
    /// The highest round each replica is known to have executed, by its own word.
    known: Box<[Round]>,
    /// Chunks of snapshots that were given up, with their leaf hashes, by index.
    older: Vec<Option<(Digest, Bytes)>>,
    /// Who sent a chunk that doesn't verify.
    liars: Box<[bool]>,
    /// Whether a snapshot was asked for since somebody looked.
    pub(super) asked_anew: bool,
    pub(super) counters: AskerCounters,
}

/// What an asker has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskerCounters {
    /// Transfers begun.
    pub started: u64,
    /// States taken over.
    pub installed: u64,
    /// Snapshots that could not be taken over.
    pub failed: u64,
    /// Times another snapshot was asked for.
    pub retargeted: u64,
    /// Chunks that verified.
    pub chunks: u64,
    /// Of these, from an older snapshot.
    pub reused: u64,
    /// Chunks that didn't verify: each has cost its sender all further questions.
    pub refused: u64,
    /// Times a donor was given up for being slow or gone.
    pub switched: u64,
}

#[derive(Debug)]
struct Attempt {
    id: u64,
    /// c.
    round: Round,
    /// How far some correct replica had come when it was asked, if that is known from answers of just before.
    base: Option<Round>,
    /// A state at a lower position is of no use.
    least: Position,
    asked_at: Instant,
    /// Until then every peer may be expected to answer.
    answers_by: Option<Instant>,
    /// When to ask those again that haven't told.
    again_at: Instant,
    peers: Box<[Peer]>,
    fetching: Option<Fetching>,
}

/// What a peer said in this attempt.
#[derive(Clone, Debug, Default)]
struct Peer {
    position: Option<Position>,
    writing: bool,
    heard_at: Instant,
    telling: Option<Telling>,
}

/// An attempt without f+1 equal tellings lasts so many timeouts, unless the round named lies ahead still.
const ATTEMPT: u32 = 16;
/// Who hasn't answered for so many timeouts is not waited for.
const SILENT: u32 = 4;
/// Failures after which the pause grows no more.
const FAILURES_MAX: u32 = 6;

impl Asker {
    pub(super) fn new(settings: TransferSettings) -> Self {
        let replicas = usize::from(settings.replicas);
        Self {
            attempt: None,
            pause: None,
            failures: 0,
            margin: margin(&settings),
            last_id: 0,
            known: vec![Round(0); replicas].into(),
            older: Vec::new(),
            liars: vec![false; replicas].into(),
            asked_anew: false,
            counters: AskerCounters::default(),
            settings,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.attempt.is_some() || self.pause.is_some()
    }

    /// Replicas are known to have executed these rounds.
    pub(super) fn knows(&mut self, told: &[Round]) {
        for (known, told) in self.known.iter_mut().zip(told) {
            *known = (*known).max(*told);
        }
    }

    /// Begins; what was begun before is given up. `id` must be higher than any that was used before this process.
    pub(super) fn begin(&mut self, now: Instant, id: u64, least: Position, out: &mut Outgoing) {
        mark!("transfer: started");
        self.counters.started += 1;
        self.last_id = self.last_id.max(id);
        self.margin = margin(&self.settings);
        self.ask(now, least, out);
    }

    /// The snapshot is of no use any more: asks for a newer one.
    pub(super) fn retarget(&mut self, now: Instant, out: &mut Outgoing) {
        let Some(attempt) = &mut self.attempt else { return };
        mark!("transfer: retargeted");
        self.counters.retargeted += 1;
        let least = attempt.least;
        if let Some(fetching) = attempt.fetching.take() {
            fetching.give_up(&mut self.older);
        }
        self.ask(now, least, out);
    }

    /// The state was taken over, or is not needed any more.
    pub(super) fn close(&mut self, installed: bool, out: &mut Outgoing) {
        self.counters.installed += u64::from(installed);
        (self.pause, self.failures) = (None, 0);
        self.older = Vec::new();
        if let Some(Attempt { id, .. }) = self.attempt.take() {
            out.extend(self.settings.peers().map(|peer| (peer, TransferMessage::Close { id })));
        }
    }

    /// The state could not be taken over: tries another after a while.
    pub(super) fn failed(&mut self, now: Instant, out: &mut Outgoing) {
        mark!("transfer: state not taken over");
        self.counters.failed += 1;
        let Some(Attempt { id, least, .. }) = self.attempt.take() else { return };
        out.extend(self.settings.peers().map(|peer| (peer, TransferMessage::Close { id })));
        self.older = Vec::new();
        self.failures = (self.failures + 1).min(FAILURES_MAX);
        self.pause = Some((now + self.settings.patience * (1 << self.failures), least));
    }

    pub(super) fn standing(
        &mut self,
        now: Instant,
        from: ReplicaId,
        (id, position, writing): (u64, Position, bool),
        out: &mut Outgoing,
    ) {
        let round = Round(position.0 / u64::from(self.settings.pillars));
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.id == id) else { return };
        self.known[from.index()] = self.known[from.index()].max(round);
        let peer = &mut attempt.peers[from.index()];
        (peer.position, peer.writing, peer.heard_at) = (Some(position), writing, now);
        self.look_for_miss(now, out);
    }

    pub(super) fn told(
        &mut self,
        now: Instant,
        from: ReplicaId,
        (id, telling): (u64, Telling),
        out: &mut Outgoing,
    ) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.id == id) else { return };
        let peer = &mut attempt.peers[from.index()];
        if peer.telling.is_some() {
            return;
        }
        peer.telling = Some(telling);
        match &mut attempt.fetching {
            Some(fetching) if *fetching.telling() == telling => {
                if !self.liars[from.index()] {
                    fetching.join(now, from, &self.older, out);
                }
            }
            Some(_) => mark!("transfer: a telling differs"),
            None => {
                self.agree(now, telling, out);
                self.look_for_miss(now, out);
            }
        }
    }

    pub(super) fn chunk(&mut self, now: Instant, from: ReplicaId, piece: &Piece, out: &mut Outgoing) {
        let Some(fetching) = self.attempt.as_mut().and_then(|attempt| attempt.fetching.as_mut()) else {
            return;
        };
        match fetching.chunk(now, from, piece, &self.older, out) {
            Outcome::Taken => self.counters.chunks += 1,
            Outcome::Reused => {
                self.counters.chunks += 1;
                self.counters.reused += 1;
            }
            Outcome::Unasked => {}
            Outcome::Lie => {
                mark!("transfer: chunk refused");
                self.counters.refused += 1;
                self.liars[from.index()] = true;
                self.look_for_donors(now, out);
            }
        }
    }

    /// A donor has the snapshot no more.
    pub(super) fn gone(&mut self, now: Instant, from: ReplicaId, root: Digest, out: &mut Outgoing) {
        let Some(fetching) = self.attempt.as_mut().and_then(|attempt| attempt.fetching.as_mut()) else {
            return;
        };
        if fetching.telling().root == root && fetching.leave(now, from, &self.older, out) {
            self.counters.switched += 1;
            self.look_for_donors(now, out);
        }
    }

    /// The whole snapshot, once it is there.
    pub(super) fn complete(&self) -> Option<(Telling, Vec<Bytes>)> {
        self.attempt.as_ref()?.fetching.as_ref()?.complete()
    }

    pub(super) fn tick(&mut self, now: Instant, out: &mut Outgoing) {
        if let Some((_, least)) = self.pause.take_if(|(at, _)| *at <= now) {
            self.ask(now, least, out);
        }
        let Some(attempt) = &mut self.attempt else { return };
        attempt.answers_by.take_if(|at| *at <= now);
        if attempt.again_at <= now {
            attempt.again_at = now + self.settings.patience;
            let (id, round) = (attempt.id, attempt.round);
            let silent = self.settings.peers().filter(|peer| attempt.peers[peer.index()].telling.is_none());
            out.extend(silent.map(|peer| (peer, TransferMessage::Ask { id, round })));
        }
        if let Some(fetching) = &mut attempt.fetching {
            self.counters.switched += fetching.expire(now, &self.older, out);
            self.look_for_donors(now, out);
        } else {
            self.look_for_miss(now, out);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let attempt = self.attempt.as_ref();
        let answers = attempt.and_then(|attempt| attempt.answers_by);
        let again = attempt.map(|attempt| attempt.again_at);
        let fetching = attempt.and_then(|attempt| attempt.fetching.as_ref()?.next_deadline());
        let pause = self.pause.map(|(at, _)| at);
        [answers, again, fetching, pause].into_iter().flatten().min()
    }

    fn ask(&mut self, now: Instant, least: Position, out: &mut Outgoing) {
        self.last_id += 1;
        self.pause = None;
        let (id, round, base) = (self.last_id, self.round(), self.executed_by_some_correct());
        // A lower state lags itself.
        let least = least.max(Position(base.0 * u64::from(self.settings.pillars)));
        self.asked_anew = true;
        let peers = vec![Peer::default(); usize::from(self.settings.replicas)].into();
        let (answers_by, again_at) = (Some(now + self.settings.patience / 2), now + self.settings.patience);
        let attempt = Attempt {
            id,
            round,
            base: None,
            least,
            asked_at: now,
            answers_by,
            again_at,
            peers,
            fetching: None,
        };
        self.attempt = Some(attempt);
        out.extend(self.settings.peers().map(|peer| (peer, TransferMessage::Ask { id, round })));
    }

    /// The checkpoint round to name: some margin above what f+1 replicas say they have executed, one of them correct.
    fn round(&self) -> Round {
        let interval = self.settings.checkpoint_interval;
        let above = self.executed_by_some_correct().0.saturating_add(self.margin);
        Round((above / interval).saturating_add(1).saturating_mul(interval))
    }

    fn executed_by_some_correct(&self) -> Round {
        let mut known = self.known.to_vec();
        known.sort_unstable();
        known[known.len() - 1 - self.settings.faults()]
    }

    /// f+1 equal tellings are one of a correct replica.
    fn agree(&mut self, now: Instant, telling: Telling, out: &mut Outgoing) {
        let Some(attempt) = &mut self.attempt else { return };
        let told = |peer: &ReplicaId| attempt.peers[peer.index()].telling == Some(telling);
        let tellers: Vec<_> = self.settings.peers().filter(told).collect();
        if telling.position < attempt.least || tellers.len() <= self.settings.faults() {
            return;
        }
        let mut fetching = Fetching::new(&self.settings, telling);
        for donor in tellers.into_iter().filter(|donor| !self.liars[donor.index()]) {
            fetching.join(now, donor, &self.older, out);
        }
        attempt.fetching = Some(fetching);
        self.look_for_donors(now, out);
    }

    /// When f+1 equal tellings can't come any more because peers have passed the round, or can't in time.
    fn look_for_miss(&mut self, now: Instant, out: &mut Outgoing) {
        let Some(attempt) = self.attempt.as_ref().filter(|attempt| attempt.fetching.is_none()) else {
            return;
        };
        let (weak, patience) = (self.settings.faults() + 1, self.settings.patience);
        let end = Position(attempt.round.0.saturating_mul(u64::from(self.settings.pillars)));
        let peers = || self.settings.peers().map(|peer| &attempt.peers[peer.index()]);
        let tellings = || peers().filter_map(|peer| peer.telling).filter(|t| t.position >= attempt.least);
        let equal = tellings().map(|telling| tellings().filter(|other| *other == telling).count()).max();
        let may_tell = |peer: &&Peer| match (peer.telling, peer.position) {
            (Some(_), _) => false,
            (None, Some(position)) => peer.writing || position <= end,
            (None, None) => attempt.answers_by.is_some(),
        };
        let passed = |peer: &&Peer| {
            peer.telling.is_none() && !peer.writing && peer.position.is_some_and(|position| position > end)
        };
        let possible = equal.unwrap_or(0) + peers().filter(may_tell).count() >= weak;
        let missed = !possible && peers().any(|peer| passed(&peer));
        // Those on their way to it. Who has told, or is silent, will never say that it has got there.
        let coming = |peer: &&Peer| {
            let heard = peer.telling.is_none() && peer.heard_at + SILENT * patience > now;
            heard && peer.position.is_some_and(|position| position < end)
        };
        let ahead = peers().filter(coming).count() >= weak;
        let late = attempt.asked_at + ATTEMPT * patience <= now && !ahead;
        let told = peers().any(|peer| peer.telling.is_some());
        let differ = !possible && told && attempt.asked_at + 2 * patience <= now;
        if missed || late {
            mark!("transfer: round missed");
            // As far as they came while the question and its answers were under way, and half as much again.
            let came =
                attempt.base.map_or(0, |base| self.executed_by_some_correct().0.saturating_sub(base.0));
            self.margin = (2 * self.margin).max(came + came / 2).min(4 * self.settings.window);
        }
        if missed || late || differ {
            self.retarget(now, out);
            let known = self.executed_by_some_correct();
            self.attempt.iter_mut().for_each(|attempt| attempt.base = missed.then_some(known));
        }
    }

    fn look_for_donors(&mut self, now: Instant, out: &mut Outgoing) {
        let fetching = self.attempt.as_ref().and_then(|attempt| attempt.fetching.as_ref());
        if fetching.is_some_and(|fetching| !fetching.has_donors() && !fetching.is_complete()) {
            self.retarget(now, out);
        }
    }
}

fn margin(settings: &TransferSettings) -> u64 {
    (settings.checkpoint_interval / 4).max(1)
}
