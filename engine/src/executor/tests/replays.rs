//! Which batches are held against the primaries that proposed them.

use super::*;

#[test]
fn what_a_client_lately_made_void_is_no_fault_of_a_primary() {
    let mut scene = Scene::new(settings(0, 1));
    let span = 2 * scene.executor.settings.window;
    scene.execute(0, 1, &[(1, 1, 0, &[b"a"])]);
    scene.execute(0, 2, &[(1, 2, 1, &[b"acknowledged what it has"])]);
    scene.execute(0, 3, &[(1, 1, 0, &[b"a"])]);
    assert_eq!(scene.out.replayed, [PillarId(0)]);
    scene.execute(0, 4, &[(1, 6, 5, &[b"makes 3 to 5 void"])]);
    for seq in 5..=5 + span {
        scene.execute(0, seq, &[(1, 4, 2, &[b"void"])]);
        let excused = seq <= 4 + span;
        assert_eq!(scene.out.replayed.is_empty(), excused, "in round {seq}");
    }
}

#[test]
fn what_is_executed_above_a_floor_is_no_fault_of_a_primary_that_never_heard_so() {
    let mut scene = Scene::new(settings(0, 1));
    scene.execute(0, 1, &[(1, 2, 0, &[b"1 is missing"])]);
    scene.execute(0, 2, &[(1, 2, 0, &[b"1 is missing"])]);
    assert_eq!((&scene.out.replayed[..], scene.executor.counters().skipped_past), (&[][..], 1));
    scene.execute(0, 3, &[(1, 1, 0, &[b"here it is"])]);
    scene.execute(0, 4, &[(1, 2, 0, &[b"1 is missing"])]);
    assert_eq!(scene.out.replayed, [PillarId(0)]);
}

#[test]
fn what_is_beyond_a_window_is_told_to_the_pillar_that_ordered_it() {
    let mut scene = Scene::new(settings(0, 2));
    scene.execute(0, 1, &[(1, 8, 0, &[b"in"]), (1, 9, 0, &[b"far"])]);
    assert_eq!(scene.out.far, [(PillarId(0), ClientId(1), Number(9), 1)]);
    scene.execute(1, 1, &[(1, 9, 1, &[b"near now"])]);
    assert_eq!(scene.out.far, []);
    assert_eq!(scene.executed(), [(0, 1, 8), (1, 1, 9)]);
}
