//! A run of a Twins scenario: three rounds in which the network decides who hears whom and which of the two copies, then
//! the network heals, the twins stay, and everything outstanding and some fresh operations must be done.

use hypostyle::client::ClientSettings;
use hypostyle::config::{Assign, Leaders, Replies};
use hypostyle_app_api::{Number, PillarId};
use hypostyle_crypto::Suite;

use super::network::{NetworkOptions, Wire};
use super::options::{FaultOptions, Options};
use super::queue::{MICROSECOND, MILLISECOND, Time};
use super::random::Random;
use super::replica::{FIRST, SECOND};
use super::run::{Outcome, all_done, finish, members, places};
use super::scenario::{Partition, SECOND_COPY, Scenario};
use super::world::{World, client_id};
use crate::byzantine::Behaviour;
use crate::checkers::{Check, Violation};

const VIEW_TIMEOUT: Time = 20 * MILLISECOND;
/// A view fails in it, and the next one too: a client waits a fourth of a view's timeout until it asks everybody.
const ROUND: Time = 5 * VIEW_TIMEOUT / 2;
/// What each client asks for in a round, and when the network has healed.
const OPERATIONS: u64 = 1;
/// Virtual time in which everything outstanding must be done.
const LIVENESS: Time = 1000 * VIEW_TIMEOUT;

/// Runs a scenario; its number stands for the seed.
#[must_use]
pub fn run_scenario(number: u64, scenario: &Scenario, prints: bool) -> Outcome {
    let mut world = World::new(options(scenario.twin), Random::new(number), prints);
    let twins = Twins::new(&world, scenario);
    finish(number, &mut world, |world| twins.run(world))
}

/// Small windows and batches, so that much happens in few slots.
fn options(twin: usize) -> Options {
    Options {
        replicas: 4,
        pillars: 2,
        checkpoint_interval: 2,
        window: 4,
        batch_max: 1,
        assign: Assign::Client,
        leaders: Leaders::Spread,
        tags: false,
        replies: Replies::Merkle,
        view_timeout: VIEW_TIMEOUT,
        client_timeout: VIEW_TIMEOUT / 4,
        suite: Suite::Simulated,
        turn: MICROSECOND,
        clients: CLIENTS,
        operations: 0,
        outstanding: u64::MAX,
        network: NetworkOptions {
            delay_min: 200 * MICROSECOND,
            delay_spread: 0,
            loss: 0,
            duplicates: 0,
            replays: 0,
            in_order: true,
            reconnect: MILLISECOND,
        },
        faults: FaultOptions::default(),
        byzantine: vec![(twin, Behaviour::Twins)],
        ..Options::bench()
    }
}

/// So many that each pillar has two.
const CLIENTS: usize = 5;

/// A scenario, and the clients of its copies.
struct Twins<'a> {
    scenario: &'a Scenario,
    /// Which copies each client hears until the network heals: one client of a pillar the first, another the second. So
    /// twins that lead propose different bodies.
    hears: [u8; CLIENTS],
}

impl<'a> Twins<'a> {
    fn new(world: &World, scenario: &'a Scenario) -> Self {
        let settings = ClientSettings::of(&world.cluster.config);
        let mut hears = [0; CLIENTS];
        for pillar in (0..world.options.pillars).map(PillarId) {
            let own = (0..CLIENTS).filter(|index| settings.pillar(client_id(*index), Number(1)) == pillar);
            own.zip([FIRST, SECOND]).for_each(|(index, copy)| hears[index] = copy);
        }
        Self { scenario, hears }
    }

    fn run(&self, world: &mut World) -> Check {
        world.trace.tell(world.now, format_args!("{}", self.scenario));
        for partition in &self.scenario.rounds {
            world.trace.tell(world.now, format_args!("--- {partition:?} ---"));
            self.divide(world, partition);
            self.ask(world)?;
            world.run_until(world.now + ROUND, |_| false)?;
        }
        world.trace.tell(world.now, format_args!("--- the network heals, the twins stay ---"));
        self.unite(world);
        self.ask(world)?;
        let bound = world.now + LIVENESS;
        world.run_until(bound, World::clients_are_done)?;
        all_done(world)?;
        world.run_until(bound, are_in_one_place)?;
        match are_in_one_place(world) {
            true => Ok(()),
            false => Err(Violation { invariant: "convergence", what: places(world) }),
        }
    }

    fn ask(&self, world: &mut World) -> Check {
        for client in (0..CLIENTS).filter(|client| self.hears[*client] != 0) {
            world.clients[client].wants += OPERATIONS;
            world.client_acts(client)?;
        }
        Ok(())
    }

    /// Nodes hear each other within a set only.
    fn divide(&self, world: &mut World, partition: &Partition) {
        let twin = self.scenario.twin;
        world.heal();
        let others = || (0..world.n()).filter(|replica| *replica != twin);
        let pairs: Vec<_> = others().flat_map(|from| others().map(move |to| (from, to))).collect();
        for (from, to) in pairs {
            if partition[from] != partition[to] {
                world.network.block(from, to);
            }
        }
        let copies = |replica: usize| {
            let with = |copy: usize, bit: u8| if partition[copy] == partition[replica] { bit } else { 0 };
            with(twin, FIRST) | with(SECOND_COPY, SECOND)
        };
        let sides: Vec<u8> = (0..world.n()).map(copies).chain(self.hears).collect();
        self.take_sides(world, sides);
    }

    fn unite(&self, world: &mut World) {
        let everybody = world.n() + CLIENTS;
        self.take_sides(world, vec![FIRST | SECOND; everybody]);
        world.calm();
    }

    /// Decides who hears which copy. Who hears another one than before gets a new connection, as after any partition.
    fn take_sides(&self, world: &mut World, sides: Vec<u8>) {
        let twin = self.scenario.twin;
        let Some(copy) = &mut world.replicas[twin].twin else { return };
        let before = std::mem::replace(&mut copy.sides, sides.clone());
        copy.is_restless = false;
        for endpoint in
            (0..sides.len()).filter(|endpoint| *endpoint != twin && sides[*endpoint] != before[*endpoint])
        {
            for pillar in 0..world.options.pillars {
                world.cut(Wire { from: twin, to: endpoint, pillar });
            }
        }
    }
}

/// Whether all correct replicas have executed as much. That their states are equal there the checkers have seen.
fn are_in_one_place(world: &World) -> bool {
    let mut places = members(world).map(|member| member.executor().position());
    let first = places.next();
    first.is_some() && places.all(|place| Some(place) == first)
}
