//! What each replica can do next, worked out once for each of its states.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
pub(super) struct Node {
    pub(super) seat: Seat,
    pub(super) alive: bool,
    next: HashMap<Action, u32>,
    /// Messages that change nothing here.
    deaf: Set,
}

/// Where something that others can see takes a replica, and by what.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) to: u32,
    pub(super) path: Vec<Action>,
}

pub(super) struct Lab {
    pub(super) book: Book,
    pub(super) nodes: Vec<Node>,
    numbers: HashMap<u128, u32>,
    /// In earlier views than this one replicas may time out.
    views: u64,
    moves: HashMap<(u32, Set), Rc<Vec<Move>>>,
}

impl Lab {
    pub(super) fn new(book: Book, views: u64) -> Self {
        Self { book, nodes: Vec::new(), numbers: HashMap::new(), views, moves: HashMap::new() }
    }

    /// The number of a replica's state.
    pub(super) fn number(&mut self, mut seat: Seat, alive: bool) -> u32 {
        seat.outbox.clear();
        let print = seat.fingerprint() ^ u128::from(!alive);
        if let Some(number) = self.numbers.get(&print) {
            return *number;
        }
        let number = u32::try_from(self.nodes.len()).expect("memory ends before");
        self.nodes.push(Node { seat, alive, next: HashMap::new(), deaf: Set::default() });
        self.numbers.insert(print, number);
        number
    }

    pub(super) fn seat(&self, node: u32) -> &Seat {
        &self.nodes[node as usize].seat
    }

    /// Where an action takes a replica; `None` if it can't happen or changes nothing.
    fn next(&mut self, from: u32, action: Action) -> Option<u32> {
        let Node { seat, next, deaf, .. } = &mut self.nodes[from as usize];
        if let Action::Deliver(number) = action {
            if deaf.contains(number) {
                return None;
            }
            if !next.contains_key(&action) && !seat.admits(&self.book, number) {
                deaf.insert(number);
                return None;
            }
        }
        if let Some(to) = next.get(&action) {
            return Some(*to);
        }
        let mut seat = seat.clone();
        match action {
            Action::Deliver(number) => seat.deliver(&mut self.book, number),
            Action::Seal => drop(seat.seal(&mut self.book)),
            Action::TimeOut if seat.time_out(&mut self.book) => {}
            Action::TimeOut => return None,
            Action::Die => {}
        }
        let to = self.number(seat, action != Action::Die);
        let Node { next, deaf, .. } = &mut self.nodes[from as usize];
        match action {
            Action::Deliver(number) if to == from => {
                deaf.insert(number);
                return None;
            }
            _ => drop(next.insert(action, to)),
        }
        Some(to)
    }

    fn looks_alike(&self, a: u32, b: u32) -> bool {
        let (a, b) = (self.seat(a), self.seat(b));
        a.sent == b.sent && a.decided == b.decided && b.wrong.is_none()
    }

    /// Everything a replica can do next that others can see, with any of the messages of `pool`.
    ///
    /// What others can't see waits until it matters. It can: nobody else notices, and messages stay under way. So only
    /// those silent deliveries are looked at without which the visible one that follows would be another.
    pub(super) fn moves(&mut self, from: u32, pool: &Set) -> Rc<Vec<Move>> {
        let me = self.seat(from).me();
        let mine = self.addressed(me, pool);
        let key = (from, mine);
        if let Some(moves) = self.moves.get(&key) {
            return Rc::clone(moves);
        }
        let moves = Rc::new(self.work_out(from, &key.1));
        self.moves.insert(key, Rc::clone(&moves));
        moves
    }

    fn addressed(&self, me: ReplicaId, pool: &Set) -> Set {
        let mut mine = Set::default();
        for number in pool.iter() {
            let mail = self.book.mail(number);
            if mail.from != me && mail.to.is_none_or(|to| to == me) {
                mine.insert(number);
            }
        }
        mine
    }

    fn work_out(&mut self, from: u32, pool: &Set) -> Vec<Move> {
        let mut seen = std::collections::HashSet::from([from]);
        let mut level = vec![(from, Vec::new())];
        let mut found: HashMap<u32, (usize, Vec<Action>)> = HashMap::new();
        let mut order = Vec::new();
        let mut depth = 0;
        while !level.is_empty() {
            let mut deeper = Vec::new();
            for (at, path) in level {
                for action in self.actions(at, pool) {
                    let Some(to) = self.next(at, action) else { continue };
                    let path = || [&path[..], &[action]].concat();
                    if self.looks_alike(from, to) {
                        if seen.insert(to) {
                            deeper.push((to, path()));
                        }
                    } else if let Entry::Vacant(place) = found.entry(to) {
                        place.insert((depth, path()));
                        order.push(to);
                    }
                }
            }
            level = deeper;
            depth += 1;
        }
        // One that an earlier one leads to adds nothing: from there it is reached with the same messages.
        let mut covered = std::collections::HashSet::new();
        for early in &order {
            for number in pool.iter() {
                let Some(to) = self.next(*early, Action::Deliver(number)) else { continue };
                if found.get(&to).is_some_and(|(later, _)| *later > found[early].0) {
                    covered.insert(to);
                }
            }
        }
        let kept = order.into_iter().filter(|to| !covered.contains(to));
        kept.map(|to| Move { to, path: found.remove(&to).expect("found").1 }).collect()
    }

    fn actions(&self, at: u32, pool: &Set) -> Vec<Action> {
        let seat = self.seat(at);
        let mut actions: Vec<_> = pool.iter().map(Action::Deliver).collect();
        if seat.has_unsealed() {
            actions.push(Action::Seal);
        }
        if seat.pillar.view().0 < self.views {
            actions.push(Action::TimeOut);
        }
        actions
    }

    /// By what a replica got from one state to another, as far as that was worked out.
    pub(super) fn path(&self, from: u32, to: u32) -> Vec<Action> {
        let moves = self.moves.iter().filter(|((at, _), _)| *at == from).flat_map(|(_, moves)| moves.iter());
        let path = moves.filter(|m| m.to == to).map(|m| m.path.clone()).min_by_key(Vec::len);
        path.unwrap_or_else(|| vec![Action::Die])
    }

    /// The state in which a replica has stopped: nothing counts any more but what it sent and decided.
    pub(super) fn dead(&mut self, from: u32) -> u32 {
        self.next(from, Action::Die).expect("anybody can die")
    }
}
