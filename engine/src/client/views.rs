use hypostyle_app_api::{PillarId, ReplicaId, View};

/// Which view each pillar is in, as far as a client can know: the (f+1)-th highest that distinct replicas told,
/// so at least one correct replica is in it or beyond, and f liars neither raise nor lower it past the truth.
#[derive(Debug)]
pub(super) struct Views {
    replicas: usize,
    faults: usize,
    told: Vec<View>,
    believed: Vec<View>,
}

impl Views {
    pub(super) fn new(replicas: u16, faults: u16, pillars: u16) -> Self {
        let (replicas, faults, pillars) = (usize::from(replicas), usize::from(faults), usize::from(pillars));
        assert!(faults < replicas, "{faults} faults of {replicas} replicas");
        Self { replicas, faults, told: vec![View(0); replicas * pillars], believed: vec![View(0); pillars] }
    }

    pub(super) fn believed(&self, pillar: PillarId) -> View {
        self.believed[pillar.index()]
    }

    /// Takes in what a verified reply told. Unknown replicas and pillars are ignored.
    pub(super) fn tell(&mut self, replica: ReplicaId, pillar: PillarId, view: View) {
        if replica.index() >= self.replicas || pillar.index() >= self.believed.len() {
            return;
        }
        let row = pillar.index() * self.replicas..(pillar.index() + 1) * self.replicas;
        let told = &mut self.told[row][..];
        if view <= told[replica.index()] {
            return;
        }
        told[replica.index()] = view;
        let mut sorted = told.to_vec();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        self.believed[pillar.index()] = sorted[self.faults];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f_liars_move_nothing() {
        let mut views = Views::new(7, 2, 2);
        views.tell(ReplicaId(5), PillarId(1), View(u64::MAX));
        views.tell(ReplicaId(6), PillarId(1), View(u64::MAX));
        assert_eq!(views.believed(PillarId(1)), View(0));
        views.tell(ReplicaId(0), PillarId(1), View(3));
        assert_eq!(views.believed(PillarId(1)), View(3), "one correct replica told it");
        assert_eq!(views.believed(PillarId(0)), View(0));
    }

    #[test]
    fn a_view_told_never_falls() {
        let mut views = Views::new(4, 1, 1);
        for replica in [0, 1] {
            views.tell(ReplicaId(replica), PillarId(0), View(2));
            views.tell(ReplicaId(replica), PillarId(0), View(1));
        }
        assert_eq!(views.believed(PillarId(0)), View(2));
    }

    #[test]
    fn strangers_are_ignored() {
        let mut views = Views::new(4, 1, 1);
        views.tell(ReplicaId(4), PillarId(0), View(9));
        views.tell(ReplicaId(0), PillarId(1), View(9));
        assert_eq!(views.believed(PillarId(0)), View(0));
    }
}
