//! After a run everybody comes to the same place, and is silent there.

use std::collections::BTreeSet;

use hypostyle_app_api::{Digest, Position};

use super::queue::Time;
use super::replica::SimReplica;
use super::run::{members, places};
use super::world::World;
use crate::checkers::{Check, Violation};

/// Within so many view timeouts everybody has executed what somebody has.
const QUIET: Time = 20;
/// A view has at most so many times the first view's timeout.
const LONGEST_VIEW: Time = 16;

/// Everybody comes to the same place. Where there is no adversary, who would keep others awake, they are silent there.
pub(super) fn converge(world: &mut World) -> Check {
    let quiet = QUIET * world.options.view_timeout;
    let begun = furthest(world);
    let since = run_on(world, world.now + quiet)?;
    come_to(world, begun)?;
    let goal = furthest(world);
    // Nobody asks for anything new: nothing excuses who is behind. But an adversary may have something ordered at any time,
    // just before this moment too: from then on there is as much time for it.
    if !world.options.byzantine.is_empty() {
        world.run_until(since + quiet, |_| false)?;
    }
    come_to(world, goal)?;
    if world.options.byzantine.is_empty() {
        rest(world, quiet)?;
    }
    Ok(())
}

/// Goes on until this time; since when nobody has executed anything that was new to all.
fn run_on(world: &mut World, end: Time) -> Result<Time, Violation> {
    let mut since = world.now;
    loop {
        let before = furthest(world);
        world.run_until(end, |world| furthest(world) != before)?;
        if furthest(world) == before {
            return Ok(since);
        }
        since = world.now;
    }
}

/// Everybody has come as far as `goal`.
fn come_to(world: &mut World, goal: Position) -> Check {
    let members = world.replicas.iter_mut().filter(|r| counts(r)).filter_map(|r| r.member.as_mut());
    let states: Vec<_> = members.map(|member| member.state()).collect();
    match have_come_to(goal, &states) {
        true => Ok(()),
        false => Err(Violation { invariant: "convergence", what: places(world) }),
    }
}

/// Whether all are at this position or above, and those at one position in one state.
fn have_come_to(goal: Position, states: &[(Position, Digest)]) -> bool {
    let differ = |one: &(Position, Digest), other: &(Position, Digest)| one.0 == other.0 && one.1 != other.1;
    states.iter().all(|one| one.0 >= goal && !states.iter().any(|other| differ(one, other)))
}

/// What is owed is done, and then nobody says anything.
fn rest(world: &mut World, quiet: Time) -> Check {
    if waits(world) {
        // Clients have what they wanted, but slots above that may be owed yet. Their primary has the time of a view, and so
        // has each that comes next and has crashed; clocks may go at little more than half the speed.
        let views = 1 + Time::try_from(world.options.f()).expect("few replicas");
        let end = world.now + 2 * LONGEST_VIEW * views * world.options.view_timeout;
        world.run_until(end, |world| !waits(world))?;
        world.run_until(world.now + quiet, |_| false)?;
    }
    // Who has left a view alone goes on asking: fewer than f+1 move nobody.
    let views: BTreeSet<_> =
        members(world).flat_map(|member| member.progress().map(|p| (p.pillar, p.view))).collect();
    if views.len() == usize::from(world.options.pillars) {
        world.checkers.traffic.idles();
        world.run_until(world.now + quiet, |_| false)?;
        world.checkers.traffic.idled()?;
    }
    Ok(())
}

/// Whether a pillar waits for a slot that it owes, or for its view to begin.
fn waits(world: &World) -> bool {
    members(world).flat_map(|member| member.progress()).any(|progress| !progress.active || progress.owed > 0)
}

/// The highest position to which one of them has executed.
fn furthest(world: &World) -> Position {
    let members = world.replicas.iter().filter(|replica| counts(replica)).filter_map(|r| r.member.as_deref());
    members.map(|member| member.executor().position()).max().unwrap_or(Position(0))
}

/// Whether it is correct, and its state not wrong without its knowing. Who has found that out must have another.
fn counts(replica: &SimReplica) -> bool {
    let executor = replica.member.as_ref().map(|member| member.executor());
    let is_unaware =
        executor.is_some_and(|executor| executor.application().is_rotten() && !executor.diverged());
    replica.is_honest() && !is_unaware
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Digest = Digest([1; 32]);
    const OTHER: Digest = Digest([2; 32]);

    fn states(states: &[(u64, Digest)]) -> Vec<(Position, Digest)> {
        states.iter().map(|(position, digest)| (Position(*position), *digest)).collect()
    }

    #[test]
    fn who_is_behind_the_goal_has_not_come_to_it() {
        assert!(have_come_to(Position(40), &states(&[(40, ONE), (40, ONE)])));
        assert!(have_come_to(Position(40), &states(&[(40, ONE), (44, OTHER)])));
        assert!(!have_come_to(Position(44), &states(&[(40, ONE), (44, OTHER)])));
    }

    #[test]
    fn states_at_one_position_are_equal() {
        assert!(!have_come_to(Position(40), &states(&[(40, ONE), (40, OTHER)])));
        assert!(!have_come_to(Position(40), &states(&[(44, ONE), (40, ONE), (44, OTHER)])));
    }
}
