use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use hypostyle_app_api::Digest;
use hypostyle_crypto::{
    Claim, Class, DESK_MESSAGES_MAX, Desk, Finished, Pool, Proof, Refused, SUITES, Signed, Suite, Tag,
    Verdict,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::cluster::{Batch, Own, identity, keyring, replica};

/// A batch whose claims crypto threads may not see before the gate opens.
#[derive(Clone, Debug)]
struct Gated {
    batch: Batch,
    gate: Option<Arc<Gate>>,
}

#[derive(Debug, Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }
}

impl Signed for Gated {
    fn claims(&self) -> usize {
        self.batch.claims()
    }

    fn claim(&self, index: usize) -> Claim<'_> {
        let on_crypto_thread = thread::current().name().is_some_and(|name| name.starts_with("crypto-"));
        if let Some(gate) = self.gate.as_ref().filter(|_| on_crypto_thread) {
            gate.pass();
        }
        self.batch.claim(index)
    }
}

struct Bench<T> {
    desk: Desk<T, usize>,
    wakes: Receiver<()>,
}

impl<T: Signed + Send + Sync + 'static> Bench<T> {
    fn new(pool: &Pool) -> Self {
        let (sender, wakes) = mpsc::channel();
        let sender = Mutex::new(sender);
        // The test may be over, and nobody listening.
        let wake = move || sender.lock().unwrap().send(()).unwrap_or_default();
        Self { desk: pool.desk(Arc::new(wake)), wakes }
    }

    /// Sleeps only until woken, as a worker does: a wake-up that is lost fails the test.
    fn next(&mut self) -> Finished<T, usize> {
        loop {
            if let Some(finished) = self.desk.finished() {
                return finished;
            }
            self.wakes.recv_timeout(Duration::from_secs(60)).expect("woken for a result");
        }
    }

    fn verdict(&mut self) -> (usize, Result<T, Refused<T>>) {
        match self.next() {
            Finished::Verified { context, verdict: Verdict::Verified(message) } => {
                (context, Ok(message.into_inner()))
            }
            Finished::Verified { context, verdict: Verdict::Refused(refused) } => (context, Err(refused)),
            Finished::Verified { .. } => panic!("there are no tags"),
            Finished::Signed { ticket, .. } => panic!("nothing was signed, but ticket {ticket}"),
        }
    }

    /// The contexts of everything pending, in the order of return.
    fn order(&mut self) -> Vec<usize> {
        (0..self.desk.pending()).map(|_| self.verdict().0).collect()
    }
}

fn pool(threads: usize, suite: Suite) -> Pool {
    Pool::new(threads, keyring(suite), Arc::new(identity(suite, replica(0))))
}

fn gated(batch: &[Own], gate: &Arc<Gate>) -> Gated {
    Gated { batch: Batch(batch.to_vec()), gate: Some(Arc::clone(gate)) }
}

fn free(batch: &[Own]) -> Gated {
    Gated { batch: Batch(batch.to_vec()), gate: None }
}

fn good() -> Own {
    Own::new(Suite::Ed25519, replica(0), "good")
}

#[test]
fn the_pool_judges_like_the_keyring_in_every_suite() {
    for suite in SUITES {
        let good = [0, 1].map(|id| Own::new(suite, replica(id), "content"));
        let bad = good.clone().map(|own| own.spoiled());
        let keyring = keyring(suite);
        let pools = [0, 1, 2, 3].map(|threads| pool(threads, suite));
        let mostly_good = prop::collection::vec((0usize..2, prop::bool::weighted(0.03)), 0..50);
        let batches = prop::collection::vec(mostly_good, 1..6);
        let mut runner = TestRunner::new(Config { cases: 8, failure_persistence: None, ..Config::default() });
        let judge = |batches: Vec<Vec<(usize, bool)>>| {
            let pick = |(id, is_bad): &(usize, bool)| if *is_bad { &bad[*id] } else { &good[*id] }.clone();
            let batches: Vec<Batch> =
                batches.iter().map(|batch| Batch(batch.iter().map(pick).collect())).collect();
            for pool in &pools {
                let mut bench = Bench::new(pool);
                for (index, batch) in batches.iter().enumerate() {
                    let source = u32::try_from(index % 2).unwrap();
                    assert!(bench.desk.verify(source, Class::Client, batch.clone(), index));
                }
                for _ in 0..bench.desk.pending() {
                    let (index, result) = bench.verdict();
                    let expected =
                        keyring.verify(batches[index].clone()).map(|verified| verified.into_inner());
                    prop_assert_eq!(result, expected, "{} with {} threads", suite, pool.threads());
                }
                prop_assert!(bench.desk.pending() == 0 && bench.desk.finished().is_none());
            }
            Ok(())
        };
        runner.run(&batches, judge).unwrap();
    }
}

#[test]
fn garbage_of_one_source_delays_no_other() {
    let gate = Arc::new(Gate::default());
    let mut bench = Bench::new(&pool(1, Suite::Ed25519));
    assert!(bench.desk.verify(1, Class::Client, gated(&[good()], &gate), 0));
    for index in 1..=1000 {
        assert!(bench.desk.verify(1, Class::Client, free(&[good().spoiled()]), index));
    }
    assert!(bench.desk.verify(2, Class::Client, free(&[good()]), 2000));
    gate.open();
    let order = bench.order();
    assert_eq!(order.len(), 1002);
    assert!(order.iter().position(|context| *context == 2000).unwrap() <= 2, "{:?}", &order[..5]);
}

#[test]
fn a_body_of_many_claims_gives_way_between_its_chunks() {
    let gate = Arc::new(Gate::default());
    let mut bench = Bench::new(&pool(1, Suite::Ed25519));
    assert!(bench.desk.verify(1, Class::Client, gated(&vec![good(); 400], &gate), 1));
    assert!(bench.desk.verify(2, Class::Client, free(&[good()]), 2));
    gate.open();
    assert_eq!(bench.order(), [2, 1]);
    assert_eq!(bench.desk.counters().0, 401);
}

#[test]
fn seals_go_first_but_not_for_ever() {
    let gate = Arc::new(Gate::default());
    let mut bench = Bench::new(&pool(1, Suite::Ed25519));
    assert!(bench.desk.verify(1, Class::Seal, gated(&[good()], &gate), 0));
    assert!(bench.desk.verify(2, Class::Client, free(&[good()]), 1000));
    for index in 1..=100 {
        assert!(bench.desk.verify(1, Class::Seal, free(&[good()]), index));
    }
    gate.open();
    let order = bench.order();
    let client = order.iter().position(|context| *context == 1000).unwrap();
    assert!((10..40).contains(&client), "{client}");
}

#[test]
fn a_bad_claim_stops_the_rest() {
    let mut batch = vec![good(); 400];
    batch[0] = good().spoiled();
    for (threads, at_most) in [(0, 1), (1, 16), (2, 32)] {
        let mut bench = Bench::new(&pool(threads, Suite::Ed25519));
        assert!(bench.desk.verify(0, Class::Client, Batch(batch.clone()), 0));
        assert_eq!(bench.verdict().1.unwrap_err().signer, replica(0));
        let (verifications, ..) = bench.desk.counters();
        assert!((1..=at_most).contains(&verifications), "{verifications} with {threads} threads");
    }
}

#[test]
fn only_successes_are_remembered_and_only_if_asked() {
    let seal = good().remembered();
    for threads in [0, 2] {
        let mut bench = Bench::new(&pool(threads, Suite::Ed25519));
        let mut judge = |own: &Own| {
            let before = bench.desk.counters();
            assert!(bench.desk.verify(0, Class::Seal, Batch(vec![own.clone()]), 0));
            let is_good = bench.verdict().1.is_ok();
            let after = bench.desk.counters();
            (is_good, after.0 - before.0, after.2 - before.2)
        };
        assert_eq!(judge(&seal.spoiled()), (false, 1, 0));
        assert_eq!(judge(&seal.spoiled()), (false, 1, 0));
        assert_eq!(judge(&seal), (true, 1, 0));
        assert_eq!(judge(&seal), (true, 0, 1));
        assert_eq!(judge(&seal.spoiled()), (false, 1, 0));
        assert_eq!(judge(&Own { content: Digest::ZERO, ..seal.clone() }), (false, 1, 0));
        assert_eq!(judge(&Own { signer: replica(1), ..seal.clone() }), (false, 1, 0));
        assert_eq!(judge(&good()), (true, 1, 0), "not asked to");
    }
}

#[test]
fn remembered_claims_of_a_message_are_left_out() {
    let own = |content| Own::new(Suite::Ed25519, replica(0), content).remembered();
    for threads in [0, 2] {
        let mut bench = Bench::new(&pool(threads, Suite::Ed25519));
        assert!(bench.desk.verify(0, Class::Seal, Batch(vec![own("b"), own("d")]), 0));
        assert!(bench.verdict().1.is_ok());
        assert!(bench.desk.verify(0, Class::Seal, Batch(["a", "b", "c", "d", "e"].map(own).to_vec()), 0));
        assert!(bench.verdict().1.is_ok());
        assert_eq!(bench.desk.counters(), (5, 0, 2));
        assert!(bench.desk.verify(0, Class::Seal, Batch(vec![own("a"), own("f").spoiled(), own("g")]), 0));
        assert!(bench.verdict().1.is_err());
        assert!(bench.desk.verify(0, Class::Seal, Batch(vec![own("e"), own("c")]), 0));
        assert!(bench.verdict().1.is_ok());
        assert_eq!(bench.desk.counters(), (6, 0, 5));
    }
}

#[test]
fn one_seal_under_way_is_verified_once_for_its_source() {
    for seal in [good().remembered(), good().remembered().spoiled()] {
        let gate = Arc::new(Gate::default());
        let mut bench = Bench::new(&pool(1, Suite::Ed25519));
        for pillar in 0..4 {
            assert!(bench.desk.verify(7, Class::Seal, gated(std::slice::from_ref(&seal), &gate), pillar));
        }
        assert!(bench.desk.verify(8, Class::Seal, gated(std::slice::from_ref(&seal), &gate), 4));
        assert!(bench.desk.verify(7, Class::Client, gated(std::slice::from_ref(&seal), &gate), 5));
        assert_eq!(bench.desk.pending(), 6);
        gate.open();
        let verdicts: Vec<_> = (0..6).map(|_| bench.verdict()).collect();
        let signature_is_good = seal == good().remembered();
        assert!(verdicts.iter().all(|(_, verdict)| verdict.is_ok() == signature_is_good));
        assert!((0..6).all(|pillar| verdicts.iter().any(|(context, _)| *context == pillar)));
        assert_eq!(bench.desk.counters(), (3, 0, 3));
        assert_eq!(bench.desk.pending(), 0);
    }
}

#[test]
fn a_full_source_is_refused_and_others_are_not() {
    let gate = Arc::new(Gate::default());
    let mut bench = Bench::new(&pool(1, Suite::Ed25519));
    assert!(bench.desk.verify(1, Class::Client, gated(&[good()], &gate), 0));
    let empty = Own { signature: Default::default(), ..good() };
    let accepted = (0..DESK_MESSAGES_MAX)
        .filter(|_| bench.desk.verify(1, Class::Client, free(std::slice::from_ref(&empty)), 1))
        .count();
    assert_eq!(accepted, DESK_MESSAGES_MAX / 2 - 1);
    assert!(bench.desk.verify(2, Class::Client, free(&[good()]), 2));
    assert!(bench.desk.verify(1, Class::Seal, free(&[good()]), 3));
    gate.open();
    assert_eq!(bench.order().len(), DESK_MESSAGES_MAX / 2 + 2);
    assert!(bench.desk.verify(1, Class::Client, free(&[good()]), 4));
    assert_eq!(bench.order(), [4]);
}

#[test]
fn inline_results_are_bounded_too() {
    let mut bench = Bench::new(&pool(0, Suite::Ed25519));
    let empty = Batch(vec![Own { signature: Default::default(), ..good() }]);
    let accepted =
        (0..DESK_MESSAGES_MAX + 9).filter(|_| bench.desk.verify(1, Class::Client, empty.clone(), 1)).count();
    assert_eq!((accepted, bench.desk.pending()), (DESK_MESSAGES_MAX, DESK_MESSAGES_MAX));
    assert!(bench.desk.finished().is_some());
    assert!(bench.desk.verify(1, Class::Client, empty, 1));
}

#[test]
fn signatures_come_back_under_their_tickets() {
    for (suite, threads) in [(Suite::Rsa2048, 2), (Suite::Rsa2048, 0), (Suite::Ed25519, 1)] {
        let mut bench = Bench::<Batch>::new(&pool(threads, suite));
        let content = |ticket: u64| Digest([ticket.to_le_bytes()[0]; 32]);
        let count = if threads == 0 { 5 } else { 300 };
        (0..count).for_each(|ticket| bench.desk.sign(Tag::Handshake, content(ticket), ticket));
        assert_eq!(bench.desk.pending(), usize::try_from(count).unwrap());
        let keyring = keyring(suite);
        let mut tickets = Vec::new();
        while bench.desk.pending() > 0 {
            let Finished::Signed { ticket, signature } = bench.next() else { panic!("only signed") };
            let (tag, signer) = (Tag::Handshake, replica(0));
            let claim = Claim {
                tag,
                signer,
                content: content(ticket),
                proof: Proof::Signature(&signature),
                remember: false,
            };
            assert!(keyring.holds(&claim));
            tickets.push(ticket);
        }
        tickets.sort_unstable();
        assert!(tickets.into_iter().eq(0..count));
        assert_eq!(bench.desk.counters(), (0, count, 0));
    }
}

#[test]
fn cheap_suites_sign_on_the_callers_thread() {
    let mut bench = Bench::<Batch>::new(&pool(1, Suite::Ed25519));
    bench.desk.sign(Tag::Seal, Digest::ZERO, 1);
    assert!(matches!(bench.desk.finished(), Some(Finished::Signed { ticket: 1, .. })));
    assert!(bench.wakes.try_recv().is_err());
}

#[test]
fn a_worker_may_leave_with_work_under_way() {
    let gate = Arc::new(Gate::default());
    let pool = pool(2, Suite::Ed25519);
    let mut leaving = Bench::new(&pool);
    for index in 0..100 {
        assert!(leaving.desk.verify(0, Class::Seal, gated(&vec![good(); 10], &gate), index));
    }
    let mut staying = Bench::new(&pool);
    assert!(staying.desk.verify(0, Class::Seal, free(&[good()]), 7));
    drop((leaving, pool));
    gate.open();
    assert_eq!(staying.order(), [7]);
}
