//! Runs in which a replica needs the state of others: it was cut off for long, or its own went wrong.

use std::sync::atomic::Ordering;

use super::network::Wire;
use super::options::Options;
use super::queue::{Event, MILLISECOND, Time};
use super::random::Random;
use super::world::World;
use crate::byzantine::{Behaviour, Mutator, Strategy};

/// Who needs a state, and what makes it hard to come by.
#[derive(Clone, Debug)]
pub struct Rescue {
    /// Who.
    pub replica: usize,
    /// Whether its state is spoilt at `begin`: then it is one of the f until it has another.
    pub rots: bool,
    /// From when to when nobody hears it, and it nobody.
    pub begin: Time,
    /// When it is heard again.
    pub end: Time,
    /// How often its application refuses the state of another.
    pub refusals: u32,
    /// Bytes of a snapshot beside the state.
    pub ballast: usize,
    /// What is kept of decided slots while a state is on its way.
    pub catch_up_bytes: usize,
    /// Bytes of some operations.
    pub operation_bytes: usize,
}

impl Rescue {
    /// Draws who needs a state, and has the others move on far enough.
    pub(super) fn draw(options: &mut Options, random: &mut Random) -> Self {
        let adversaries = options.byzantine.len();
        let replicas = 0..usize::from(options.replicas);
        let is_correct = |index: &usize| options.byzantine.iter().all(|(other, _)| other != index);
        let correct: Vec<_> = replicas.filter(is_correct).collect();
        let replica = random.pick(&correct);
        let rots = adversaries < options.f() && random.chance(500);
        if rots {
            // Who is down or recovers would be one too many.
            (options.faults.crashes, options.faults.restarts) = (false, false);
        }
        if let Some((_, behaviour)) = options.byzantine.first_mut() {
            *behaviour = of_donors(random).unwrap_or(*behaviour);
        } else if !rots && random.chance(600) {
            let others: Vec<_> = correct.into_iter().filter(|other| *other != replica).collect();
            let behaviour = of_donors(random).unwrap_or(Behaviour::Strategy(Strategy::LyingDonor));
            options.byzantine.push((random.pick(&others), behaviour));
        }
        options.checkpoint_interval = random.pick(&[1, 2, 4]);
        options.window = 2 * options.checkpoint_interval;
        options.operations = 100;
        options.think = random.pick(&[0, 10]) * MILLISECOND;
        options.safety = options.safety.max(40 * options.view_timeout);
        let begin = random.within(options.safety / 20..=options.safety / 4);
        Self {
            replica,
            rots,
            begin,
            end: begin + random.within(options.safety / 20..=options.safety / 2),
            refusals: random.pick(&[0, 0, 1]),
            ballast: random.pick(&[0, 70_000, 1_500_000]),
            catch_up_bytes: random.pick(&[64 << 20, 4 << 10]),
            operation_bytes: random.pick(&[0, 700]),
        }
    }
}

/// Somebody who concerns himself with those that need a state, most of the time.
fn of_donors(random: &mut Random) -> Option<Behaviour> {
    match random.below(3) {
        0 => None,
        1 => Some(Behaviour::Strategy(random.pick(&Strategy::OF_DONORS))),
        _ => {
            let mutators: Vec<_> =
                Mutator::all().into_iter().filter(|mutator| mutator.message.is_about_transfer()).collect();
            Some(Behaviour::Mutator(random.pick(&mutators), random.pick(&[200, 1000])))
        }
    }
}

impl World {
    /// Plans what is to happen to the replica that will need a state.
    pub(super) fn plan_rescue(&mut self) {
        let Some(rescue) = &self.options.rescue else { return };
        let (replica, begin, end) = (rescue.replica, rescue.begin, rescue.end);
        self.service_faults[replica].refusals.store(rescue.refusals, Ordering::Relaxed);
        if rescue.rots {
            self.queue.push(begin, Event::Rot(replica));
        } else {
            self.queue.push(begin, Event::Unplug(replica));
            self.queue.push(end, Event::Plug(replica));
        }
    }

    /// The state of a replica's application goes wrong with its next operation.
    pub(super) fn rot(&mut self, replica: usize) {
        self.trace.tell(self.now, format_args!("the state of r{replica} goes wrong"));
        self.service_faults[replica].rots.store(true, Ordering::Relaxed);
    }

    /// All connections of a replica end, and don't come up again.
    pub(super) fn unplug(&mut self, replica: usize) {
        for other in (0..self.n() + self.clients.len()).filter(|other| *other != replica) {
            for pillar in 0..self.options.pillars {
                self.disconnected(Wire { from: replica, to: other, pillar });
            }
        }
        self.network.leave(replica);
    }

    /// They may come up again, if the replica isn't down.
    pub(super) fn plug(&mut self, replica: usize) {
        if self.replicas[replica].member.is_some() {
            let World { network, random, queue, now, .. } = self;
            network.come_back(*now, random, replica, queue);
        }
    }
}
