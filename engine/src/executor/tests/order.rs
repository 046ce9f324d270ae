use proptest::prelude::*;

use super::*;

/// A schedule of 4 rounds: which requests, in which order slots are decided, and how turns are cut.
#[derive(Clone, Debug)]
struct Schedule {
    requests: Vec<(u32, u64, u64)>,
    arrival: Vec<u32>,
    budgets: Vec<usize>,
}

const ROUNDS: usize = 4;

fn schedule(pillars: u16) -> impl Strategy<Value = Schedule> {
    let slots = usize::from(pillars) * ROUNDS;
    let request = (0u32..3, 1u64..12).prop_flat_map(|(client, first)| (Just(client), Just(first), 0..first));
    (
        prop::collection::vec(request, 3 * slots),
        prop::collection::vec(any::<u32>(), slots),
        prop::collection::vec(0usize..8, slots),
    )
        .prop_map(|(requests, arrival, budgets)| Schedule { requests, arrival, budgets })
}

/// Everything that must not depend on arrival: calls, final digest, checkpoints, and each client's answers in order.
type Outcome = (Vec<(u64, u32, u64)>, Digest, Vec<(Round, Digest)>, Vec<Vec<u64>>);

fn outcome(pillars: u16, bodies: &[Arc<Body>], arrival: &[u32], budgets: &[usize]) -> Outcome {
    let mut scene = Scene::new(settings(0, pillars));
    let mut order: Vec<_> = (0..bodies.len()).collect();
    order.sort_by_key(|index| arrival[*index]);
    let (mut checkpoints, mut answers) = (Vec::new(), vec![Vec::new(); 3]);
    for (turn, index) in order.iter().enumerate() {
        let (pillar, seq) = Position(*index as u64).slot(pillars);
        scene.executor.decided(slot(pillar.0, seq.0, &bodies[*index])).unwrap();
        let budget = if turn + 1 == order.len() { usize::MAX } else { budgets[turn] };
        scene.out.clear();
        scene.executor.run(budget, &mut scene.out);
        checkpoints.extend(scene.out.outputs.iter().filter_map(|output| match output {
            Output::Checkpoint { round, digest } => Some((*round, *digest)),
            _ => None,
        }));
        for message in messages(&scene.out.replies) {
            answers[message.client.index()].extend(message.records.iter().map(|record| record.number.0));
        }
        std::mem::take(&mut scene.out.replies).into_iter().for_each(|group| scene.executor.recycle(group));
    }
    // Within a turn a client's answers are grouped by pillar: how turns are cut shows in their order alone.
    answers.iter_mut().for_each(|numbers| numbers.sort_unstable());
    (scene.executed(), scene.executor.state_digest(), checkpoints, answers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_executed_and_answered_is_independent_of_arrival_and_turns(
        (pillars, schedule) in (1u16..=8).prop_flat_map(|pillars| (Just(pillars), schedule(pillars)))
    ) {
        let clients = Clients::new();
        let bodies: Vec<_> = schedule
            .requests
            .chunks(3)
            .zip(1..)
            .map(|(chunk, time)| {
                let requests: Vec<(u32, u64, u64, &[&[u8]])> =
                    chunk.iter().map(|(c, n, f)| (*c, *n, *f, &[b"op" as &[u8]] as &[&[u8]])).collect();
                clients.body(time, &requests)
            })
            .collect();
        let in_order: Vec<_> = (0..).take(bodies.len()).collect();
        let expected = outcome(pillars, &bodies, &in_order, &vec![usize::MAX; bodies.len()]);
        let mut executed: Vec<_> = expected.0.iter().map(|(_, client, number)| (*client, *number)).collect();
        executed.sort_unstable();
        let once = executed.len();
        executed.dedup();
        prop_assert_eq!(executed.len(), once, "exactly once");
        prop_assert_eq!(outcome(pillars, &bodies, &schedule.arrival, &schedule.budgets), expected);
    }
}
