//! Recovers in the order.

use hypostyle_pillars::message::{Nonce, RECOVER_SPACING, Recover};

use super::*;

const SPACING: u64 = RECOVER_SPACING.as_secs() * 1_000_000_000;

impl Scene {
    /// Executes a slot with such a Recover and tells which took effect: replica, incarnation, until.
    fn recover(&mut self, seq: u64, timestamp: u64, recover: (u16, u64, u8)) -> Vec<(u16, u64, u64)> {
        let (replica, incarnation, nonce) = recover;
        let mut builder = BodyBuilder::new();
        builder.recover(Recover::new(ReplicaId(replica), incarnation, Nonce([nonce; 16]), b"signed"));
        let body = Arc::new(builder.finish(Timestamp(timestamp)));
        self.executor.decided(slot(0, seq, &body)).unwrap();
        self.run();
        recoveries(&self.out.outputs)
    }
}

fn recoveries(outputs: &[Output]) -> Vec<(u16, u64, u64)> {
    let told = outputs.iter().filter_map(|output| match output {
        Output::Recovered { replica, record, until } => Some((replica.0, record.incarnation, until.0)),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_recover_takes_effect_once_as_the_successor_and_demands_a_window() {
    let mut scene = Scene::new(settings(0, 1));
    assert_eq!(scene.recover(1, 5, (3, 1, 7)), [(3, 1, 6)], "the first checkpoint at least L = 4 above");
    let record = *scene.executor.incarnations().of(ReplicaId(3));
    assert_eq!((record.round, record.nonce), (Round(1), Nonce([7; 16])));
    assert_eq!(scene.recover(2, 5 + SPACING, (3, 1, 7)), [], "a replay");
    assert_eq!(scene.recover(3, 5 + SPACING, (3, 3, 8)), [], "it skips one");
    assert_eq!(scene.recover(4, 4 + SPACING, (3, 2, 8)), [(3, 2, 8)], "the time never runs backwards");
    assert_eq!(scene.recover(5, 4 + 2 * SPACING, (3, 3, 9)), [], "too soon");
    assert_eq!(scene.recover(6, 4 + 2 * SPACING, (1, 1, 9)), [(1, 1, 10)]);
    assert_eq!(scene.executor.counters().recoveries, 3);
    assert_eq!(scene.executor.counters().replayed_batches, 3);
}

#[test]
fn it_is_part_of_the_state() {
    let digest = |recover: Option<(u16, u64, u8)>, seq: u64| {
        let mut scene = Scene::new(settings(0, 1));
        (1..seq).for_each(|empty| scene.execute(0, empty, &[]));
        match recover {
            Some(recover) => drop(scene.recover(seq, 5, recover)),
            // Acknowledges nothing and executes nothing: it moves the time alone.
            None => scene.execute(0, seq, &[(0, 50, 0, &[b"far"])]),
        }
        (1..3 - seq).for_each(|empty| scene.execute(0, seq + empty, &[]));
        scene.executor.state_digest()
    };
    let digests = [
        digest(None, 1),
        digest(Some((3, 1, 7)), 1),
        digest(Some((3, 1, 8)), 1),
        digest(Some((2, 1, 7)), 1),
        digest(Some((3, 1, 7)), 2),
    ];
    for (index, one) in digests.iter().enumerate() {
        assert!(!digests[..index].contains(one), "{index}");
    }
    assert_eq!(digest(Some((3, 2, 7)), 1), digest(None, 1), "without effect");
}

#[test]
fn recoveries_of_a_transferred_state_are_told_again() {
    let mut donor = Scene::new(settings(1, 1));
    donor.recover(1, 5, (3, 1, 7));
    donor.recover(2, 5, (2, 1, 8));
    let mut scene = Scene::new(settings(0, 1));
    let mut out = ExecutorOutbox::default();
    scene.executor.set_incarnations(donor.executor.incarnations().clone(), &mut out);
    assert_eq!(recoveries(&out.outputs), [(2, 1, 6), (3, 1, 6)]);
}
