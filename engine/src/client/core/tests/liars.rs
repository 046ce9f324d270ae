use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Submit,
    Reply { replica: u16, number: u64, value: u8 },
    Wait(u32),
    Link { replica: u16, up: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Submit),
        8 => (0u16..7, 1u64..40, 0u8..3).prop_map(|(replica, number, value)| Step::Reply { replica, number, value }),
        1 => (1u32..900).prop_map(Step::Wait),
        1 => (0u16..7, any::<bool>()).prop_map(|(replica, up)| Step::Link { replica, up }),
    ];
    prop::collection::vec(step, 1..200)
}

const TRUTH: &[u8] = b"truth";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Replicas 5 and 6 of 7 lie, together or apart, as often as they like; the others tell the truth when they
    /// tell anything. Only the truth is ever accepted, each operation settles once, and all stays bounded.
    #[test]
    fn f_liars_never_bring_a_wrong_result_about(steps in steps()) {
        let mut scene = Scene::new(settings(7), 1);
        let mut settled = std::collections::BTreeSet::new();
        for step in steps {
            match step {
                Step::Submit => drop(scene.submit(b"op")),
                Step::Reply { replica, number, value } => {
                    let lie: &'static [u8] = [b"lie".as_slice(), b"other lie", TRUTH][usize::from(value)];
                    scene.answer(replica, number, if replica < 5 { TRUTH } else { lie });
                }
                Step::Wait(ms) => drop(scene.tick_after(ms * MS)),
                Step::Link { replica, up: true } => scene.core.connected(ReplicaId(replica), P0, None, &mut scene.out),
                Step::Link { replica, up: false } => scene.core.disconnected(ReplicaId(replica), P0, &mut scene.out),
            }
            for (number, result) in scene.completed() {
                prop_assert_eq!(result, ok(TRUTH));
                prop_assert!(settled.insert(number), "settled twice");
            }
            let span = scene.core.operations.last().0 - scene.core.floor().0;
            prop_assert!(span <= 8 && scene.core.in_flight() as u64 <= span);
            prop_assert!(scene.core.schedule.len() <= 2 * LEVELS * 8);
            prop_assert_eq!(scene.core.in_flight() == 0, scene.core.next_deadline().is_none());
            scene.out.sends.clear();
        }
        let open: Vec<u64> = (1..scene.core.next_number().0).filter(|number| !settled.contains(number)).collect();
        for replica in 0..3 {
            open.iter().for_each(|number| scene.answer(replica, *number, TRUTH));
        }
        prop_assert_eq!(scene.core.in_flight(), 0, "three correct replicas settle everything");
    }
}
