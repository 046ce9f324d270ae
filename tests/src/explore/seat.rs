//! One correct replica of an exploration: a pillar, its signer and its executor in one value that can be copied.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use hypostyle_app_api::{Digest, Instant, Now, Number, ReplicaId, Seq, Timestamp, View};
use hypostyle_pillars::message::{Kind, Message, PeerFrame, Request, Statement};
use hypostyle_pillars::{
    Admission, Config, Decided, Declaration, Executed, Input, Output, Pillar, Source, Target,
};

use super::mail::{Book, Letter};

#[derive(Clone)]
pub(super) struct Seat {
    pub(super) pillar: Pillar,
    pub(super) now: Now,
    unsealed: VecDeque<Said>,
    /// What it has sent since somebody last looked.
    pub(super) outbox: Vec<u32>,
    /// The view before the present step.
    was_in: View,
    pub(super) decided: BTreeMap<Seq, (Digest, Vec<Number>)>,
    executed: Seq,
    /// Whether what it says is signed at once.
    pub(super) seals_at_once: bool,
    /// Whether it tells where it stands, and so asks for what it lacks.
    pub(super) talks: bool,
    /// What it has done that it mustn't.
    pub(super) wrong: Option<String>,
}

#[derive(Clone, Debug)]
enum Said {
    Statement(Statement),
    Declaration(Declaration),
}

/// When an exploration begins.
const START: Now = Now { instant: Instant(1_000_000_000), wall: Timestamp(1_000_000_000_000) };
/// By its clock a replica comes to each view at the same time, whatever took it there: when is of no account.
const AGE_OF_A_VIEW: Duration = Duration::from_secs(20);
/// Deadlines that may pass before a replica leaves its view.
const DEADLINES_MAX: usize = 12;

impl Seat {
    pub(super) fn new(config: Config, seals_at_once: bool) -> Self {
        Self {
            was_in: View(0),
            pillar: Pillar::new(config),
            now: START,
            unsealed: VecDeque::new(),
            outbox: Vec::new(),
            decided: BTreeMap::new(),
            executed: Seq(0),
            seals_at_once,
            talks: false,
            wrong: None,
        }
    }

    pub(super) fn me(&self) -> ReplicaId {
        self.pillar.config().me
    }

    /// Everything that its future depends on, and what it has decided.
    pub(super) fn fingerprint(&self) -> u128 {
        let mut hash = Fingerprint::default();
        let Self { pillar, now, unsealed, decided, executed, .. } = self;
        let all = (pillar.outline(), now, unsealed, decided, executed);
        write!(hash, "{all:?}").expect("a hash takes everything");
        hash.0
    }

    /// What is left of it when it has stopped.
    pub(super) fn epitaph(&self) -> u128 {
        let mut hash = Fingerprint::default();
        write!(hash, "dead {} {:?}", self.me(), self.decided).expect("a hash takes everything");
        hash.0
    }

    /// Its client asks it.
    pub(super) fn ask(&mut self, book: &mut Book, request: Request) {
        let message = Message::Request(request);
        if self.pillar.admit(Source::Client(hypostyle_app_api::ClientId(0)), &message) == Admission::Verify {
            let message = book.keys.keyring.verify(message).expect("signed by the client");
            self.turn(book, Input::Message(message));
        }
    }

    /// Whether admission lets a message in.
    pub(super) fn admits(&self, book: &Book, number: u32) -> bool {
        let mail = book.mail(number);
        let me = self.me();
        if mail.from == me || mail.to.is_some_and(|to| to != me) {
            return false;
        }
        match &mail.letter {
            Letter::Message(message) => {
                self.pillar.admit(Source::Peer(mail.from), message) == Admission::Verify
            }
            Letter::Status(_) => true,
        }
    }

    pub(super) fn deliver(&mut self, book: &mut Book, number: u32) {
        let mail = book.mail(number);
        let input = match mail.letter.clone() {
            Letter::Message(message) => Input::Message(message),
            Letter::Status(status) => Input::Status(mail.from, status),
        };
        self.turn(book, input);
    }

    /// Time passes for this replica alone, without anything happening, until it leaves its view. False if it never does.
    pub(super) fn time_out(&mut self, book: &mut Book) -> bool {
        let before = self.pillar.view();
        for _ in 0..DEADLINES_MAX {
            let Some(at) = self.pillar.next_deadline() else {
                return false;
            };
            self.pass_to(book, at);
            if self.pillar.view() > before {
                return true;
            }
        }
        false
    }

    pub(super) fn pass_to(&mut self, book: &mut Book, at: Instant) {
        let time = at.since(self.now.instant);
        self.now = Now { instant: self.now.instant + time, wall: self.now.wall + time };
        self.turn(book, Input::Tick);
    }

    fn view_index(&self) -> u32 {
        u32::try_from(self.pillar.view().0).unwrap_or(0)
    }

    /// A step, and the end of the turn.
    fn turn(&mut self, book: &mut Book, input: Input) {
        self.step(book, input);
        self.step(book, Input::Tick);
        while self.seals_at_once && self.seal(book) {}
        self.now.instant = self.now.instant.max(START.instant + AGE_OF_A_VIEW * self.view_index());
        self.now.wall = self.now.wall.max(START.wall + AGE_OF_A_VIEW * self.view_index());
    }

    /// Signs the next that it has said. False if there is nothing.
    pub(super) fn seal(&mut self, book: &mut Book) -> bool {
        let me = self.me();
        match self.unsealed.pop_front() {
            None => return false,
            Some(Said::Statement(statement)) => {
                let bundle = Arc::new(book.keys.bundle(me, statement));
                self.send(book, Target::Peers, PeerFrame::BUNDLE, bundle.bytes());
                self.step(book, Input::Sealed(bundle));
            }
            Some(Said::Declaration(declaration)) => {
                let declared = book.declared(me, declaration);
                let (kind, bytes) = declared.frame();
                self.send(book, Target::Peers, kind, bytes);
                self.step(book, Input::Declared(declared));
            }
        }
        self.step(book, Input::Tick);
        true
    }

    /// Whether it has decided the client's request with this number.
    pub(super) fn has_decided(&self, number: u64) -> bool {
        self.decided.values().any(|(_, numbers)| numbers.contains(&Number(number)))
    }

    pub(super) fn has_unsealed(&self) -> bool {
        !self.unsealed.is_empty()
    }

    fn step(&mut self, book: &mut Book, input: Input) {
        let mut outputs = Vec::new();
        self.was_in = self.pillar.view();
        self.pillar.step(self.now, input, &mut outputs);
        for output in outputs {
            self.carry_out(book, output);
        }
        while let Some((_, numbers)) = self.decided.get(&Seq(self.executed.0 + 1)) {
            self.executed.0 += 1;
            let floor = numbers.iter().max().map(|number| (hypostyle_app_api::ClientId(0), *number));
            let executed = Executed {
                seq: self.executed,
                floors: floor.into_iter().collect(),
                past: vec![],
                far: vec![],
            };
            self.step(book, Input::Executed(executed));
        }
    }

    fn carry_out(&mut self, book: &mut Book, output: Output) {
        match output {
            Output::Mark(_) => {}
            Output::Statement(statement) => self.say(statement),
            Output::Declare(declaration) => self.unsealed.push_back(Said::Declaration(declaration)),
            Output::SendBody(to, body) => self.send(book, to, PeerFrame::BODY, body.bytes()),
            Output::SendBundle(to, bundle) => {
                self.send(book, Target::Peer(to), PeerFrame::BUNDLE, bundle.bytes());
            }
            Output::SendDeclared(to, declared) => {
                let (kind, bytes) = declared.frame();
                self.send(book, Target::Peer(to), kind, bytes);
            }
            Output::Forward(to, request) => {
                self.send(book, Target::Peer(to), PeerFrame::REQUEST, request.bytes());
            }
            Output::SendRecover(to, recover) => {
                self.send(book, to, PeerFrame::RECOVER, recover.bytes());
            }
            Output::SendStatus(to, status) if self.talks => {
                let mut bytes = Vec::new();
                status.encode(&mut bytes);
                self.send(book, to, PeerFrame::STATUS, &bytes);
            }
            Output::Decided(decided) => self.decide(book, &decided),
            Output::SendStatus(..)
            | Output::Demand(_)
            | Output::CheckpointVote(_)
            | Output::CheckpointProven(_)
            | Output::Equivocated(..)
            | Output::Rejected(..)
            | Output::Entered(_)
            | Output::Lag(_) => {}
        }
    }

    fn send(&mut self, book: &mut Book, to: Target, kind: u8, bytes: &[u8]) {
        let to = match to {
            Target::Peers => None,
            Target::Peer(peer) => Some(peer),
        };
        let number = book.number(self.me(), to, kind, bytes);
        self.outbox.push(number);
    }

    /// Nobody says anything in a view it has left.
    fn say(&mut self, statement: Statement) {
        if statement.kind != Kind::Checkpoint && statement.view < self.was_in {
            self.wrong = Some(format!("{} says {statement:?} in view {}", self.me(), self.was_in));
        }
        self.unsealed.push_back(Said::Statement(statement));
    }

    fn decide(&mut self, book: &Book, decided: &Decided) {
        let Decided { pillar, seq, view, ref body, ref certificate } = *decided;
        let digest = body.digest();
        let commit = Statement { kind: Kind::Commit, pillar, view, seq, digest };
        let mut signers: Vec<_> = certificate
            .iter()
            .filter(|bundle| bundle.statements().contains(&commit))
            .map(|bundle| bundle.signer())
            .collect();
        signers.sort_unstable();
        signers.dedup();
        if signers.len() < book.config.quorum() {
            self.wrong = Some(format!("{} decides {seq} by the Commits of {signers:?}", self.me()));
        }
        let numbers = body.requests().iter().map(|request| request.first).collect();
        if self.decided.insert(seq, (digest, numbers)).is_some() {
            self.wrong = Some(format!("{} decides {seq} twice", self.me()));
        }
    }
}

/// FNV-1a over 128 bits.
struct Fingerprint(u128);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Write for Fingerprint {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        Ok(())
    }
}
