//! What each replica can do next, worked out once for each of its states.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use hypostyle_app_api::ReplicaId;

use super::mail::Book;
use super::seat::Seat;
use super::set::Set;

/// What may happen to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A message arrives, for the first time or once more.
    Deliver(u32),
    /// What it said next is signed.
    Seal,
    /// It has waited long enough for its primary.
    TimeOut,
    /// It stops for good.
    Die,
}

/// A state of one replica, under a number.
struct Node {
    seat: Seat,
    alive: bool,
    next: HashMap<Action, Step>,
    /// Messages that change nothing here.
    deaf: Set,
}

/// Where an action takes a replica, and what it sends on the way.
type Step = (u32, Rc<[u32]>);

/// Something that others can see: where it takes a replica, what is new under way, and by what it came about.
#[derive(Clone, Debug)]
pub(super) struct Move {
    pub(super) to: u32,
    pub(super) sends: Vec<u32>,
    pub(super) path: Vec<Action>,
}

/// All replicas' states that were seen.
pub(super) struct Lab {
    pub(super) book: Book,
    nodes: Vec<Node>,
    numbers: HashMap<u128, u32>,
    /// In earlier views than this one replicas may time out.
    views: u64,
    /// Whether a body may come before or after its proposal; else it comes with it.
    bodies_apart: bool,
    moves: HashMap<(u32, Set), Rc<Vec<Move>>>,
}

impl Lab {
    pub(super) fn new(book: Book, views: u64, bodies_apart: bool) -> Self {
        Self { book, nodes: Vec::new(), numbers: HashMap::new(), views, bodies_apart, moves: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn seat(&self, node: u32) -> &Seat {
        &self.nodes[node as usize].seat
    }

    pub(super) fn is_alive(&self, node: u32) -> bool {
        self.nodes[node as usize].alive
    }

    /// The number of a replica's state. Of one that is dead only what it decided counts.
    pub(super) fn number(&mut self, seat: Seat, alive: bool) -> u32 {
        let print = if alive { seat.fingerprint() } else { seat.epitaph() };
        if let Some(number) = self.numbers.get(&print) {
            return *number;
        }
        let number = u32::try_from(self.nodes.len()).expect("memory ends before");
        self.nodes.push(Node { seat, alive, next: HashMap::new(), deaf: Set::default() });
        self.numbers.insert(print, number);
        number
    }

    /// Where an action takes a replica; `None` if it can't happen or changes nothing.
    fn next(&mut self, from: u32, action: Action) -> Option<Step> {
        let Node { seat, next, deaf, .. } = &mut self.nodes[from as usize];
        if let Some(step) = next.get(&action) {
            return Some(step.clone());
        }
        if let Action::Deliver(number) = action {
            if deaf.contains(number) {
                return None;
            }
            if !seat.admits(&self.book, number) {
                deaf.insert(number);
                return None;
            }
        }
        let mut seat = seat.clone();
        match action {
            Action::Deliver(number) => {
                let body = self.book.body_of(number).filter(|_| !self.bodies_apart);
                if let Some(body) = body.filter(|body| seat.admits(&self.book, *body)) {
                    seat.deliver(&mut self.book, body);
                }
                seat.deliver(&mut self.book, number);
            }
            Action::Seal => drop(seat.seal(&mut self.book)),
            Action::TimeOut if seat.time_out(&mut self.book) => {}
            Action::TimeOut => return None,
            Action::Die => {}
        }
        let sends: Rc<[u32]> = std::mem::take(&mut seat.outbox).into();
        let to = self.number(seat, action != Action::Die);
        let Node { next, deaf, .. } = &mut self.nodes[from as usize];
        if to == from && sends.is_empty() {
            if let Action::Deliver(number) = action {
                deaf.insert(number);
            }
            return None;
        }
        next.insert(action, (to, Rc::clone(&sends)));
        Some((to, sends))
    }

    /// Everything a replica can do next that others can see, with any of the messages of `pool`.
    ///
    /// What others can't see waits until it matters. It can: nobody else notices, and messages stay under way. So only
    /// those silent deliveries are looked at without which the visible one that follows would be another.
    pub(super) fn moves(&mut self, from: u32, pool: &Set) -> Rc<Vec<Move>> {
        let me = self.seat(from).me();
        let about_me = pool.filter(|number| {
            let mail = self.book.mail(number);
            mail.from == me || mail.to.is_none_or(|to| to == me)
        });
        let key = (from, about_me);
        if let Some(moves) = self.moves.get(&key) {
            return Rc::clone(moves);
        }
        let moves = Rc::new(self.work_out(from, me, &key.1));
        self.moves.insert(key, Rc::clone(&moves));
        moves
    }

    fn work_out(&mut self, from: u32, me: ReplicaId, pool: &Set) -> Vec<Move> {
        let mail: Vec<Action> =
            pool.iter().filter(|number| self.book.mail(*number).from != me).map(Action::Deliver).collect();
        let mut seen = HashSet::from([from]);
        let mut level = vec![(from, Vec::new())];
        let mut found: HashMap<(u32, Vec<u32>), (usize, Vec<Action>)> = HashMap::new();
        let mut order = Vec::new();
        let mut depth = 0;
        while !level.is_empty() {
            let mut deeper = Vec::new();
            for (at, path) in level {
                let fetches = self.bodies_apart || !self.seat(at).pillar.progress().active;
                for action in mail.iter().copied().chain(self.own_actions(at)) {
                    if matches!(action, Action::Deliver(number) if !fetches && self.book.is_body(number)) {
                        continue;
                    }
                    let Some((to, sends)) = self.next(at, action) else { continue };
                    let sends = new(&sends, pool);
                    let path = || [&path[..], &[action]].concat();
                    if sends.is_empty() && !self.shows(from, to) {
                        if seen.insert(to) {
                            deeper.push((to, path()));
                        }
                    } else if let Entry::Vacant(place) = found.entry((to, sends)) {
                        order.push(place.key().clone());
                        place.insert((depth, path()));
                    }
                }
            }
            level = deeper;
            depth += 1;
        }
        // One that an earlier one leads to adds nothing: from there it is reached with the same messages.
        let mut covered = HashSet::new();
        for early in &order {
            for action in &mail {
                let Some((to, sends)) = self.next(early.0, *action) else { continue };
                let mut sends = [&early.1[..], &new(&sends, pool)].concat();
                sends.sort_unstable();
                sends.dedup();
                let later = (to, sends);
                if found.get(&later).is_some_and(|later| later.0 > found[early].0) {
                    covered.insert(later);
                }
            }
        }
        let kept = order.into_iter().filter(|key| !covered.contains(key));
        let to_move = |key: (u32, Vec<u32>)| {
            let path = found.remove(&key).expect("found").1;
            Move { to: key.0, sends: key.1, path }
        };
        kept.map(to_move).collect()
    }

    /// Whether others can see the difference even though nothing was sent: a decision.
    fn shows(&self, from: u32, to: u32) -> bool {
        let (from, to) = (self.seat(from), self.seat(to));
        from.decided != to.decided || to.wrong.is_some()
    }

    fn own_actions(&self, at: u32) -> impl Iterator<Item = Action> + use<> {
        let seat = self.seat(at);
        let seals = seat.has_unsealed().then_some(Action::Seal);
        let waits = (seat.pillar.view().0 < self.views).then_some(Action::TimeOut);
        seals.into_iter().chain(waits)
    }

    /// The state in which a replica has stopped.
    pub(super) fn dead(&mut self, from: u32) -> u32 {
        self.next(from, Action::Die).expect("anybody can die").0
    }
}

/// What of `sends` is not under way yet.
fn new(sends: &[u32], pool: &Set) -> Vec<u32> {
    let mut new: Vec<u32> = sends.iter().copied().filter(|number| !pool.contains(*number)).collect();
    new.sort_unstable();
    new.dedup();
    new
}
