use std::collections::VecDeque;

use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId, ReplicaId};
use hypostyle_crypto::merkle::Tree;
use hypostyle_crypto::{Entry, SEAL_ENTRIES_MAX, Seal};
use hypostyle_pillars::message::{Bundle, SealedBundle, Statement};
use hypostyle_pillars::{Declaration, Declared, SignerProgress};

use crate::reply::{ReplyGroup, seal_tree};

/// Gathers what one worker has to sign, statements of its pillars and replies, and puts as much as it can under one seal
/// whenever the signer is free, as group commit does: an idle replica signs one statement at once, a loaded one many with
/// one signature.
pub(crate) struct Sealer {
    settings: SealerSettings,
    said: Vec<(PillarId, VecDeque<Said>)>,
    replies: VecDeque<ReplyGroup>,
    /// Signatures under way, oldest first: bundles leave in the order in which their statements were made.
    flights: VecDeque<Flight>,
    next_ticket: u64,
    first_pillar: usize,
    /// Whether the latest seal was for replies.
    replied: bool,
    progress: SignerProgress,
}

/// What of the configuration concerns sealing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealerSettings {
    pub(crate) me: ReplicaId,
    /// Most statements in a bundle; 1 puts every statement under a seal of its own (the paper's setting).
    pub(crate) bundle: usize,
    /// Whether every reply gets a signature of its own (the paper's setting).
    pub(crate) replies_singly: bool,
    /// Most signatures under way.
    pub(crate) flights_max: usize,
}

/// What a pillar says, in order.
enum Said {
    Statement(Statement),
    Declaration(Declaration),
}

/// What a signature completed.
pub(crate) struct Sealed {
    /// With the pillar that made them; they go before the bundles.
    pub(crate) declared: Vec<(PillarId, Declared)>,
    pub(crate) bundles: Vec<SealedBundle>,
    pub(crate) replies: Option<SealedReplies>,
}

/// Reply groups, the tree over them, and the seal that holds its root.
pub(crate) struct SealedReplies {
    pub(crate) groups: Vec<ReplyGroup>,
    pub(crate) tree: Tree,
    pub(crate) seal: Seal,
}

struct Flight {
    ticket: u64,
    entries: Vec<Entry>,
    declarations: Vec<(PillarId, Declaration)>,
    bundles: Vec<Bundle>,
    replies: Option<(Vec<ReplyGroup>, Tree)>,
    signature: Option<Bytes>,
}

impl SealerSettings {
    /// Whether a statement or a reply has its seal to itself.
    fn seals_one(self) -> bool {
        self.bundle == 1 || self.replies_singly
    }
}

impl Sealer {
    pub(crate) fn new(settings: SealerSettings, pillars: &[PillarId]) -> Self {
        let said = pillars.iter().map(|pillar| (*pillar, VecDeque::new())).collect();
        let (replies, flights) = (VecDeque::new(), VecDeque::new());
        let progress = SignerProgress::default();
        Self { settings, said, replies, flights, next_ticket: 0, first_pillar: 0, replied: false, progress }
    }

    /// Adds a statement that travels on the links of the worker's `index`-th pillar.
    pub(crate) fn statement(&mut self, index: usize, statement: Statement) {
        self.progress.given += 1;
        self.said[index].1.push_back(Said::Statement(statement));
    }

    /// Adds a declaration of the worker's `index`-th pillar: sealed after all that the pillar has said before.
    pub(crate) fn declare(&mut self, index: usize, declaration: Declaration) {
        self.progress.given += 1;
        self.said[index].1.push_back(Said::Declaration(declaration));
    }

    pub(crate) fn replies(&mut self, groups: impl IntoIterator<Item = ReplyGroup>) {
        let before = self.replies.len();
        self.replies.extend(groups);
        self.progress.given += (self.replies.len() - before) as u64;
    }

    /// How far it has come, where statements or replies have seals to themselves: else one signature takes all that waits.
    pub(crate) fn progress(&self) -> Option<SignerProgress> {
        self.settings.seals_one().then_some(self.progress)
    }

    /// Whether something waits for a signature that could be made now.
    pub(crate) fn is_ready(&self) -> bool {
        let waits = !self.replies.is_empty() || self.pillars_wait();
        waits && self.flights.len() < self.settings.flights_max
    }

    /// If the signer is free and something waits: the digest to be signed, and a ticket to return the signature with.
    pub(crate) fn next(&mut self) -> Option<(u64, Digest)> {
        if !self.is_ready() {
            return None;
        }
        let ((declarations, bundles), replies) = match self.replies_alone() {
            true if self.settings.replies_singly => ((Vec::new(), Vec::new()), self.next_replies(1)),
            true => ((Vec::new(), Vec::new()), self.next_replies(self.replies.len())),
            false if self.settings.seals_one() => (self.next_said(), None),
            false => (self.next_said(), self.next_replies(self.replies.len())),
        };
        self.replied = replies.is_some();
        let mut entries: Vec<_> = declarations.iter().map(|(_, declaration)| declaration.entry()).collect();
        entries.extend(bundles.iter().map(Bundle::entry));
        entries.extend(replies.as_ref().map(|(_, tree)| Entry::Replies { root: tree.root() }));
        let content = Seal::content(self.settings.me, &entries);
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.flights.push_back(Flight { ticket, entries, declarations, bundles, replies, signature: None });
        Some((ticket, content))
    }

    /// Takes a signature; returns whatever is complete by now, in the order in which it was begun.
    pub(crate) fn signed(&mut self, ticket: u64, signature: Bytes) -> Vec<Sealed> {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.ticket == ticket) {
            flight.signature = Some(signature);
        }
        let mut complete = Vec::new();
        while let Some(flight) = self.flights.pop_front_if(|flight| flight.signature.is_some()) {
            complete.push(self.land(flight));
        }
        complete
    }

    fn land(&mut self, flight: Flight) -> Sealed {
        let statements: usize = flight.bundles.iter().map(|bundle| bundle.statements().len()).sum();
        let replies = flight.replies.as_ref().map_or(0, |(groups, _)| groups.len());
        self.progress.signed += (flight.declarations.len() + statements + replies) as u64;
        let signature = flight.signature.expect("only signed flights land");
        let seal = Seal { signer: self.settings.me, entries: flight.entries, signature };
        let seal_one =
            |(pillar, declaration): (PillarId, Declaration)| (pillar, declaration.seal(seal.clone()));
        Sealed {
            declared: flight.declarations.into_iter().map(seal_one).collect(),
            bundles: flight.bundles.into_iter().map(|bundle| bundle.seal(seal.clone())).collect(),
            replies: flight.replies.map(|(groups, tree)| SealedReplies { groups, tree, seal: seal.clone() }),
        }
    }

    /// One bundle a pillar, as full as allowed, and before it what the pillar declares; with `bundle = 1` a single statement
    /// or declaration of a single pillar.
    fn next_said(&mut self) -> (Vec<(PillarId, Declaration)>, Vec<Bundle>) {
        let (me, most) = (self.settings.me, self.settings.bundle);
        let entries_max = if most == 1 { 1 } else { SEAL_ENTRIES_MAX - 1 };
        let count = self.said.len();
        let (mut declarations, mut bundles) = (Vec::new(), Vec::new());
        // Begins with another pillar each time, so that none starves where not all fit.
        self.first_pillar = (self.first_pillar + 1) % count;
        for index in (self.first_pillar..count).chain(0..self.first_pillar) {
            let (pillar, waiting) = &mut self.said[index];
            // A pillar takes up to two entries.
            if declarations.len() + bundles.len() + 2 > entries_max.max(2) {
                break;
            }
            let before = declarations.len();
            if let Some(declaration) = next_declaration(waiting) {
                declarations.push((*pillar, declaration));
            }
            let alone = most == 1 && declarations.len() > before;
            let statements = next_statements(waiting, if alone { 0 } else { most });
            if !statements.is_empty() {
                bundles.push(Bundle::new(me, *pillar, &statements));
            }
            if most == 1 && declarations.len() + bundles.len() == 1 {
                break;
            }
        }
        (declarations, bundles)
    }

    fn pillars_wait(&self) -> bool {
        self.said.iter().any(|(_, waiting)| !waiting.is_empty())
    }

    /// Whether the next seal is for replies alone: by turns with the statements, so that neither starves.
    fn replies_alone(&self) -> bool {
        self.settings.seals_one() && !self.replies.is_empty() && !(self.replied && self.pillars_wait())
    }

    fn next_replies(&mut self, count: usize) -> Option<(Vec<ReplyGroup>, Tree)> {
        if count == 0 {
            return None;
        }
        let groups: Vec<_> = self.replies.drain(..count).collect();
        let tree = seal_tree(&groups);
        Some((groups, tree))
    }
}

fn next_declaration(waiting: &mut VecDeque<Said>) -> Option<Declaration> {
    match waiting.pop_front()? {
        Said::Declaration(declaration) => Some(declaration),
        statement => {
            waiting.push_front(statement);
            None
        }
    }
}

/// Up to `most` statements, none from after the next declaration.
fn next_statements(waiting: &mut VecDeque<Said>, most: usize) -> Vec<Statement> {
    let mut statements = Vec::with_capacity(most.min(waiting.len()));
    while statements.len() < most
        && let Some(Said::Statement(statement)) = waiting.front()
    {
        statements.push(*statement);
        waiting.pop_front();
    }
    statements
}
