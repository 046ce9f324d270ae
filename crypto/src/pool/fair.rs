use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Class;

/// Signatures and seals that may go before a client's chunk that waits: a flood of them slows clients down, but
/// can't stop them.
const URGENT_IN_A_ROW: usize = 16;

/// Work in numbered chunks, which may run at the same time.
pub(super) trait Work: Send + Sync {
    fn chunks(&self) -> usize;

    /// Whether the outcome is known, so that chunks not yet begun needn't run; one more is run all the same.
    fn is_settled(&self) -> bool;

    fn run(self: Arc<Self>, chunk: usize);
}

/// One chunk of some work.
pub(super) struct Task {
    work: Arc<dyn Work>,
    chunk: usize,
}

impl Task {
    pub(super) fn run(self) {
        self.work.run(self.chunk);
    }
}

/// Decides what runs next: own signatures and seals first, in turns; then clients. Within a class the sources take
/// turns, chunk by chunk, so that none waits for more than one chunk of each other source.
#[derive(Default)]
pub(super) struct FairQueue {
    signatures: VecDeque<Arc<dyn Work>>,
    seals: Lane,
    clients: Lane,
    signed_last: bool,
    urgent_in_a_row: usize,
}

impl FairQueue {
    pub(super) fn push(&mut self, source: u32, class: Class, work: Arc<dyn Work>) {
        match class {
            Class::Seal => self.seals.push(source, work),
            Class::Client => self.clients.push(source, work),
        }
    }

    pub(super) fn push_signature(&mut self, work: Arc<dyn Work>) {
        self.signatures.push_back(work);
    }

    pub(super) fn pop(&mut self) -> Option<Task> {
        if self.urgent_in_a_row < URGENT_IN_A_ROW
            && let Some(task) = self.pop_urgent()
        {
            self.urgent_in_a_row += 1;
            return Some(task);
        }
        self.urgent_in_a_row = 0;
        self.clients.pop().or_else(|| self.pop_urgent())
    }

    fn pop_urgent(&mut self) -> Option<Task> {
        let seal_first = self.signed_last;
        self.signed_last = false;
        if seal_first && let Some(task) = self.seals.pop() {
            return Some(task);
        }
        if let Some(work) = self.signatures.pop_front() {
            self.signed_last = true;
            return Some(Task { work, chunk: 0 });
        }
        self.seals.pop()
    }
}

#[derive(Default)]
struct Lane {
    /// No queue in it is empty.
    waiting: BTreeMap<u32, VecDeque<Waiting>>,
    /// The keys of `waiting`, whose turn it is first.
    turn: VecDeque<u32>,
}

struct Waiting {
    work: Arc<dyn Work>,
    next_chunk: usize,
}

impl Lane {
    fn push(&mut self, source: u32, work: Arc<dyn Work>) {
        let queue = self.waiting.entry(source).or_default();
        if queue.is_empty() {
            self.turn.push_back(source);
        }
        queue.push_back(Waiting { work, next_chunk: 0 });
    }

    fn pop(&mut self) -> Option<Task> {
        let source = self.turn.pop_front()?;
        let queue = self.waiting.get_mut(&source)?;
        let task = pop_chunk(queue);
        if queue.is_empty() {
            self.waiting.remove(&source);
        } else {
            self.turn.push_back(source);
        }
        task
    }
}

fn pop_chunk(queue: &mut VecDeque<Waiting>) -> Option<Task> {
    let first = queue.front_mut()?;
    let chunk = first.next_chunk;
    first.next_chunk += 1;
    if first.next_chunk < first.work.chunks() && !first.work.is_settled() {
        return Some(Task { work: Arc::clone(&first.work), chunk });
    }
    queue.pop_front().map(|last| Task { work: last.work, chunk })
}
