//! What goes wrong, one fault at a time, as the seed picks.

use hypostyle_pillars::message::Nonce;

use super::network::Wire;
use super::queue::{Event, Time};
use super::world::{World, replica_id};

/// A kind of fault.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Cut,
    Clog,
    Partition,
    Pause,
    Crash,
    Restart,
}

impl World {
    /// A fault strikes, and the next one is planned.
    pub(super) fn strike(&mut self) {
        if !self.safety {
            return;
        }
        let every = self.options.faults.every;
        let next = self.now + 1 + self.random.below(2 * every);
        self.queue.push(next, Event::Fault);
        let faults = &self.options.faults;
        let kinds = [
            (faults.cuts, Fault::Cut),
            (faults.clogs, Fault::Clog),
            (faults.partitions, Fault::Partition),
            (faults.pauses, Fault::Pause),
            (faults.crashes, Fault::Crash),
            (faults.restarts, Fault::Restart),
        ];
        let kinds: Vec<Fault> = kinds.iter().filter(|(on, _)| *on).map(|(_, fault)| *fault).collect();
        if kinds.is_empty() {
            return;
        }
        let length = 1 + self.random.skewed(8 * every);
        let fault = self.random.pick(&kinds);
        self.trace.step(self.now, [u64::MAX, fault as u64, length], &[]);
        self.trace.tell(self.now, format_args!("{fault:?} for {} ms", length / 1_000_000));
        match fault {
            Fault::Cut => self.strike_connection(),
            Fault::Clog => self.strike_direction(length),
            Fault::Partition => self.strike_network(length),
            Fault::Pause => self.strike_replica(length),
            Fault::Crash => self.crash(),
            Fault::Restart => self.crash_and_restart(length),
        }
    }

    fn strike_connection(&mut self) {
        let pillar = u16::try_from(self.random.below(u64::from(self.options.pillars))).expect("few pillars");
        let from = self.random.index(self.n());
        let to = self.random.index(self.n() + self.clients.len());
        if from != to {
            self.cut(Wire { from, to, pillar });
        }
    }

    fn strike_direction(&mut self, length: Time) {
        let from = self.random.index(self.n());
        let to = self.random.index(self.n());
        self.network.clog(from, to, self.now + length);
    }

    /// Two parts: neither hears the other, or one doesn't hear the other. Or a single pair, so that the rest are bridges.
    fn strike_network(&mut self, length: Time) {
        let everyone = self.n() + self.clients.len();
        let members = self.random.index(self.n()) + 1;
        let part = match self.random.chance(700) {
            true => self.random.some_of(members, everyone),
            false => vec![self.random.index(self.n())],
        };
        let pair = self.random.chance(200).then(|| self.random.index(self.n()));
        let (hears, is_heard) =
            self.random.pick(&[(false, false), (false, false), (true, false), (false, true)]);
        for inside in part.iter().copied() {
            for outside in (0..everyone).filter(|other| !part.contains(other)) {
                if pair.is_some_and(|pair| pair != outside) {
                    continue;
                }
                if !hears {
                    self.network.block(outside, inside);
                }
                if !is_heard {
                    self.network.block(inside, outside);
                }
            }
        }
        self.queue.push(self.now + length, Event::Heal);
    }

    fn strike_replica(&mut self, length: Time) {
        let replica = self.random.index(self.n());
        self.replicas[replica].paused_until = self.now + length;
    }

    /// A replica crashes for good, if another one may fail.
    pub(super) fn crash(&mut self) {
        if let Some(replica) = self.may_fail() {
            self.take_down(replica);
        }
    }

    /// A replica crashes and will start again without a disk. One that recovers fails no more by this than it does already.
    fn crash_and_restart(&mut self, length: Time) {
        let recovering: Vec<_> =
            (0..self.n()).filter(|index| self.replicas[*index].is_recovering()).collect();
        let again =
            (!recovering.is_empty() && self.random.chance(100)).then(|| self.random.pick(&recovering));
        if let Some(replica) = again.or_else(|| self.may_fail()) {
            self.take_down(replica);
            self.replicas[replica].starts_again = true;
            self.queue.push(self.now + length, Event::Restart(replica));
        }
    }

    /// A correct replica, if fewer than f are down, recovering or adversaries.
    fn may_fail(&mut self) -> Option<usize> {
        let faulty = self.replicas.iter().filter(|replica| replica.is_faulty()).count();
        let replica = self.random.index(self.n());
        (faulty < self.options.f() && !self.replicas[replica].is_faulty()).then_some(replica)
    }

    fn take_down(&mut self, replica: usize) {
        self.replicas[replica].member = None;
        self.replicas[replica].inbox.clear();
        self.unplug(replica);
    }

    /// A replica starts again, without what it knew.
    pub(super) fn restart(&mut self, replica: usize) {
        if !std::mem::take(&mut self.replicas[replica].starts_again) {
            return;
        }
        let nonce = [self.random.number(), self.random.number()].map(u64::to_le_bytes).concat();
        let nonce = Nonce(nonce.try_into().expect("two times 8 bytes"));
        let now = self.replicas[replica].clock.now(self.now);
        let mut member = self.new_member(replica);
        member.recover(now, nonce);
        self.replicas[replica].member = Some(member);
        self.replicas[replica].paused_until = 0;
        self.checkers.restarted(replica_id(replica), nonce);
        self.trace.tell(self.now, format_args!("r{replica} starts again without a disk"));
        let World { network, random, queue, now, .. } = self;
        network.come_back(*now, random, replica, queue);
        self.wake(replica, self.now + 1);
    }

    /// All partitions end.
    pub(super) fn heal(&mut self) {
        let World { network, random, queue, now, .. } = self;
        network.unblock(*now, random, queue);
        self.tell_clients();
    }

    /// Clients learn which of their connections are gone.
    fn tell_clients(&mut self) {
        for replica in 0..self.n() {
            for client in 0..self.clients.len() {
                for pillar in 0..self.options.pillars {
                    let wire = Wire { from: replica, to: self.n() + client, pillar };
                    if !self.network.is_up(wire) {
                        self.disconnected(wire);
                    }
                }
            }
        }
    }

    /// The end of the safety phase: the network and all that stands still go on.
    pub(super) fn calm(&mut self) {
        self.safety = false;
        let World { network, random, queue, now, .. } = self;
        network.calm(*now, random, queue);
        self.heal();
        for replica in 0..self.n() {
            self.replicas[replica].paused_until = 0;
            self.queue.lay_to_rest(replica);
            self.wake(replica, self.now + 1);
        }
    }
}
