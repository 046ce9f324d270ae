use bytes::Bytes;
use hypostyle_app_api::{
    Application, ClientId, Context, Digest, Number, PillarId, Position, Round, Seq, Timestamp, View,
};
use hypostyle_crypto::sha256;
use hypostyle_pillars::message::{Body, Request, RequestRef};
use hypostyle_pillars::{CheckpointVote, Decided, Stable};
use hypostyle_probe::{Bug, bug};

use super::service::Service;
use super::voids::Voids;
use super::{
    Checkpoints, ClientTable, Due, ExecutedSlot, ExecutorCounters, ExecutorOutbox, ExecutorSettings,
    Incarnations, Known, Merge, Output, Refusal,
};
use crate::config::Replies;
use crate::reply::{Answer, Failure, Groups, ReplyGroup};

/// Executes what the pillars decide, in global order, and answers the clients. A state machine: what goes in, and in
/// which order slots are decided, determines all that comes out.
#[derive(Debug)]
pub struct Executor<A> {
    pub(super) settings: ExecutorSettings,
    pub(super) service: Service<A>,
    pub(super) merge: Merge,
    pub(super) table: ClientTable,
    pub(super) incarnations: Incarnations,
    pub(super) voids: Voids,
    groups: Groups,
    pub(super) checkpoints: Checkpoints,
    touched: Touched,
    allowance: LookupAllowance,
    /// The agreed time: the highest that was proposed.
    pub(super) timestamp: Timestamp,
    pub(super) last_checkpoint: Option<(Round, Digest)>,
    pub(super) halt: Option<Halt>,
    /// [`Executor::run`] returns after this round.
    pause: Option<Round>,
    pub(super) counters: ExecutorCounters,
}

/// Why nothing is executed or answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// The state differs from a stable one.
    Diverged,
    /// The application was to take over a state and didn't.
    Torn,
}

/// Whether a request is executed: its client asks again for what it sent before, or it waits here to be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Who asks.
    pub client: ClientId,
    /// Over which pillar's connection.
    pub pillar: PillarId,
    /// First number of the request.
    pub first: Number,
    /// How many operations it has.
    pub count: u16,
    /// The request's digest.
    pub digest: Digest,
}

impl Lookup {
    /// Of a request that came over a connection to `pillar`.
    #[must_use]
    pub fn of(request: &Request, pillar: PillarId) -> Self {
        let (client, first, count) = (request.client(), request.first(), request.count());
        Self { client, pillar, first, count, digest: request.digest() }
    }
}

/// Prefix of what a checkpoint's digest is computed over.
const STATE_TAG: &[u8; 16] = b"hypostyle state1";

impl<A: Application> Executor<A> {
    /// Starts before the first slot.
    #[must_use]
    pub fn new(settings: ExecutorSettings, application: A) -> Self {
        Self {
            service: Service::new(application, settings.reply_max),
            merge: Merge::new(settings.pillars, 2 * settings.window),
            table: ClientTable::new(settings.clients, settings.table_limits()),
            incarnations: Incarnations::new(settings.replicas),
            voids: Voids::new(settings.clients, 2 * settings.window),
            groups: Groups::new(settings.me, settings.pillars, settings.clients, settings.group_limits()),
            checkpoints: Checkpoints::new(settings.replicas, settings.checkpoint_interval, settings.window),
            touched: Touched::new(settings.clients),
            allowance: LookupAllowance::new(&settings),
            timestamp: Timestamp(0),
            last_checkpoint: None,
            halt: None,
            pause: None,
            counters: ExecutorCounters::default(),
            settings,
        }
    }

    /// Takes a decided slot; slots come in any order.
    ///
    /// # Errors
    /// When it was taken before or is outside the window: nothing changes.
    pub fn decided(&mut self, decided: Decided) -> Result<(), Refusal> {
        let inserted = self.merge.insert(decided);
        self.counters.refused_slots += u64::from(inserted.is_err());
        inserted
    }

    /// Answers what the client table knows of a request; the answers leave with the next [`Executor::run`]. Numbers
    /// that aren't executed yet are answered when they are.
    pub fn lookup(&mut self, lookup: &Lookup) {
        if self.is_halted() {
            return;
        }
        for offset in 0..u64::from(lookup.count) {
            let Some(number) = lookup.first.0.checked_add(offset).map(Number) else { return };
            if !self.allowance.answers(lookup.client) {
                self.counters.lookups_refused += 1;
                return;
            }
            if let Some((answer, whole)) = self.known(lookup, number) {
                let whole = whole.filter(|result| self.allowance.attaches(lookup.client, result.len()));
                self.counters.lookups += 1;
                self.groups.push(lookup.pillar, lookup.client, &answer, whole);
            }
        }
    }

    /// Whether all numbers of a request are executed or void.
    #[must_use]
    pub fn is_past(&self, lookup: &Lookup) -> bool {
        let mut numbers = (lookup.first.0..).take(lookup.count.into()).map(Number);
        !self.is_halted() && numbers.all(|number| self.table.due(lookup.client, number) == Due::Past)
    }

    /// Takes a Checkpoint statement of a replica, its own included, whose seal holds.
    pub fn checkpoint_vote(&mut self, vote: CheckpointVote, out: &mut ExecutorOutbox) {
        let from = out.outputs.len();
        let counted = self.checkpoints.vote(vote, &mut out.outputs);
        self.counters.ignored_votes += u64::from(counted.is_err());
        self.heed(&out.outputs[from..]);
    }

    /// Takes the proof of a stable checkpoint that a VIEW-CHANGE brought.
    pub fn checkpoint_proven(&mut self, proven: Stable, out: &mut ExecutorOutbox) {
        let from = out.outputs.len();
        self.checkpoints.prove(proven, &mut out.outputs);
        self.heed(&out.outputs[from..]);
    }

    /// `pillar` entered `view`: replies tell it from now on.
    pub fn set_view(&mut self, pillar: PillarId, view: View) {
        self.groups.set_view(pillar, view);
    }

    /// Executes decided slots in order until `budget` operations are done (the last slot is finished, an empty one
    /// counts as one operation) and puts all answers into `out`. Returns whether there is more to execute.
    pub fn run(&mut self, budget: usize, out: &mut ExecutorOutbox) -> bool {
        let mut left = budget;
        while left > 0 && !self.is_halted() {
            let Some((position, slot)) = self.merge.take() else { break };
            self.execute_slot(position, &slot, out);
            left = left.saturating_sub((slot.body.operation_count() as usize).max(1));
            out.executed.push(ExecutedSlot { position, slot });
            self.end_round(out);
            // Peers name the round: it may be any number.
            let end = self.pause.and_then(|round| round.0.checked_mul(u64::from(self.settings.pillars)));
            if end == Some(self.position().0) {
                break;
            }
        }
        self.groups.finish(&mut out.replies);
        self.allowance.renew();
        self.touched.finish(&self.table, &mut out.floors);
        self.is_ready()
    }

    /// [`Executor::run`] returns after `round`, whatever its budget, so that a snapshot can be taken there.
    pub fn pause_after(&mut self, round: Option<Round>) {
        self.pause = round;
    }

    /// Takes back a group that was sent; its memory serves the next.
    pub fn recycle(&mut self, group: ReplyGroup) {
        self.groups.recycle(group);
    }

    /// How many slots were executed: the position of the next.
    #[must_use]
    pub fn position(&self) -> Position {
        self.merge.position()
    }

    /// The highest slot of `pillar` up to which all are executed.
    #[must_use]
    pub fn executed(&self, pillar: PillarId) -> Seq {
        let (next, seq) = self.merge.position().slot(self.settings.pillars);
        Seq(seq.0 - u64::from(pillar >= next))
    }

    /// The stable round and its digest.
    #[must_use]
    pub fn stable(&self) -> (Round, Digest) {
        self.checkpoints.stable()
    }

    /// The latest checkpoint taken.
    #[must_use]
    pub fn last_checkpoint(&self) -> Option<(Round, Digest)> {
        self.last_checkpoint
    }

    /// Whether the state was found to differ from a stable one: nothing is executed or answered until another is installed.
    #[must_use]
    pub fn diverged(&self) -> bool {
        self.halt == Some(Halt::Diverged)
    }

    /// Whether nothing is executed or answered, for this or another reason.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.halt.is_some()
    }

    /// Whether the next slot is there to be executed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.is_halted() && self.merge.is_ready()
    }

    /// The highest round that f+1 replicas have voted for.
    #[must_use]
    pub fn told_by_some_correct(&self) -> Round {
        self.checkpoints.told_by_some_correct()
    }

    /// The highest round that each replica is known to have executed.
    #[must_use]
    pub fn told(&self) -> &[Round] {
        self.checkpoints.told()
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> &ExecutorCounters {
        &self.counters
    }

    /// The application.
    #[must_use]
    pub fn application(&self) -> &A {
        &self.service.application
    }

    /// A digest of the present state, equal on replicas that have executed the same positions. After round r of P
    /// pillars, that is at position r·P, it is the checkpoint's.
    pub fn state_digest(&mut self) -> Digest {
        let table = if bug!(Bug::ClientTableNotInCheckpoint) { Digest::ZERO } else { self.table.digest() };
        let application = self.service.application.digest();
        state_digest(self.position(), self.timestamp, table, &self.incarnations, application)
    }

    fn execute_slot(&mut self, position: Position, slot: &Decided, out: &mut ExecutorOutbox) {
        let body = &*slot.body;
        let before = if bug!(Bug::TimestampFalls) { Timestamp(0) } else { self.timestamp };
        self.timestamp = before.max(body.timestamp());
        self.counters.slots += 1;
        if body.is_empty() {
            self.counters.empty_slots += 1;
            return;
        }
        let mut replayed = !self.recover(slot, out);
        let (mut forwards, mut backwards) = (body.requests().iter(), body.requests().iter().rev());
        let mut next = || if bug!(Bug::RequestsBackwards) { backwards.next() } else { forwards.next() };
        while let Some(request) = next() {
            let client = request.client;
            self.touched.touch(&self.table, client);
            if !bug!(Bug::FloorsIgnored) && self.table.acknowledge(client, request.floor) {
                self.voids.note(client, slot.seq);
            }
            // Above the floor a new primary can't know what was executed.
            let last = request.last();
            replayed &= last <= self.table.floor(client) && !self.voids.excuse(client, slot.seq);
            if self.execute_request(position, slot.pillar, body, request) {
                out.far.push((slot.pillar, client, request.first, request.count));
            }
        }
        if replayed {
            self.counters.replayed_batches += 1;
            out.replayed.push(slot.pillar);
        }
    }

    /// Returns whether some operation was beyond its client's window.
    fn execute_request(
        &mut self,
        position: Position,
        pillar: PillarId,
        body: &Body,
        request: &RequestRef,
    ) -> bool {
        let client = request.client;
        let mut far = false;
        // The operations come first: the number after the last may not exist.
        for (operation, number) in body.operations(request).zip((request.first.0..).map(Number)) {
            match self.table.due(client, number) {
                Due::Now => {
                    let context = Context { position, client, number, timestamp: self.timestamp };
                    let (answer, large) = self.call(&context, &request.digest, operation);
                    let whole = large.clone().filter(|_| self.sends_whole(number));
                    self.table.record(client, answer, large);
                    self.groups.push(pillar, client, &answer, whole);
                }
                Due::Past => self.counters.skipped_past += 1,
                Due::Far => {
                    self.counters.skipped_far += 1;
                    far = true;
                }
            }
        }
        far
    }

    /// Executes an operation; a large result comes whole beside the answer that tells its digest.
    fn call(&mut self, context: &Context, request: &Digest, operation: &[u8]) -> (Answer, Option<Bytes>) {
        self.counters.operations += 1;
        match self.service.call(context, operation) {
            Ok(result) => {
                let answer = Answer::result(context.number, request, result);
                (answer, answer.is_large().then(|| Bytes::copy_from_slice(result)))
            }
            Err(failure) => {
                self.counters.panics += u64::from(failure == Failure::Panicked);
                self.counters.results_too_large += u64::from(failure == Failure::ResultTooLarge);
                (Answer::failure(context.number, request, failure), None)
            }
        }
    }

    /// One replica sends a large result whole, in turn by number; the others its digest.
    fn sends_whole(&self, number: Number) -> bool {
        number.0 % u64::from(self.settings.replicas) == u64::from(self.settings.me.0)
    }

    /// What to answer on a retransmission; a large result goes out whole.
    fn known(&self, lookup: &Lookup, number: Number) -> Option<(Answer, Option<Bytes>)> {
        let fail = |failure| Some((Answer::failure(number, &lookup.digest, failure), None));
        match self.table.lookup(lookup.client, number) {
            Known::Executed(answer, None) if answer.is_large() => {
                Some((answer.into_failure(Failure::ResultNotKept), None))
            }
            Known::Executed(..) if bug!(Bug::RepeatedAnswerWrong) => fail(Failure::Acknowledged),
            Known::Executed(answer, large) => Some((*answer, large.cloned())),
            Known::Forgotten => fail(Failure::ResultNotKept),
            Known::Acknowledged => fail(Failure::Acknowledged),
            Known::NotYet => None,
        }
    }

    /// After the last slot of a round: its checkpoint, when one is due.
    pub(super) fn end_round(&mut self, out: &mut ExecutorOutbox) {
        let pillars = u64::from(self.settings.pillars);
        if !self.position().0.is_multiple_of(pillars) {
            return;
        }
        let round = Round(self.position().0 / pillars);
        self.checkpoints.executed(round);
        let round = Round(round.0 + u64::from(bug!(Bug::CheckpointOneRoundEarly)));
        if round.0.is_multiple_of(self.settings.checkpoint_interval) {
            self.take_checkpoint(round, out);
        }
    }

    pub(super) fn take_checkpoint(&mut self, round: Round, out: &mut ExecutorOutbox) {
        let digest = self.state_digest();
        self.counters.checkpoints += 1;
        self.last_checkpoint = Some((round, digest));
        let from = out.outputs.len();
        out.outputs.push(Output::Checkpoint { round, digest });
        self.checkpoints.own(round, digest, &mut out.outputs);
        self.heed(&out.outputs[from..]);
    }

    fn heed(&mut self, outputs: &[Output]) {
        if outputs.iter().any(|output| matches!(output, Output::Diverged { .. })) {
            self.halt.get_or_insert(Halt::Diverged);
        }
    }
}

pub(super) fn state_digest(
    position: Position,
    timestamp: Timestamp,
    table: Digest,
    incarnations: &Incarnations,
    application: Digest,
) -> Digest {
    let mut recoveries = Vec::new();
    incarnations.encode(&mut recoveries);
    sha256(&[
        STATE_TAG,
        &position.0.to_le_bytes(),
        &timestamp.0.to_le_bytes(),
        &table.0,
        &recoveries,
        &application.0,
    ])
}

/// What each client was told on lookups in this turn. A lookup costs a client next to nothing; its answer may be long, and
/// with `replies = "each"` costs a signature. What is refused here is asked again.
#[derive(Debug)]
struct LookupAllowance {
    /// Per client: numbers answered, bytes attached.
    told: Vec<(u32, usize)>,
    clients: Vec<ClientId>,
    lookups_max: u32,
    attached_max: usize,
}

/// Lookups of a client answered in a turn when each takes a signature of its own.
const SIGNED_LOOKUPS_MAX: u32 = 16;

impl LookupAllowance {
    fn new(settings: &ExecutorSettings) -> Self {
        let lookups_max = match settings.replies {
            // All that a client can have in flight: after a reconnect it asks for all of it at once.
            Replies::Merkle => settings.client_window,
            Replies::Each => SIGNED_LOOKUPS_MAX,
        };
        let told = vec![(0, 0); ClientId(settings.clients).index()];
        Self { told, clients: Vec::new(), lookups_max, attached_max: 2 * settings.client_result_bytes }
    }

    fn answers(&mut self, client: ClientId) -> bool {
        let Some((answered, _)) = self.told.get_mut(client.index()) else { return false };
        if *answered == 0 {
            self.clients.push(client);
        }
        let answers = *answered < self.lookups_max;
        *answered += u32::from(answers);
        answers
    }

    /// Whether a whole result of this length goes along; else its digest must do.
    fn attaches(&mut self, client: ClientId, length: usize) -> bool {
        let (_, attached) = &mut self.told[client.index()];
        let attaches = *attached + length <= self.attached_max;
        *attached += if attaches { length } else { 0 };
        attaches
    }

    fn renew(&mut self) {
        self.clients.drain(..).for_each(|client| self.told[client.index()] = (0, 0));
    }
}

/// The clients whose requests were executed in this turn, with their floors before it.
#[derive(Debug)]
struct Touched {
    is_touched: Vec<bool>,
    before: Vec<(ClientId, Number)>,
}

impl Touched {
    fn new(clients: u32) -> Self {
        Self { is_touched: vec![false; clients as usize], before: Vec::new() }
    }

    fn touch(&mut self, table: &ClientTable, client: ClientId) {
        if !std::mem::replace(&mut self.is_touched[client.index()], true) {
            self.before.push((client, table.floor(client)));
        }
    }

    /// Tells the floors that moved.
    fn finish(&mut self, table: &ClientTable, floors: &mut Vec<(ClientId, Number)>) {
        for (client, before) in self.before.drain(..) {
            self.is_touched[client.index()] = false;
            let floor = table.floor(client);
            if floor > before {
                floors.push((client, floor));
            }
        }
    }
}
