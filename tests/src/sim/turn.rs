//! A replica's turn: what came for it goes into the cores, and what they want done is done.

use bytes::Bytes;
use hypostyle::simulation::{Member, MemberOutput};
use hypostyle_app_api::{Now, PillarId};
use hypostyle_pillars::message::{Message, PeerFrame};
use hypostyle_pillars::{Source, Target};

use super::network::{Endpoint, Wire};
use super::queue::Event;
use super::replica::{Arrival, FIRST, SECOND};
use super::service::Service;
use super::world::{TURN_MIN, World, client_id, replica_id};
use crate::checkers::{Check, diverged};
use crate::memory::{self, handed_over, owned_by};

impl World {
    pub(super) fn turn(&mut self, replica: usize) -> Check {
        let now = self.now;
        let state = &mut self.replicas[replica];
        if state.paused_until > now {
            self.wake(replica, now);
            return Ok(());
        }
        let Some(mut member) = state.member.take() else { return Ok(()) };
        let clock = state.clock.now(now);
        let mut arrivals = std::mem::take(&mut state.inbox);
        let mut twin = state.twin.take();
        let mut deadline = None;
        if let Some(twin) = &mut twin {
            twin.turn_round(&mut self.random);
            let heard = |arrival: &&Arrival| match arrival {
                Arrival::Frame { from, .. } => twin.hears(SECOND, *from),
                Arrival::Connected { .. } | Arrival::Client { .. } => true,
            };
            let mut second: Vec<_> = arrivals.iter().filter(heard).cloned().collect();
            self.steps(replica, &mut twin.member, clock, &mut second);
            deadline = twin.member.next_deadline();
            for output in twin.member.outputs() {
                self.perform(replica, output, twin.sides.iter().map(|sides| sides & SECOND != 0).collect())?;
            }
        }
        if let Some(twin) = &twin {
            arrivals.retain(|arrival| match arrival {
                Arrival::Frame { from, .. } => twin.hears(FIRST, *from),
                Arrival::Connected { .. } | Arrival::Client { .. } => true,
            });
        }
        let (diverged, rotten) = (member.executor().diverged(), member.executor().application().is_rotten());
        self.steps(replica, &mut member, clock, &mut arrivals);
        let honest = self.replicas[replica].is_honest();
        let silent = honest && diverged && member.executor().diverged();
        if honest {
            self.checkers.rots(replica_id(replica), rotten || member.executor().application().is_rotten());
        }
        let sides = twin.as_ref().map_or(Vec::new(), |twin| twin.sides.clone());
        for output in member.outputs() {
            if silent {
                diverged::says(replica_id(replica), &output)?;
            }
            self.perform(replica, output, sides.iter().map(|sides| sides & FIRST != 0).collect())?;
        }
        if honest {
            self.checkers.turned(replica_id(replica), &member)?;
            self.checkers.holds(replica_id(replica), memory::held(replica))?;
        }
        let next = member.next_deadline().into_iter().chain(deadline).min();
        let state = &mut self.replicas[replica];
        (state.member, state.twin, state.inbox) = (Some(member), twin, arrivals);
        if let Some(deadline) = next {
            let pause = TURN_MIN + self.random.below(self.options.turn);
            let at = self.replicas[replica].clock.time_of(deadline).max(now + pause);
            self.wake(replica, at);
        }
        Ok(())
    }

    /// Hands a member what came for it and has it take its turns. Leaves what has to wait.
    fn steps(
        &mut self,
        replica: usize,
        member: &mut Member<Service>,
        clock: Now,
        arrivals: &mut Vec<Arrival>,
    ) {
        let mut refused = Vec::new();
        arrivals.retain(|arrival| {
            let (from, pillar, step) = match arrival {
                Arrival::Connected { peer, pillar } => {
                    owned_by(replica, || member.connected(clock, PillarId(*pillar), replica_id(*peer)));
                    return false;
                }
                Arrival::Client { client, pillar, session } => {
                    let client = client_id(client - self.replicas.len());
                    owned_by(replica, || {
                        member.client_connected(clock, PillarId(*pillar), client, session.clone());
                    });
                    return false;
                }
                Arrival::Frame { from, payload, .. } if !self.hears(replica, *from, payload) => return false,
                Arrival::Frame { from, pillar, payload } if *from < self.replicas.len() => {
                    let step = owned_by(replica, || {
                        let payload = handed_over(payload);
                        member.peer_frame(clock, PillarId(*pillar), replica_id(*from), &payload)
                    });
                    (from, pillar, step)
                }
                // As the shell does: while requests gather faster than they are ordered, clients wait.
                Arrival::Frame { pillar, .. } if member.is_congested(PillarId(*pillar)) => return true,
                Arrival::Frame { from, pillar, payload } => {
                    let client = client_id(from - self.replicas.len());
                    let step =
                        owned_by(replica, || member.client_frame(clock, PillarId(*pillar), client, payload));
                    (from, pillar, step)
                }
            };
            refused.extend(step.err().map(|reason| (*from, *pillar, reason)));
            false
        });
        let random = &mut self.random;
        owned_by(replica, || member.turn(clock, &mut |choices| random.index(choices)));
        for (from, pillar, reason) in refused {
            let (me, other) = (self.name(replica), self.name(from));
            self.trace.tell(self.now, format_args!("{me} refuses {other}: {reason}"));
            self.cut(Wire { from, to: replica, pillar });
        }
    }

    fn hears(&mut self, replica: usize, from: Endpoint, payload: &Bytes) -> bool {
        self.replicas[replica].byzantine.as_mut().is_none_or(|byzantine| byzantine.hears(from, payload))
    }

    /// `sides`, where there are any, says who can hear this.
    fn perform(&mut self, replica: usize, output: MemberOutput, sides: Vec<bool>) -> Check {
        let heard = |to: Endpoint| sides.get(to).is_none_or(|heard| *heard);
        match output {
            MemberOutput::Decided(decided) => {
                let (pillar, seq, digest) = (decided.pillar, decided.seq, decided.body.digest());
                self.trace.tell(self.now, format_args!("r{replica} decides p{pillar} s{seq} {digest:?}"));
                if self.replicas[replica].is_honest() {
                    self.checkers.decided(replica_id(replica), &decided)?;
                }
            }
            MemberOutput::ToPeers { pillar, to, payload } => {
                let payload = handed_over(&payload);
                if self.replicas[replica].is_honest() && to == Target::Peers {
                    self.heard(true, &payload)?;
                }
                let everyone = match to {
                    Target::Peer(peer) => peer.index()..peer.index() + 1,
                    Target::Peers => 0..self.n(),
                };
                for peer in everyone.filter(|peer| *peer != replica && heard(*peer)) {
                    self.send_peer(replica, peer, pillar, payload.clone())?;
                }
            }
            MemberOutput::ToClient { pillar, client, payload } => {
                let to = self.n() + client.index();
                let payload = handed_over(&payload);
                let payload = match &mut self.replicas[replica].byzantine {
                    Some(byzantine) => byzantine.to_client((pillar, client), &payload).filter(|_| heard(to)),
                    None => Some(payload),
                };
                if let Some(payload) = payload {
                    self.send(replica, to, pillar, payload);
                }
            }
            MemberOutput::Close { pillar, source, .. } => {
                let from = match source {
                    Source::Peer(peer) => peer.index(),
                    Source::Client(client) => self.n() + client.index(),
                };
                self.cut(Wire { from, to: replica, pillar: pillar.0 });
            }
        }
        Ok(())
    }

    /// A replica has said something of its own.
    fn heard(&mut self, honest: bool, payload: &Bytes) -> Check {
        let signed = [PeerFrame::BUNDLE, PeerFrame::VIEW_CHANGE, PeerFrame::NEW_VIEW];
        if !payload.first().is_some_and(|kind| signed.contains(kind)) {
            return Ok(());
        }
        let Ok(PeerFrame::Message(message)) = PeerFrame::decode(payload, &self.limits) else { return Ok(()) };
        // What doesn't verify was never said.
        if !honest && self.cluster.keyring.verify(message.clone()).is_err() {
            return Ok(());
        }
        match message {
            Message::Bundle(bundle) => self.checkers.said(honest, &bundle),
            Message::ViewChange(change) => {
                // What an adversary says to nobody may stand beside what it proves.
                if !honest {
                    change.bundles().iter().try_for_each(|bundle| self.checkers.said(false, bundle))?;
                }
                self.checkers.left(honest, &change)
            }
            Message::NewView(new_view) => self.checkers.began(honest, &new_view),
            Message::Request(_) | Message::Body(_) | Message::Recover(_) => Ok(()),
        }
    }

    fn send_peer(&mut self, from: usize, to: usize, pillar: PillarId, payload: Bytes) -> Check {
        let Some(byzantine) = &mut self.replicas[from].byzantine else {
            self.checkers.traffic.frames += 1;
            self.send(from, to, pillar, payload);
            return Ok(());
        };
        for sent in byzantine.to_replica(to, pillar, &payload) {
            self.heard(false, &sent.payload)?;
            match sent.delay {
                0 => self.send(from, to, pillar, sent.payload),
                delay => {
                    let wire = Wire { from, to, pillar: pillar.0 };
                    self.queue.push(self.now + delay, Event::Late { wire, payload: sent.payload });
                }
            }
        }
        Ok(())
    }
}
