#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const C: ClientId = ClientId(0);
const REQUEST: Digest = Digest([9; 32]);

fn table(window: u32, result_bytes: usize) -> ClientTable {
    ClientTable::new(2, TableLimits { window, result_bytes })
}

fn small(number: u64) -> Answer {
    Answer::result(Number(number), &REQUEST, &number.to_le_bytes())
}

fn execute(table: &mut ClientTable, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|number| table.record(C, small(number), None));
}

fn execute_large(table: &mut ClientTable, number: u64, bytes: usize) {
    let result = vec![7; bytes];
    table.record(C, Answer::result(Number(number), &REQUEST, &result), Some(result.into()));
}

fn due(table: &ClientTable, numbers: impl IntoIterator<Item = u64>) -> Vec<Due> {
    numbers.into_iter().map(|number| table.due(C, Number(number))).collect()
}

#[test]
fn a_number_executes_once_and_within_the_window() {
    let mut table = table(4, 0);
    assert_eq!(due(&table, [0, 1, 4, 5, u64::MAX]), [Due::Past, Due::Now, Due::Now, Due::Far, Due::Far]);
    execute(&mut table, [3, 1]);
    assert_eq!(table.floor(C), Number(1));
    assert_eq!(due(&table, 1..=6), [Due::Past, Due::Now, Due::Past, Due::Now, Due::Now, Due::Far]);
    execute(&mut table, [2]);
    assert_eq!(table.floor(C), Number(3), "over what was executed above");
}

#[test]
#[should_panic(expected = "client 0, number 2")]
fn executing_twice_is_our_own_mistake() {
    let mut table = table(4, 0);
    execute(&mut table, [2, 2]);
}

#[test]
fn an_acknowledgement_voids_what_was_not_executed() {
    let mut table = table(4, 0);
    execute(&mut table, [1, 4]);
    table.acknowledge(C, Number(3));
    assert_eq!(table.floor(C), Number(4), "3 is void, 4 was executed");
    assert_eq!(due(&table, [2, 3]), [Due::Past, Due::Past]);
    assert_eq!(table.lookup(C, Number(3)), Known::Acknowledged);
    assert_eq!(table.lookup(C, Number(4)), Known::Executed(&small(4), None));
    table.acknowledge(C, Number(2));
    assert_eq!(
        table.lookup(C, Number(4)),
        Known::Executed(&small(4), None),
        "acknowledgements never go back"
    );
}

#[test]
fn a_restarted_client_goes_on_above_all_it_used() {
    let mut table = table(4, 100);
    execute(&mut table, [1, 2]);
    execute_large(&mut table, 3, 60);
    table.acknowledge(C, Number(1 << 40));
    assert_eq!(due(&table, [(1 << 40) + 1]), [Due::Now]);
    execute(&mut table, [(1 << 40) + 1]);
    assert_eq!(table.clients[0].large_bytes, 0);
}

#[test]
fn a_client_can_wedge_only_itself() {
    let mut table = table(4, 0);
    table.acknowledge(C, Number(u64::MAX));
    assert_eq!(due(&table, [1, u64::MAX]), [Due::Past, Due::Past]);
    assert_eq!(table.due(ClientId(1), Number(1)), Due::Now);
    let mut near = self::table(4, 0);
    near.acknowledge(C, Number(u64::MAX - 2));
    execute(&mut near, [u64::MAX, u64::MAX - 1]);
    assert_eq!(near.floor(C), Number(u64::MAX));
    near.digest();
}

#[test]
fn large_results_are_kept_up_to_the_limit_and_their_digest_beyond() {
    let mut table = table(8, 100);
    (1..=3).for_each(|number| execute_large(&mut table, number, 40));
    let kept = |table: &ClientTable, number| match table.lookup(C, Number(number)) {
        Known::Executed(answer, large) => (answer.is_large(), large.map(Bytes::len)),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [kept(&table, 1), kept(&table, 2), kept(&table, 3)],
        [(true, Some(40)), (true, Some(40)), (true, None)]
    );
    table.acknowledge(C, Number(1));
    execute_large(&mut table, 4, 40);
    assert_eq!(kept(&table, 4), (true, Some(40)), "acknowledging makes room");
}

#[test]
fn a_client_that_never_acknowledges_keeps_its_last_results_only() {
    let mut table = table(5, 1000);
    (1..=100).for_each(|number| execute_large(&mut table, number, 40));
    assert_eq!(table.lookup(C, Number(92)), Known::Forgotten);
    assert!(matches!(table.lookup(C, Number(93)), Known::Executed(_, Some(_))));
    assert_eq!(table.lookup(C, Number(101)), Known::NotYet);
    assert_eq!((table.clients[0].answers.len(), table.clients[0].large.len()), (8, 8));
}

#[test]
fn memory_follows_what_is_unacknowledged() {
    let mut table = table(1024, 0);
    for number in 1..=10_000 {
        table.acknowledge(C, Number(number - 1));
        execute(&mut table, [number]);
    }
    assert_eq!(table.clients[0].answers.len(), RING_MIN);
    assert_eq!(table.clients[1].answers.len(), 0);
    execute(&mut table, 10_001..=10_100);
    assert_eq!(table.clients[0].answers.len(), 128);
}

#[test]
fn the_digest_tells_states_apart_and_forgets_how_they_came_about() {
    let digest = |steps: &[&dyn Fn(&mut ClientTable)]| {
        let mut table = table(8, 100);
        steps.iter().for_each(|step| step(&mut table));
        table.digest()
    };
    let digests = [
        digest(&[]),
        digest(&[&|t| execute(t, [1])]),
        digest(&[&|t| execute(t, [2])]),
        digest(&[&|t| execute(t, [1]), &|t| _ = t.acknowledge(C, Number(1))]),
        digest(&[&|t| execute_large(t, 1, 40)]),
        digest(&[&|t| execute_large(t, 1, 101)]),
        digest(&[&|t| t.record(ClientId(1), small(1), None)]),
    ];
    assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
    assert_eq!(digest(&[&|t| execute(t, [1, 2, 3])]), digest(&[&|t| execute(t, [3, 1, 2])]));
    assert_eq!(
        digest(&[&|t| execute(t, 1..=8), &|t| _ = t.acknowledge(C, Number(8))]),
        digest(&[&|t| _ = t.acknowledge(C, Number(8))]),
        "acknowledged and executed is as good as acknowledged and void"
    );
}

/// What the table should do, the plain way.
#[derive(Default)]
struct Model {
    acknowledged: u64,
    executed: BTreeMap<u64, Vec<u8>>,
    kept_large: BTreeSet<u64>,
}

const WINDOW: u32 = 6;
const RING: u64 = 8;
const RESULT_BYTES: usize = 120;

impl Model {
    fn floor(&self) -> u64 {
        let mut floor = self.acknowledged;
        while self.executed.contains_key(&(floor + 1)) {
            floor += 1;
        }
        floor
    }

    fn forgotten(&self) -> u64 {
        let highest = self.executed.keys().last().copied().unwrap_or(0);
        self.acknowledged.max(highest.saturating_sub(RING))
    }

    fn due(&self, number: u64) -> Due {
        match number {
            n if n <= self.floor() || self.executed.contains_key(&n) => Due::Past,
            n if n > self.floor() + u64::from(WINDOW) => Due::Far,
            _ => Due::Now,
        }
    }

    fn execute(&mut self, number: u64, result: Vec<u8>) {
        let length = result.len();
        self.executed.insert(number, result);
        let forgotten = self.forgotten();
        self.kept_large.retain(|kept| *kept > forgotten);
        let kept: usize = self.kept_large.iter().map(|kept| self.executed[kept].len()).sum();
        if length > crate::reply::INLINE_MAX && kept + length <= RESULT_BYTES {
            self.kept_large.insert(number);
        }
    }

    fn check(&self, table: &ClientTable) {
        assert_eq!(table.floor(C), Number(self.floor()));
        for number in 0..self.floor() + 12 {
            assert_eq!(table.due(C, Number(number)), self.due(number), "number {number}");
            let known = table.lookup(C, Number(number));
            match self.executed.get(&number) {
                _ if number <= self.acknowledged => assert_eq!(known, Known::Acknowledged),
                Some(result) if number > self.forgotten() => {
                    let answer = Answer::result(Number(number), &REQUEST, result);
                    let large = self.kept_large.contains(&number).then(|| Bytes::copy_from_slice(result));
                    assert_eq!(known, Known::Executed(&answer, large.as_ref()));
                }
                Some(_) => assert_eq!(known, Known::Forgotten),
                None => assert_eq!(known, Known::NotYet),
            }
        }
    }
}

proptest! {
    #[test]
    fn behaves_as_the_model(
        steps in prop::collection::vec((0u8..10, any::<bool>(), prop::option::weighted(0.3, 0u64..9)), 1..120)
    ) {
        let mut table = table(WINDOW, RESULT_BYTES);
        let mut model = Model::default();
        for (above, is_large, acknowledge) in steps {
            if let Some(up) = acknowledge {
                let floor = model.floor().saturating_sub(4) + up;
                table.acknowledge(C, Number(floor));
                model.acknowledged = model.acknowledged.max(floor);
                let forgotten = model.forgotten();
                model.kept_large.retain(|kept| *kept > forgotten);
            }
            let number = model.floor() + u64::from(above);
            if model.due(number) == Due::Now {
                let result = if is_large { vec![1; 33 + usize::from(above)] } else { vec![2; usize::from(above)] };
                let large = is_large.then(|| Bytes::copy_from_slice(&result));
                table.record(C, Answer::result(Number(number), &REQUEST, &result), large);
                model.execute(number, result);
            }
            model.check(&table);
        }
    }

    /// Hashing what changed gives what hashing everything gives, whenever digests are taken.
    #[test]
    fn the_digest_is_incremental(steps in prop::collection::vec((0u32..200, any::<bool>()), 1..150)) {
        let limits = TableLimits { window: 8, result_bytes: 0 };
        let (mut asked, mut fresh) = (ClientTable::new(200, limits), ClientTable::new(200, limits));
        for (client, ask) in steps {
            for table in [&mut asked, &mut fresh] {
                let next = table.floor(ClientId(client)).0 + 1;
                table.record(ClientId(client), small(next), None);
            }
            if ask {
                asked.digest();
            }
        }
        prop_assert_eq!(asked.digest(), fresh.digest());
        prop_assert_eq!(asked.digest(), fresh.digest());
    }
}
