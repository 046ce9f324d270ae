//! The menu of a Byzantine replica: what it may say to anybody at any time.

use hypostyle_app_api::{Digest, PillarId, ReplicaId, Round, Seq, Timestamp, View};
use hypostyle_pillars::Declaration;
use hypostyle_pillars::message::{
    Kind, Leave, Message, NewViewContent, PeerFrame, Statement, ViewChangeContent,
};

use super::mail::{Book, Letter};
use super::set::Set;

/// A Byzantine replica: everything it may say lies ready, for whom and when the search likes.
#[derive(Clone, Debug, Default)]
pub struct Byzantine {
    /// Which replica.
    pub id: u16,
    /// What it proposes for the first slot: in which view, and the client's request with which number.
    pub proposes: Vec<(u64, u64)>,
    /// Whether it votes for everything that is proposed.
    pub votes: bool,
    /// Whether it votes for something that nobody proposed.
    pub wrong_votes: bool,
    /// Views it leaves for without telling what it has prepared.
    pub leaves_for: Vec<u64>,
    /// Whether it begins views on any VIEW-CHANGEs there are.
    pub begins: bool,
}

impl Byzantine {
    /// What it can say whatever the others say.
    pub(super) fn speak(&self, book: &mut Book, said: &mut Set, wall: Timestamp) {
        let me = ReplicaId(self.id);
        for (view, number) in &self.proposes {
            let body = book.keys.body(*number, wall);
            said.insert(book.number(me, None, PeerFrame::BODY, body.bytes()));
            said.insert(self.say(book, Kind::Propose, View(*view), body.digest()));
        }
        if self.wrong_votes {
            for kind in [Kind::Prepare, Kind::Commit] {
                said.insert(self.say(book, kind, View(0), Digest([9; 32])));
            }
        }
        for view in &self.leaves_for {
            let leave = Leave {
                signer: me,
                incarnation: 0,
                pillar: PillarId(0),
                view: View(*view),
                stable: Round(0),
                stable_digest: Digest::ZERO,
                blocked: None,
            };
            let content = ViewChangeContent::new(&leave, Vec::new(), Vec::new());
            let declared = book.declared(me, Declaration::ViewChange(content));
            let (kind, bytes) = declared.frame();
            said.insert(book.number(me, None, kind, bytes));
        }
    }

    fn say(&self, book: &mut Book, kind: Kind, view: View, digest: Digest) -> u32 {
        let statement = Statement { kind, pillar: PillarId(0), view, seq: Seq(1), digest };
        let me = ReplicaId(self.id);
        let bundle = book.keys.bundle(me, statement);
        book.number(me, None, PeerFrame::BUNDLE, bundle.bytes())
    }

    /// What it can say because of what others have said.
    pub(super) fn react(&self, book: &mut Book, pool: &mut Set) {
        if self.votes {
            self.vote(book, pool);
        }
        if self.begins {
            self.begin(book, pool);
        }
    }

    fn vote(&self, book: &mut Book, pool: &mut Set) {
        let mut proposals = Vec::new();
        for number in pool.iter() {
            if let Letter::Message(message) = &book.mail(number).letter
                && let Message::Bundle(bundle) = &**message
            {
                let of = bundle.statements().iter().filter(|s| s.kind == Kind::Propose && s.seq == Seq(1));
                proposals.extend(of.map(|s| (s.view, s.digest)));
            }
        }
        for (view, digest) in proposals {
            if book.config.primary(view) != ReplicaId(self.id) {
                pool.insert(self.say(book, Kind::Prepare, view, digest));
            }
            pool.insert(self.say(book, Kind::Commit, view, digest));
        }
    }

    /// NEW-VIEWs on any 2f+1 VIEW-CHANGEs.
    fn begin(&self, book: &mut Book, pool: &mut Set) {
        let mut changes = Vec::new();
        for number in pool.iter() {
            if let Letter::Message(message) = &book.mail(number).letter
                && let Message::ViewChange(change) = &**message
                && book.config.primary(change.view()) == ReplicaId(self.id)
            {
                changes.push((change.view(), change.signer(), change.digest()));
            }
        }
        changes.sort_unstable();
        for a in &changes {
            for b in changes.iter().filter(|b| (a.0, a.1) < (b.0, b.1) && a.0 == b.0) {
                for c in changes.iter().filter(|c| b.1 < c.1 && b.0 == c.0) {
                    let names = [a, b, c].map(|change| (change.1, change.2)).to_vec();
                    let content = NewViewContent::new(ReplicaId(self.id), PillarId(0), a.0, names);
                    let declared = book.declared(ReplicaId(self.id), Declaration::NewView(content));
                    let (kind, bytes) = declared.frame();
                    pool.insert(book.number(ReplicaId(self.id), None, kind, bytes));
                }
            }
        }
    }
}
