mod authenticators;
mod failover;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use authenticators::Link;
use bytes::Bytes;
use hypostyle_app_api::{ClientId, Instant, Number, PillarId, ReplicaId, View};
use hypostyle_crypto::{Identity, Signer, Verified};
use hypostyle_pillars::message::Request;
use hypostyle_pillars::primary;
use hypostyle_probe::{Bug, bug};

use super::error::{NotSent, OperationError, Rejected};
use super::outcome::{Outcome, checked_whole, short_digest};
use super::output::{ClientOutput, Completion, Transmission};
use super::retry::{Entry, LEVELS, Patience, Schedule};
use super::settings::ClientSettings;
use super::tally::Tally;
use super::views::Views;
use super::window::Window;
use crate::reply::{Record, ReplyMessage, ReplyProof};

/// One client of the cluster, as a state machine: no socket, clock, thread or randomness.
///
/// It numbers and signs operations, sends each to the primary of its pillar and, when no answer comes, to all
/// replicas; and it accepts a result when f+1 replicas told the same. Everything it keeps is bounded by
/// `client_window`; a reply costs constant time.
///
/// The *floor* is the number up to which all is settled. Every request carries it, so that replicas forget older
/// results; and a number is used only up to floor + `client_window`, so that replicas never refuse it for being
/// too far ahead.
#[derive(Debug)]
pub struct ClientCore {
    settings: ClientSettings,
    client: ClientId,
    identity: Arc<Identity>,
    operations: Window<Operation>,
    open: usize,
    views: Views,
    links: Vec<Link>,
    patience: Patience,
    schedule: Schedule,
    /// Operations agreed upon whose large result nobody sent yet, and when to ask for it.
    wholes: VecDeque<(Number, Instant)>,
    /// No retransmission before this moment: an outage ends with paced ones, not with all at once.
    paced_until: Instant,
}

#[derive(Debug)]
struct Operation {
    open: bool,
    waits_for_whole: bool,
    /// How many numbers its request began before it.
    offset: u16,
    tally: Tally,
    /// In the request's first operation, while any of its operations is open.
    request: Option<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    /// As it was first sent, or signed since.
    request: Request,
    pillar: PillarId,
    open: u16,
    submitted: Instant,
    sent: Instant,
    level: usize,
}

impl InFlight {
    /// What replies name it by.
    fn short_digest(&self) -> [u8; 16] {
        short_digest(&self.request.digest())
    }
}

impl Operation {
    /// Its request's first number.
    fn first(&self, number: Number) -> Number {
        Number(number.0 - u64::from(self.offset))
    }
}

/// When a settled operation's request was submitted and last sent, and whether that was the first time.
struct Settlement {
    submitted: Instant,
    sent: Instant,
    resent: bool,
}

/// What a vote led to.
enum Verdict {
    Open,
    NeedsWhole,
    Settled(Result<Bytes, OperationError>),
}

/// Retransmissions in a turn, and the pause after that many.
const RESENDS_PER_TICK: usize = 64;
const RESEND_PAUSE: Duration = Duration::from_millis(2);

impl ClientCore {
    /// A client whose first operation has this number, which must be above all it ever used.
    ///
    /// # Panics
    /// When `first` is 0, the settings are none a cluster can have, or the identity is no client's.
    #[must_use]
    pub fn new(settings: ClientSettings, identity: Arc<Identity>, first: Number) -> Self {
        settings.check();
        let Signer::Client(client) = identity.signer() else { panic!("the identity of a replica") };
        assert!(first.0 > 0, "numbers begin at 1");
        let links = usize::from(settings.replicas) * usize::from(settings.pillars);
        Self {
            client,
            identity,
            operations: Window::above(Number(first.0 - 1)),
            open: 0,
            views: Views::new(settings.replicas, settings.faults, settings.pillars),
            links: vec![Link::default(); links],
            patience: Patience::new(settings.client_timeout, client),
            schedule: Schedule::default(),
            wholes: VecDeque::new(),
            paced_until: Instant(0),
            settings,
        }
    }

    /// Who it is.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// What it goes by.
    #[must_use]
    pub fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// The connections it needs, each to one replica for one pillar.
    pub fn connections(&self) -> impl Iterator<Item = (ReplicaId, PillarId)> + use<> {
        let pillars = self.settings.pillars_of(self.client);
        (0..self.settings.replicas).flat_map(move |replica| {
            pillars.clone().into_iter().map(move |pillar| (ReplicaId(replica), pillar))
        })
    }

    /// The number of the next operation.
    #[must_use]
    pub fn next_number(&self) -> Number {
        Number(self.operations.last().0 + 1)
    }

    /// All numbers up to this one are settled.
    #[must_use]
    pub fn floor(&self) -> Number {
        self.operations.floor()
    }

    /// Operations submitted and not settled.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.open
    }

    /// How many operations the next request may hold now; 0 when the window is full.
    #[must_use]
    pub fn room(&self) -> u16 {
        let top = self.floor().0.saturating_add(self.settings.client_window).min(u64::MAX - 1);
        let left = top - self.operations.last().0;
        let run = self.settings.operations_from(self.next_number());
        u16::try_from(left).map_or(run, |left| left.min(run))
    }

    /// The view it believes a pillar to be in.
    #[must_use]
    pub fn believed_view(&self, pillar: PillarId) -> View {
        self.views.believed(pillar)
    }

    /// Sends a request that was signed before: the next numbers, and a floor no higher than now acknowledged (see
    /// [`ClientSettings::floor_ahead`]). Returns its first number.
    ///
    /// # Errors
    /// When it can't be sent, now ([`NotSent::WindowFull`]) or ever; nothing has changed then.
    pub fn submit_signed(
        &mut self,
        now: Instant,
        request: Bytes,
        out: &mut ClientOutput,
    ) -> Result<Number, NotSent> {
        let request = Request::decode(request, &self.settings.request_limits())
            .map_err(|malformed| NotSent::NotOurs(malformed.what))?;
        if request.client() != self.client {
            return Err(NotSent::NotOurs("another client's request"));
        }
        let (first, expected) = (request.first(), self.next_number());
        if first != expected {
            return Err(NotSent::OutOfTurn { first, expected });
        }
        self.check_room(usize::from(request.count()))?;
        if request.floor() > self.floor() {
            return Err(NotSent::WindowFull { window: self.settings.client_window });
        }
        self.launch(now, request);
        self.transmit_first(first, out);
        Ok(first)
    }

    /// Gives an operation up: its replies are ignored from now on, and once the floor has passed it, a later request
    /// voids it unless it was executed by then. Its outcome stays unknown.
    pub fn abandon(&mut self, number: Number) {
        self.settle(number);
    }

    /// The cheap checks of a reply that came from this replica: only what passes is worth verifying.
    ///
    /// # Errors
    /// Why it isn't.
    pub fn admit(&self, from: ReplicaId, reply: &ReplyMessage) -> Result<(), Rejected> {
        if reply.signer != from {
            return Err(Rejected::OtherReplica);
        }
        if reply.client != self.client {
            return Err(Rejected::OtherClient);
        }
        if self.settings.tags != matches!(reply.proof, ReplyProof::Tag(..)) {
            return Err(Rejected::OtherProof);
        }
        if self.link(from, reply.pillar).is_none() {
            return Err(Rejected::UnknownPillar);
        }
        let is_news = |record: &Record| {
            self.operations.get(record.number).is_some_and(|operation| {
                operation.open && operation.tally.is_news(from, &Outcome::of(record), record.whole.is_some())
            })
        };
        if reply.records.iter().any(is_news) { Ok(()) } else { Err(Rejected::Late) }
    }

    /// Counts an admitted and verified reply.
    pub fn on_verified(&mut self, now: Instant, reply: &Verified<ReplyMessage>, out: &mut ClientOutput) {
        if reply.client == self.client {
            self.count_all(now, reply, out);
        }
    }

    /// Sends again what has waited long enough.
    pub fn tick(&mut self, now: Instant, out: &mut ClientOutput) {
        self.ask_for_wholes(now, out);
        if now < self.paced_until {
            return;
        }
        for _ in 0..RESENDS_PER_TICK {
            let Some((level, entry)) = self.schedule.take_due(now, &self.patience) else { break };
            if is_live(&self.operations, level, &entry) {
                self.resend(now, entry.first, out);
            }
        }
        self.prune();
        let more = self.schedule.next_deadline(&self.patience).is_some_and(|deadline| deadline <= now);
        if more {
            self.paced_until = now + RESEND_PAUSE;
        }
    }

    /// When [`Self::tick`] is due; `None` while nothing waits.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let resend =
            self.schedule.next_deadline(&self.patience).map(|deadline| deadline.max(self.paced_until));
        let whole = self.wholes.front().map(|(_, deadline)| *deadline);
        resend.into_iter().chain(whole).min()
    }

    fn check_room(&self, count: usize) -> Result<(), NotSent> {
        let first = self.next_number();
        if first.0 >= u64::MAX - u64::from(u16::MAX) {
            return Err(NotSent::NumbersExhausted);
        }
        let max = self.settings.operations_from(first);
        if count == 0 || count > usize::from(max) {
            return Err(NotSent::Operations { first, count, max });
        }
        if count > usize::from(self.room()) {
            return Err(NotSent::WindowFull { window: self.settings.client_window });
        }
        Ok(())
    }

    fn launch(&mut self, now: Instant, request: Request) {
        let (first, count) = (request.first(), request.count());
        let mut in_flight = Some(InFlight {
            request,
            pillar: self.settings.pillar(self.client, first),
            open: count,
            submitted: now,
            sent: now,
            level: 0,
        });
        for offset in 0..count {
            self.operations.push(Operation {
                open: true,
                waits_for_whole: false,
                offset,
                tally: Tally::default(),
                request: in_flight.take(),
            });
        }
        self.open += usize::from(count);
        self.prune();
        self.schedule.push(0, Entry { first, at: now });
    }

    fn transmit_first(&mut self, first: Number, out: &mut ClientOutput) {
        let request = self.request(first).expect("just launched");
        let primary = self.primary(request.pillar);
        if self.is_up(primary, request.pillar) {
            self.transmit(request, primary, out);
        } else {
            self.transmit_to_all(first, out);
        }
    }

    fn transmit(&self, request: &InFlight, replica: ReplicaId, out: &mut ClientOutput) {
        let pillar = request.pillar;
        if self.is_up(replica, pillar) {
            out.sends.push(Transmission { replica, pillar, request: request.request.bytes().clone() });
        }
    }

    /// To all replicas, and once more a level later.
    fn resend(&mut self, now: Instant, first: Number, out: &mut ClientOutput) {
        let request = self.operations.get_mut(first).and_then(|operation| operation.request.as_mut());
        let request = request.expect("the entry is live");
        request.sent = now;
        request.level = (request.level + 1).min(LEVELS - 1);
        let level = request.level;
        self.schedule.push(level, Entry { first, at: now });
        self.transmit_to_all(first, out);
    }

    /// The replica whose turn it was to send a large result whole didn't: asks those that agree on it. One of them
    /// is correct and holds it.
    fn ask_for_wholes(&mut self, now: Instant, out: &mut ClientOutput) {
        while let Some((number, _)) = self.wholes.front().copied().filter(|(_, deadline)| *deadline <= now) {
            self.wholes.pop_front();
            let Some(operation) = self.operations.get(number).filter(|operation| operation.open) else {
                continue;
            };
            let first = operation.first(number);
            let agreed = operation.tally.agreed(self.votes_needed());
            if let (Some(candidate), Some(request)) = (agreed, self.request(first)) {
                let replicas = (0..self.settings.replicas).map(ReplicaId);
                replicas
                    .filter(|replica| candidate.voters.contains(*replica))
                    .for_each(|replica| self.transmit(request, replica, out));
            }
        }
    }

    fn count_all(&mut self, now: Instant, reply: &ReplyMessage, out: &mut ClientOutput) {
        let believed = self.views.believed(reply.pillar);
        self.views.tell(reply.signer, reply.pillar, reply.view);
        if self.views.believed(reply.pillar) != believed {
            self.follow(reply.pillar, out);
        }
        for record in &reply.records {
            match self.count(reply.signer, record) {
                Verdict::Open => {}
                Verdict::NeedsWhole => self.wait_for_whole(now, record.number),
                Verdict::Settled(result) => self.complete(now, record.number, result, out),
            }
        }
    }

    fn count(&mut self, replica: ReplicaId, record: &Record) -> Verdict {
        let (number, votes) = (record.number, self.votes_needed());
        let Some(operation) = self.operations.get_mut(number).filter(|operation| operation.open) else {
            return Verdict::Open;
        };
        let outcome = Outcome::of(record);
        if !operation.tally.is_news(replica, &outcome, record.whole.is_some()) {
            return Verdict::Open;
        }
        let candidate = operation.tally.vote(replica, outcome, checked_whole(record));
        if candidate.voters.len() < votes {
            return Verdict::Open;
        }
        let (agreed, result) = (candidate.outcome, candidate.result());
        let first = operation.first(number);
        let ours = self.request(first).is_some_and(|request| request.short_digest() == agreed.request);
        match result {
            _ if !ours => Verdict::Settled(Err(OperationError::NumberUsed(number))),
            Some(result) => Verdict::Settled(result),
            None => Verdict::NeedsWhole,
        }
    }

    fn wait_for_whole(&mut self, now: Instant, number: Number) {
        let deadline = now + self.patience.wait_for_whole();
        if let Some(operation) =
            self.operations.get_mut(number).filter(|operation| !operation.waits_for_whole)
        {
            operation.waits_for_whole = true;
            self.wholes.push_back((number, deadline));
        }
    }

    fn complete(
        &mut self,
        now: Instant,
        number: Number,
        result: Result<Bytes, OperationError>,
        out: &mut ClientOutput,
    ) {
        let Some(Settlement { submitted, sent, resent }) = self.settle(number) else { return };
        let latency = now.since(submitted);
        // What was waited before the last transmission says nothing about the cluster; counted, it would raise the next
        // wait, and that the one after it.
        self.patience.sample(now.since(sent), resent);
        out.completions.push(Completion { number, result, latency, resent });
    }

    /// Closes an operation, and its request with its last one; `None` when it wasn't open.
    fn settle(&mut self, number: Number) -> Option<Settlement> {
        let operation = self.operations.get_mut(number).filter(|operation| operation.open)?;
        operation.open = false;
        operation.tally = Tally::default();
        let first = operation.first(number);
        self.open -= 1;
        let first = self.operations.get_mut(first)?;
        let request = first.request.as_mut().expect("kept while an operation of it is open");
        let settlement =
            Settlement { submitted: request.submitted, sent: request.sent, resent: request.level > 0 };
        request.open -= 1;
        if request.open == 0 {
            first.request = None;
            self.operations.advance(|operation| !operation.open && operation.request.is_none());
            self.prune();
        }
        Some(settlement)
    }

    /// Drops what waits for nothing any more from the fronts of the queues.
    fn prune(&mut self) {
        let operations = &self.operations;
        self.schedule.prune(|level, entry| !is_live(operations, level, entry));
        let is_open = |number| operations.get(number).is_some_and(|operation| operation.open);
        while self.wholes.front().is_some_and(|(number, _)| !is_open(*number)) {
            self.wholes.pop_front();
        }
    }

    fn request(&self, first: Number) -> Option<&InFlight> {
        self.operations.get(first)?.request.as_ref()
    }

    fn primary(&self, pillar: PillarId) -> ReplicaId {
        primary(self.settings.leaders, self.settings.replicas, pillar, self.views.believed(pillar))
    }

    fn votes_needed(&self) -> usize {
        if bug!(Bug::OneReplyTrusted) { 1 } else { usize::from(self.settings.faults) + 1 }
    }

    fn link(&self, replica: ReplicaId, pillar: PillarId) -> Option<usize> {
        let known = replica.0 < self.settings.replicas && pillar.0 < self.settings.pillars;
        known.then(|| replica.index() * usize::from(self.settings.pillars) + pillar.index())
    }
}

fn is_live(operations: &Window<Operation>, level: usize, entry: &Entry) -> bool {
    let request = operations.get(entry.first).and_then(|operation| operation.request.as_ref());
    request.is_some_and(|request| request.sent == entry.at && request.level == level)
}

#[cfg(test)]
mod tests;
