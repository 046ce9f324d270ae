//! What must come of any state once nothing is lost any more and clocks go on.

use hypostyle_app_api::ReplicaId;

use super::mail::Book;
use super::seat::Seat;

/// Deadlines until everybody must have decided.
const DEADLINES_MAX: usize = 100;

/// Delivers everything that is on its `way` and that these replicas send from now on, and lets time pass; the client asks again.
/// Returns who hasn't decided its request in the end.
pub(super) fn run(book: &mut Book, mut seats: Vec<Seat>, mut way: Vec<u32>) -> Option<ReplicaId> {
    let at = seats.iter().map(|seat| seat.now.instant).max()?;
    let request = book.keys.request(1);
    for seat in &mut seats {
        seat.talks = true;
        seat.seals_at_once = true;
        seat.pass_to(book, at);
    }
    for _ in 0..DEADLINES_MAX {
        loop {
            way.extend(seats.iter_mut().flat_map(|seat| std::mem::take(&mut seat.outbox)));
            if way.is_empty() {
                break;
            }
            for number in std::mem::take(&mut way) {
                for seat in &mut seats {
                    if seat.admits(book, number) {
                        seat.deliver(book, number);
                    }
                }
            }
        }
        if seats.iter().all(|seat| seat.has_decided(1)) {
            return None;
        }
        match seats.iter().filter_map(|seat| seat.pillar.next_deadline()).min() {
            Some(at) => seats.iter_mut().for_each(|seat| seat.pass_to(book, at)),
            None => seats.iter_mut().for_each(|seat| seat.ask(book, request.clone())),
        }
    }
    seats.iter().find(|seat| !seat.has_decided(1)).map(Seat::me)
}
