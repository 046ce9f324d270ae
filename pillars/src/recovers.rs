use std::time::Duration;

use hypostyle_app_api::{Instant, ReplicaId};

use crate::message::{RECOVER_SPACING, Recover};

/// Recovers that this pillar has verified and not yet seen ordered, at most one a replica: the primary puts them into its
/// next batch, a backup expects it to.
#[derive(Clone, Debug)]
pub(crate) struct PendingRecovers {
    places: Box<[Place]>,
    /// How many of them hold one: none, nearly always.
    waiting: usize,
}

#[derive(Clone, Debug, Default)]
struct Place {
    /// The replica recovered not long ago: another time only after this.
    not_before: Option<Instant>,
    pending: Option<Pending>,
}

#[derive(Clone, Debug)]
struct Pending {
    recover: Recover,
    /// Since when it may be ordered.
    since: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Too soon after the replica's last one.
    Held,
    /// To be ordered.
    Ripe,
    /// In a batch that this replica proposed in this view.
    Proposed,
}

/// An ordered Recover that took no effect came too soon by agreed time: it may come again after this.
const RETRY: Duration = RECOVER_SPACING.checked_div(4).expect("4 is not 0");

impl PendingRecovers {
    pub(crate) fn new(replicas: u16) -> Self {
        Self { places: vec![Place::default(); usize::from(replicas)].into(), waiting: 0 }
    }

    /// Whether one of its replica waits already.
    pub(crate) fn has(&self, recover: &Recover) -> bool {
        let pending = self.places[recover.replica().index()].pending.as_ref();
        pending.is_some_and(|pending| pending.recover.incarnation() >= recover.incarnation())
    }

    /// Takes one in; whether it is to be ordered at once.
    pub(crate) fn insert(&mut self, now: Instant, recover: Recover) -> bool {
        let place = &mut self.places[recover.replica().index()];
        let since = place.not_before.map_or(now, |at| at.max(now));
        let stage = if since > now { Stage::Held } else { Stage::Ripe };
        let new = place.pending.replace(Pending { recover, since, stage }).is_none();
        self.waiting += usize::from(new);
        stage == Stage::Ripe
    }

    /// Those that may be ordered from now on and could not before.
    pub(crate) fn ripen(&mut self, now: Instant) -> Vec<Recover> {
        if self.waiting == 0 {
            return Vec::new();
        }
        let held = self.places.iter_mut().filter_map(|place| place.pending.as_mut());
        let ripe = held.filter(|pending| pending.stage == Stage::Held && pending.since <= now);
        ripe.map(|pending| {
            pending.stage = Stage::Ripe;
            pending.recover.clone()
        })
        .collect()
    }

    /// When the next one may be ordered that may not yet.
    pub(crate) fn next_ripe(&self) -> Option<Instant> {
        self.pending().filter(|pending| pending.stage == Stage::Held).map(|pending| pending.since).min()
    }

    /// Since when the oldest has been waiting to be ordered.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.owed().map(|pending| pending.since).min()
    }

    /// Those that are to be ordered.
    pub(crate) fn ripe(&self) -> impl Iterator<Item = &Recover> {
        self.owed().map(|pending| &pending.recover)
    }

    /// How many replicas are known to ask.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// What the next batch is to hold.
    pub(crate) fn cut(&mut self) -> Vec<Recover> {
        if self.waiting == 0 {
            return Vec::new();
        }
        let pending = self.places.iter_mut().filter_map(|place| place.pending.as_mut());
        let ripe = pending.filter(|pending| pending.stage == Stage::Ripe);
        ripe.map(|pending| {
            pending.stage = Stage::Proposed;
            pending.recover.clone()
        })
        .collect()
    }

    /// Another view: what was proposed in the one before may be lost.
    pub(crate) fn view_changed(&mut self) {
        for pending in self.places.iter_mut().filter_map(|place| place.pending.as_mut()) {
            if pending.stage == Stage::Proposed {
                pending.stage = Stage::Ripe;
            }
        }
    }

    /// A body with these was decided.
    pub(crate) fn discharge(&mut self, now: Instant, ordered: &[Recover]) {
        for recover in ordered {
            let place = &mut self.places[recover.replica().index()];
            if place.served(recover.incarnation()) {
                self.waiting -= 1;
                place.hold(now + RETRY);
            }
        }
    }

    /// The replica has recovered so many times.
    pub(crate) fn recovered(&mut self, now: Instant, replica: ReplicaId, incarnation: u64) {
        let place = &mut self.places[replica.index()];
        self.waiting -= usize::from(place.served(incarnation));
        place.hold(now + RECOVER_SPACING);
    }

    fn pending(&self) -> impl Iterator<Item = &Pending> {
        let places = if self.waiting == 0 { &[] } else { &*self.places };
        places.iter().filter_map(|place| place.pending.as_ref())
    }

    fn owed(&self) -> impl Iterator<Item = &Pending> {
        self.pending().filter(|pending| pending.stage != Stage::Held)
    }
}

impl Place {
    fn served(&mut self, incarnation: u64) -> bool {
        self.pending.take_if(|pending| pending.recover.incarnation() <= incarnation).is_some()
    }

    fn hold(&mut self, until: Instant) {
        self.not_before = Some(self.not_before.map_or(until, |at| at.max(until)));
    }
}
