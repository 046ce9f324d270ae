//! All states of a cluster, breadth first.

use std::collections::HashMap;
use std::fmt;

use hypostyle_app_api::{Digest, ReplicaId, Seq, View};
use hypostyle_pillars::Config;
use hypostyle_pillars::message::Kind;

use super::byzantine::Byzantine;
use super::fair;
use super::keys::{Keys, config};
use super::lab::{Action, Lab};
use super::mail::Book;
use super::seat::Seat;
use super::set::Set;

/// What may happen, and what must hold at the ends.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Replicas may time out in this many views, from view 0 on.
    pub views: u64,
    /// Who stops for good at any point, at the latest where it would leave view 0.
    pub mortal: Option<u16>,
    /// Who is Byzantine, and what it has to say.
    pub byzantine: Option<Byzantine>,
    /// Whether what a replica says is signed at once, or at any time later.
    pub seals_at_once: bool,
    /// What must hold where nothing can happen any more.
    pub ends: Ends,
    /// Most states that are looked at; the first ones, if there are more.
    pub limit: usize,
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

type Global = Box<[u32]>;

struct Search<'a> {
    scenario: &'a Scenario,
    lab: Lab,
    states: Vec<(Global, Option<(usize, u16)>)>,
    numbers: HashMap<Global, usize>,
    explored: Explored,
}

/// Looks at every state that a cluster of `config` can come to.
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
        complete: at == search.states.len(),
        local: search.lab.nodes.len(),
        messages: search.lab.book.len(),
        ..search.explored
    })
}

impl<'a> Search<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let config = config(4);
        let mut book = Book::new(Keys::new(config.replicas), config.clone());
        let request = book.keys.request(1);
        let mut seats = Vec::new();
        for id in (0..config.replicas).map(ReplicaId) {
            let mut seat = Seat::new(Config { me: id, ..config.clone() }, scenario.seals_at_once);
            match &scenario.byzantine {
                Some(byzantine) if ReplicaId(byzantine.id) == id => {
                    seat.sent = byzantine.statics(&mut book, seat.now.wall);
                }
                _ => seat.ask(&mut book, request.clone()),
            }
            seats.push(seat);
        }
        let mut lab = Lab::new(book, scenario.views);
        let alive = |seat: &Seat| scenario.byzantine.as_ref().is_none_or(|b| ReplicaId(b.id) != seat.me());
        let mut number = |seat: Seat| {
            let alive = alive(&seat);
            lab.number(seat, alive)
        };
        let start: Global = seats.into_iter().map(&mut number).collect();
        let numbers = HashMap::from([(start.clone(), 0)]);
        Self { scenario, lab, states: vec![(start, None)], numbers, explored: Explored::default() }
    }

    fn pool(&mut self, global: &Global) -> Set {
        let mut pool = Set::default();
        global.iter().for_each(|node| pool.add(&self.lab.seat(*node).sent));
        if let Some(byzantine) = &self.scenario.byzantine {
            byzantine.react(&mut self.lab.book, &mut pool);
        }
        pool
    }

    fn expand(&mut self, at: usize) -> Result<(), Box<Violation>> {
        let global = self.states[at].0.clone();
        let pool = self.pool(&global);
        let mut is_end = true;
        for (index, node) in global.iter().enumerate() {
            if !self.lab.nodes[*node as usize].alive {
                continue;
            }
            let moves = self.lab.moves(*node, &pool);
            is_end &= moves.is_empty();
            let mut targets: Vec<u32> = moves.iter().map(|m| m.to).collect();
            if self.scenario.mortal.map(usize::from) == Some(index) {
                targets.retain(|to| self.lab.seat(*to).pillar.view() == View(0));
                targets.push(self.lab.dead(*node));
            }
            for to in targets {
                let mut next = global.clone();
                next[index] = to;
                if !self.numbers.contains_key(&next) {
                    self.numbers.insert(next.clone(), self.states.len());
                    self.states.push((next, Some((at, u16::try_from(index).expect("few")))));
                    self.check(self.states.len() - 1)?;
                }
            }
        }
        if is_end {
            self.explored.ends += 1;
            self.check_end(at)?;
        }
        Ok(())
    }

    /// The correct replicas, dead ones included.
    fn correct(&self, at: usize) -> impl Iterator<Item = &Seat> {
        let byzantine = self.scenario.byzantine.as_ref().map(|b| ReplicaId(b.id));
        let seats = self.states[at].0.iter().map(|node| self.lab.seat(*node));
        seats.filter(move |seat| Some(seat.me()) != byzantine)
    }

    fn check(&self, at: usize) -> Result<(), Box<Violation>> {
        let wrong = self.correct(at).find_map(|seat| seat.wrong.clone());
        match wrong.or_else(|| self.disagreement(at)).or_else(|| self.forgotten(at)) {
            Some(what) => Err(self.violation(at, what)),
            None => Ok(()),
        }
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

    /// What 2f+1 replicas may have committed, whoever knows of it, is what every later view proposes.
    fn forgotten(&self, at: usize) -> Option<String> {
        let mut commits: HashMap<(Seq, View, Digest), usize> = HashMap::new();
        for seat in self.correct(at) {
            for ((seq, view, kind), digest) in &seat.said {
                if *kind == Kind::Commit {
                    *commits.entry((*seq, *view, *digest)).or_default() += 1;
                }
            }
        }
        let others = usize::from(self.scenario.byzantine.is_some());
        let quorum = self.lab.book.config.quorum();
        commits.retain(|_, count| *count + others >= quorum);
        for seat in self.correct(at) {
            for ((seq, view, kind), digest) in &seat.said {
                for (committed, before, locked) in commits.keys() {
                    if seq == committed && view > before && digest != locked {
                        let me = seat.me();
                        return Some(format!(
                            "{me} says {kind:?} {digest:?} for {seq} in view {view}, {locked:?} is committed"
                        ));
                    }
                }
            }
        }
        None
    }

    fn check_end(&mut self, at: usize) -> Result<(), Box<Violation>> {
        let nodes: Vec<u32> = self.states[at].0.to_vec();
        let alive: Vec<Seat> = nodes
            .iter()
            .filter(|node| self.lab.nodes[**node as usize].alive)
            .map(|node| self.lab.seat(*node).clone())
            .collect();
        let stuck = match self.scenario.ends {
            Ends::Anyhow => None,
            Ends::Decided => alive.iter().find(|seat| !seat.has_decided(1)).map(Seat::me),
            Ends::DecideInTime => fair::run(&mut self.lab.book, alive),
        };
        match stuck {
            Some(id) => Err(self.violation(at, format!("{id} never decides"))),
            None => Ok(()),
        }
    }

    fn violation(&self, at: usize, what: String) -> Box<Violation> {
        let mut schedule = Vec::new();
        let mut here = at;
        while let Some((before, index)) = self.states[here].1 {
            let (from, to) =
                (self.states[before].0[usize::from(index)], self.states[here].0[usize::from(index)]);
            let path = self.lab.path(from, to);
            for action in path.into_iter().rev() {
                let what = match action {
                    Action::Deliver(number) => self.lab.book.describe(number),
                    Action::Seal => "signs".to_owned(),
                    Action::TimeOut => "times out".to_owned(),
                    Action::Die => "dies".to_owned(),
                };
                schedule.push(format!("at {index}: {what}"));
            }
            here = before;
        }
        schedule.reverse();
        Box::new(Violation { what, schedule })
    }
}
