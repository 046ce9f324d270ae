//! All orders of delivery of a small case: one client's request, four replicas, one pillar, one slot, and the real cores.
//!
//! A state of the cluster is the state of each replica and what is under way. A message that was sent stays under way for
//! good: it arrives at any time, twice, or never. So loss, duplicates and every order are covered by delivering, and a crash
//! by not delivering any more. States are told apart by [`Pillar::outline`](hypostyle_pillars::Pillar::outline).
//!
//! What keeps the number of states small, and why it hides nothing:
//! - Each step of a replica depends on its own state and one message only, so it is worked out once.
//! - What others can't see (a vote that completes nothing) waits until something that they can see follows from it. It may,
//!   because what is under way stays there; and states in between differ for nobody else.
//! - A view's Proposes and Prepares, VIEW-CHANGEs and NEW-VIEW are forgotten when nobody is left whom they could still move.
//! - Clocks stand still within a view; a timeout happens whenever the search likes.
//!
//! In every state: no two decisions differ; certificates are those of 2f+1; nobody contradicts itself or speaks in a view it
//! has left; who says Commit has a prepared certificate; what may be committed is what every later view proposes. Where
//! nothing can happen any more everybody has decided, or does so once timers run and replicas tell each other what they lack.

mod byzantine;
mod fair;
mod keys;
mod lab;
mod mail;
mod search;
mod seat;
mod set;

pub use byzantine::Byzantine;
pub use search::{Ends, Explored, Scenario, Stops, Violation, explore};
