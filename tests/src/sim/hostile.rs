//! Byzantine clients in a run: they act for a while beside the correct ones, once before the network calms down and once
//! after that.

use bytes::Bytes;
use hypostyle::client::ClientSettings;
use hypostyle::config::ClusterConfig;
use hypostyle_app_api::{PillarId, ReplicaId};
use hypostyle_crypto::Session;

use super::options::Options;
use super::queue::{Event, Time};
use super::random::Random;
use super::world::{World, client_id, replica_id};
use crate::byzantine::HostileClient;

/// All of them.
pub(super) struct Hostile {
    clients: Vec<HostileClient>,
    /// What each may still do.
    left: Vec<u64>,
    random: Random,
    /// The longest pause between two acts.
    pause: Time,
}

/// Acts of each in either phase.
const ACTS: u64 = 40;

impl Hostile {
    pub(super) fn new(options: &Options, config: &ClusterConfig, random: &mut Random) -> Self {
        // A run without them is the same as if there were none in the world.
        let mut random = Random::new(if options.hostile.is_empty() { 0 } else { random.number() });
        let settings = ClientSettings::of(config);
        let faulty: Vec<usize> = options.byzantine.iter().map(|(replica, _)| *replica).collect();
        let mut client = |index: usize| {
            let anybody = random.index(usize::from(options.replicas));
            let favourite = replica_id(faulty.first().copied().unwrap_or(anybody));
            let id = client_id(options.clients + index);
            let chance = Random::new(random.number());
            HostileClient::new(settings.clone(), id, options.hostile[index], favourite, chance)
        };
        let clients = (0..options.hostile.len()).map(&mut client).collect();
        let pause = options.view_timeout / random.pick(&[1, 4, 16]);
        Self { clients, left: vec![0; options.hostile.len()], pause, random }
    }

    pub(super) fn hear(&mut self, client: usize, pillar: PillarId, payload: &Bytes) {
        self.clients[client].hears(pillar, payload);
    }

    pub(super) fn connected(
        &mut self,
        client: usize,
        replica: ReplicaId,
        pillar: PillarId,
        session: Session,
    ) {
        self.clients[client].connected(replica, pillar, session);
    }

    pub(super) fn overhear(&mut self, pillar: PillarId, payload: &Bytes) {
        self.clients.iter_mut().for_each(|client| client.overhears(pillar, payload));
    }

    pub(super) fn silence(&mut self) {
        self.left.fill(0);
    }
}

impl World {
    /// From this time on Byzantine clients act.
    pub(super) fn unleash(&mut self, start: Time) {
        for client in 0..self.hostile.clients.len() {
            if self.hostile.left[client] == 0 {
                self.queue.push(start, Event::Hostile(client));
            }
            self.hostile.left[client] += ACTS;
        }
    }

    pub(super) fn hostile_acts(&mut self, client: usize) {
        let Some(left) = self.hostile.left[client].checked_sub(1) else { return };
        let place = self.clients.len() + client;
        let hostile = &mut self.hostile;
        hostile.left[client] = left;
        let act = hostile.clients[client].act(&self.cluster.clients[place]);
        let id = hostile.clients[client].id();
        if left > 0 {
            let next = self.now + 1 + hostile.random.below(hostile.pause);
            self.queue.push(next, Event::Hostile(client));
        }
        act.signed.iter().for_each(|(first, digest)| self.checkers.signed(id, *first, *digest));
        for (to, pillar, payload) in act.sends {
            self.send(self.n() + place, to.index(), pillar, payload);
        }
    }
}
