//! All states of a cluster, breadth first.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use hypostyle_app_api::{Digest, ReplicaId, Seq, View};
use hypostyle_pillars::Config;
use hypostyle_pillars::message::{Kind, Message, Statement};

use super::byzantine::Byzantine;
use super::fair;
use super::keys::{Keys, config};
use super::lab::{Action, Lab, Move};
use super::mail::{Book, Letter};
use super::seat::Seat;
use super::set::Set;

/// What may happen, and what must hold at the ends.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Replicas may time out in this many views, from view 0 on.
    pub views: u64,
    /// Who stops for good, and when.
    pub stops: Option<Stops>,
    /// Who is Byzantine, and what it has to say.
    pub byzantine: Option<Byzantine>,
    /// Whether what a replica says is signed at once, or at any time later.
    pub seals_at_once: bool,
    /// Whether a body may come before its proposal or after it; else it comes with it.
    pub bodies_apart: bool,
    /// What must hold where nothing can happen any more.
    pub ends: Ends,
    /// Most states that are looked at; the first ones, if there are more.
    pub limit: usize,
}

/// A replica that stops for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stops {
    /// At any point.
    Anywhere(u16),
    /// Where it would leave view 0. What it has sent by then is lost or not, as for everybody.
    InView0(u16),
}

/// What must hold where nothing can happen any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Nothing.
    Anyhow,
    /// Everybody has decided.
    Decided,
    /// Once timers run and replicas tell each other where they stand, everybody decides.
    DecideInTime,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Explored {
    /// States of the cluster.
    pub states: usize,
    /// States of single replicas.
    pub local: usize,
    /// Messages.
    pub messages: usize,
    /// States in which nothing can happen any more.
    pub ends: usize,
    /// Whether these are all.
    pub complete: bool,
}

/// What must not happen, and a shortest way to it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What.
    pub what: String,
    /// What happens, in order.
    pub schedule: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        self.schedule.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// A state of the cluster: each replica's, and what is under way.
type Global = (Box<[u32]>, Set);

/// How a state came about: from which one, by whom, and what happened to him.
type Way = (usize, u16, Vec<Action>);

struct Search<'a> {
    scenario: &'a Scenario,
    lab: Lab,
    states: Vec<(Global, Option<Way>)>,
    numbers: HashMap<Global, usize>,
    ends: usize,
}

/// Looks at every state that a cluster of four can come to with one request of a client.
///
/// # Errors
/// The first violation, with its schedule.
pub fn explore(scenario: &Scenario) -> Result<Explored, Box<Violation>> {
    let mut search = Search::new(scenario);
    let mut at = 0;
    while at < search.states.len().min(scenario.limit) {
        search.expand(at)?;
        at += 1;
    }
    Ok(Explored {
        states: at,
        local: search.lab.len(),
        messages: search.lab.book.len(),
        ends: search.ends,
        complete: at == search.states.len(),
    })
}

impl<'a> Search<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let config = config(4);
        let mut book = Book::new(Keys::new(config.replicas), config.clone());
        let request = book.keys.request(1);
        let mut pool = Set::default();
        let mut seats = Vec::new();
        for id in (0..config.replicas).map(ReplicaId) {
            let mut seat = Seat::new(Config { me: id, ..config.clone() }, scenario.seals_at_once);
            let byzantine = scenario.byzantine.as_ref().filter(|byzantine| byzantine.id == id.0);
            match byzantine {
                Some(byzantine) => byzantine.speak(&mut book, &mut pool, seat.now.wall),
                None => seat.ask(&mut book, request.clone()),
            }
            std::mem::take(&mut seat.outbox).into_iter().for_each(|number| pool.insert(number));
            seats.push((seat, byzantine.is_none()));
        }
        let mut lab = Lab::new(book, scenario.views, scenario.bodies_apart);
        let nodes = seats.into_iter().map(|(seat, correct)| lab.number(seat, correct)).collect();
        let mut search = Self { scenario, lab, states: Vec::new(), numbers: HashMap::new(), ends: 0 };
        search.note((nodes, pool), None);
        search
    }

    /// Takes up a state, if it is a new one.
    fn note(&mut self, (nodes, mut pool): Global, way: Option<Way>) -> bool {
        if let Some(byzantine) = &self.scenario.byzantine {
            byzantine.react(&mut self.lab.book, &mut pool);
        }
        let pool = self.without_dead_letters(&nodes, &pool);
        let number = self.states.len();
        match self.numbers.entry((nodes, pool)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                self.states.push((place.key().clone(), way));
                place.insert(number);
                true
            }
        }
    }

    /// What somebody can still have a use for: views only grow.
    fn without_dead_letters(&self, nodes: &[u32], pool: &Set) -> Set {
        let alive: Vec<_> =
            nodes.iter().filter(|node| self.lab.is_alive(**node)).map(|node| self.lab.seat(*node)).collect();
        let reached = |view: View| alive.iter().all(|seat| seat.pillar.view() >= view);
        let began = |view: View| {
            let progress = alive.iter().map(|seat| seat.pillar.progress());
            progress.into_iter().all(|p| p.view > view || (p.view == view && p.active))
        };
        pool.filter(|number| {
            let mail = self.lab.book.mail(number);
            if mail.to.is_some_and(|to| !alive.iter().any(|seat| seat.me() == to)) {
                return false;
            }
            match &mail.letter {
                Letter::Message(message) => match &**message {
                    Message::Bundle(bundle) => bundle.statements().iter().any(|statement| {
                        statement.kind == Kind::Commit || !reached(View(statement.view.0 + 1))
                    }),
                    Message::ViewChange(change) => !began(change.view()),
                    Message::NewView(new_view) => !began(new_view.view()),
                    Message::Request(_) | Message::Body(_) | Message::Recover(_) => true,
                },
                Letter::Status(_) => false,
            }
        })
    }

    fn expand(&mut self, at: usize) -> Result<(), Box<Violation>> {
        let (nodes, pool) = self.states[at].0.clone();
        let mut is_end = true;
        for (node, index) in nodes.iter().zip(0u16..) {
            if !self.lab.is_alive(*node) {
                continue;
            }
            let mut moves = self.lab.moves(*node, &pool).to_vec();
            match self.scenario.stops {
                Some(Stops::Anywhere(id)) if id == index => {
                    moves.push(Move { to: self.lab.dead(*node), sends: Vec::new(), path: vec![Action::Die] });
                }
                Some(Stops::InView0(id)) if id == index => {
                    moves.retain(|one| self.lab.seat(one.to).pillar.view() == View(0));
                }
                _ => {}
            }
            for Move { to, sends, path } in moves {
                is_end &= path == [Action::Die];
                let (mut nodes, mut all) = (nodes.clone(), pool.clone());
                nodes[usize::from(index)] = to;
                sends.iter().for_each(|number| all.insert(*number));
                let wrong = self.contradiction(&pool, &sends).or_else(|| self.unfounded(&all, &sends));
                let wrong = wrong.or_else(|| self.forgotten(&all));
                if self.note((nodes, all), Some((at, index, path))) {
                    let new = self.states.len() - 1;
                    if let Some(what) = wrong.or_else(|| self.wrong(new)).or_else(|| self.disagreement(new)) {
                        return Err(self.violation(new, what));
                    }
                }
            }
        }
        if is_end {
            self.ends += 1;
            self.check_end(at)?;
        }
        Ok(())
    }

    /// Correct replicas, dead ones included.
    fn correct(&self, at: usize) -> impl Iterator<Item = &Seat> {
        let seats = self.states[at].0.0.iter().map(|node| self.lab.seat(*node));
        seats.filter(|seat| self.is_correct(seat.me()))
    }

    fn is_correct(&self, id: ReplicaId) -> bool {
        self.scenario.byzantine.as_ref().is_none_or(|byzantine| ReplicaId(byzantine.id) != id)
    }

    fn wrong(&self, at: usize) -> Option<String> {
        self.correct(at).find_map(|seat| seat.wrong.clone())
    }

    fn disagreement(&self, at: usize) -> Option<String> {
        let mut agreed: HashMap<Seq, (Digest, ReplicaId)> = HashMap::new();
        for seat in self.correct(at) {
            for (seq, (digest, _)) in &seat.decided {
                let (other, by) = *agreed.entry(*seq).or_insert((*digest, seat.me()));
                if other != *digest {
                    return Some(format!("slot {seq}: {by} decides {other:?}, {} {digest:?}", seat.me()));
                }
            }
        }
        None
    }

    fn statements<'b>(
        &'b self,
        numbers: impl Iterator<Item = u32> + 'b,
    ) -> impl Iterator<Item = (ReplicaId, Statement)> + 'b {
        let of = |number| Some((self.lab.book.mail(number).from, *self.lab.book.statement(number)?));
        numbers.filter_map(of).filter(|(by, _)| self.is_correct(*by))
    }

    /// No correct replica says two things about one slot.
    fn contradiction(&self, pool: &Set, sends: &[u32]) -> Option<String> {
        let about = |s: &Statement| (s.kind, s.view, s.seq);
        let before: Vec<_> = self.statements(pool.iter()).collect();
        let contradicted = |(by, said): &(ReplicaId, Statement)| {
            before.iter().any(|(other, old)| other == by && about(old) == about(said) && old != said)
        };
        let (by, said) = self.statements(sends.iter().copied()).find(contradicted)?;
        Some(format!("{by} says {said:?} and something else"))
    }

    /// Who says Commit has heard the primary propose and 2f others, or itself, prepare.
    fn unfounded(&self, pool: &Set, sends: &[u32]) -> Option<String> {
        let (config, others) = (&self.lab.book.config, usize::from(self.scenario.byzantine.is_some()));
        let said: Vec<_> = self.statements(pool.iter()).collect();
        let mut commits = self.statements(sends.iter().copied()).filter(|(_, s)| s.kind == Kind::Commit);
        let (by, commit) = commits.find(|(_, commit)| {
            let prepare = Statement { kind: Kind::Prepare, ..*commit };
            let prepares = said.iter().filter(|(_, other)| *other == prepare).count();
            prepares + others < config.quorum() - 1
        })?;
        Some(format!("{by} says {commit:?}, which is not prepared"))
    }

    /// What 2f+1 replicas may have committed, whoever knows of it, is what every later view proposes.
    fn forgotten(&self, pool: &Set) -> Option<String> {
        let said: Vec<_> = self.statements(pool.iter()).collect();
        let others = usize::from(self.scenario.byzantine.is_some());
        let of_kind = |kind| said.iter().filter(move |(_, statement)| statement.kind == kind);
        for (_, commit) in of_kind(Kind::Commit) {
            let same = of_kind(Kind::Commit).filter(|(_, other)| other == commit).count();
            let departs = |(_, s): &&(ReplicaId, Statement)| {
                s.kind != Kind::Commit
                    && s.seq == commit.seq
                    && s.view > commit.view
                    && s.digest != commit.digest
            };
            if same + others >= self.lab.book.config.quorum()
                && let Some((by, other)) = said.iter().find(departs)
            {
                return Some(format!("{by} says {other:?}, {commit:?} may be decided"));
            }
        }
        None
    }

    fn check_end(&mut self, at: usize) -> Result<(), Box<Violation>> {
        let (nodes, pool) = self.states[at].0.clone();
        let alive: Vec<Seat> = nodes
            .iter()
            .filter(|node| self.lab.is_alive(**node))
            .map(|node| self.lab.seat(*node).clone())
            .filter(|seat| self.scenario.stops != Some(Stops::InView0(seat.me().0)))
            .collect();
        let stuck = match self.scenario.ends {
            Ends::Anyhow => None,
            Ends::Decided => alive.iter().find(|seat| !seat.has_decided(1)).map(Seat::me),
            Ends::DecideInTime => {
                let speaks = |id| alive.iter().any(|seat| seat.me() == id);
                let way = pool.filter(|number| speaks(self.lab.book.mail(number).from));
                fair::run(&mut self.lab.book, alive, way.iter().collect())
            }
        };
        stuck.map_or(Ok(()), |id| Err(self.violation(at, format!("{id} never decides"))))
    }

    fn violation(&self, at: usize, what: String) -> Box<Violation> {
        let mut schedule = Vec::new();
        let mut here = at;
        while let Some((before, index, path)) = &self.states[here].1 {
            for action in path.iter().rev() {
                let what = match action {
                    Action::Deliver(number) => self.lab.book.describe(*number),
                    Action::Seal => "signs".to_owned(),
                    Action::TimeOut => "times out".to_owned(),
                    Action::Die => "dies".to_owned(),
                };
                schedule.push(format!("at {index}: {what}"));
            }
            here = *before;
        }
        schedule.reverse();
        Box::new(Violation { what, schedule })
    }
}
