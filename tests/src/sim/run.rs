//! A run from its seed to its end: first anything may go wrong, then nothing does and all that is outstanding must be
//! done within a bound.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hypostyle::simulation::Member;
use hypostyle_pillars::Progress;

use super::convergence::converge;
use super::options::Options;
use super::queue::{SECOND, Time};
use super::random::Random;
use super::replica::SimReplica;
use super::service::Service;
use super::world::World;
use crate::checkers::{Check, Violation};

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Events.
    pub steps: u64,
    /// Stands for all of them.
    pub trace: u64,
    /// Slots executed.
    pub slots: u64,
    /// Virtual time.
    pub time: Time,
    /// The bytes that a correct replica has held at most, and what it promises; 0 where nobody counted.
    pub memory: (u64, u64),
    /// The invariant that doesn't hold, if any.
    pub violation: Option<Violation>,
}

/// Fresh operations of each client once nothing goes wrong any more.
const FRESH: u64 = 20;
/// Virtual time in which everything outstanding must be done: some of a client's longest back-offs.
const LIVENESS: Time = 120 * SECOND;
/// Turns, frames and other events in which it must be done, whatever adversaries add: a run that has gone wrong ends.
const LIVENESS_EVENTS: u64 = 16_000_000;

/// Runs what this seed draws.
#[must_use]
pub fn run(seed: u64, prints: bool) -> Outcome {
    let mut random = Random::new(seed);
    let options = Options::draw(&mut random);
    run_with(seed, options, random, prints)
}

/// Runs these options with the chance of a seed.
#[must_use]
pub fn run_with(seed: u64, options: Options, random: Random, prints: bool) -> Outcome {
    if prints {
        eprintln!("{options:#?}");
    }
    finish(seed, &mut World::new(options, random, prints), phases)
}

/// Runs all phases of a world.
pub(super) fn finish(seed: u64, world: &mut World, phases: impl Fn(&mut World) -> Check) -> Outcome {
    let result = catch_unwind(AssertUnwindSafe(|| phases(world)));
    let violation = match result {
        Ok(check) => check.err(),
        Err(panic) => Some(Violation {
            invariant: "no panic",
            what: super::panics::last().unwrap_or_else(|| text_of(&*panic)),
        }),
    };
    Outcome {
        seed,
        steps: world.trace.steps(),
        trace: world.trace.hash(),
        slots: world.checkers.slots(),
        time: world.now,
        memory: world.checkers.memory(),
        violation,
    }
}

/// Until when all must be done.
#[derive(Clone, Copy)]
struct Bound {
    time: Time,
    events: u64,
}

impl Bound {
    fn is_used_up(self, world: &World) -> bool {
        world.events >= self.events
    }
}

fn phases(world: &mut World) -> Check {
    let end = world.options.safety;
    let at_peace = world.options.is_fault_free();
    world.run_until(end, |world| at_peace && world.clients_are_done())?;
    world.calm();
    world.unleash(world.now);
    world.trace.tell(world.now, format_args!("--- from here on nothing goes wrong ---"));
    let bound = Bound { time: world.now + LIVENESS, events: world.events + LIVENESS_EVENTS };
    if world.options.faults.restarts && world.random.chance(500) {
        recover_at_rest(world, bound)?;
    }
    for client in 0..world.clients.len() {
        world.clients[client].wants += FRESH;
        world.client_acts(client)?;
    }
    let is_done = |world: &World| world.clients_are_done() && has_recovered(world);
    world.run_until(bound.time, |world| bound.is_used_up(world) || is_done(world))?;
    all_done(world)?;
    recovered(world)?;
    world.hostile.silence();
    converge(world)?;
    if at_peace {
        no_view_change(world)?;
    }
    if at_peace && world.options.hostile.is_empty() {
        world.checkers.traffic.check(world.checkers.slots(), u64::from(world.options.replicas))?;
    }
    Ok(())
}

/// Every client has all it wanted.
pub(super) fn all_done(world: &mut World) -> Check {
    let Some(client) = world.clients.iter().find(|client| !client.is_done()) else { return Ok(()) };
    let what = format!("client {}: {} operations open", client.id, client.core.in_flight());
    Err(Violation { invariant: "liveness", what: format!("{what}; {}", places(world)) })
}

/// Who has restarted recovers though nobody asks for anything new. Then another may fail: it is needed.
fn recover_at_rest(world: &mut World, bound: Bound) -> Check {
    world.run_until(bound.time, |world| bound.is_used_up(world) || has_recovered(world))?;
    recovered(world)?;
    if world.random.chance(500) {
        world.crash();
    }
    Ok(())
}

fn has_recovered(world: &World) -> bool {
    let waits = |replica: &SimReplica| replica.starts_again || replica.is_recovering() && replica.is_honest();
    !world.replicas.iter().any(waits)
}

fn recovered(world: &mut World) -> Check {
    if has_recovered(world) {
        return Ok(());
    }
    Err(Violation { invariant: "recovery", what: places(world) })
}

/// View changes of a pillar that clients with bad tags can bring about in a period, in multiples of the view timeout.
const BAD_TAGS: (u64, Time) = (3, 128);

/// Where nothing goes wrong, nobody is blamed, but for what `protocol.md` grants to bad tags.
fn no_view_change(world: &mut World) -> Check {
    let options = &world.options;
    let most = match options.tags && !options.hostile.is_empty() {
        true => BAD_TAGS.0 * (1 + world.now / (BAD_TAGS.1 * options.view_timeout)),
        false => 0,
    };
    // Who leaves alone, where clients may be the cause, changes no view.
    let needless = |progress: Progress| progress.view.0 > most && (progress.active || most == 0);
    if members(world).any(|member| member.progress().any(needless)) {
        return Err(Violation { invariant: "no needless view change", what: places(world) });
    }
    Ok(())
}

pub(super) fn members(world: &World) -> impl Iterator<Item = &Member<Service>> {
    world
        .replicas
        .iter()
        .filter(|replica| replica.is_honest())
        .filter_map(|replica| replica.member.as_deref())
}

pub(super) fn places(world: &World) -> String {
    let place = |index: usize| match &world.replicas[index].member {
        None => format!("r{index} down"),
        Some(member) => {
            let pillars: Vec<_> = member.progress().map(|p| (p.view.0, p.decided.0, p.owed)).collect();
            let (position, stable) = (member.executor().position(), member.stable().0);
            let recovers = if member.is_recovering() { ", recovering" } else { "" };
            format!("r{index} at {position}{recovers}, stable {stable}, (view, frontier, owed) {pillars:?}")
        }
    };
    (0..world.n()).map(place).collect::<Vec<_>>().join("; ")
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
