#![allow(clippy::unwrap_used)]

mod fake;

use std::time::{Duration, Instant};

use fake::{Behaviour, FakeCluster, copy};
use hypostyle_app_api::{ClientId, Number, ReplicaId};
use hypostyle_crypto::{Identity, Signer};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn client(cluster: &FakeCluster) -> Client {
    Client::connect(&cluster.config, ClientId(0), copy(&cluster.client_keys[0]), None)
        .unwrap()
        .with_deadline(PATIENCE)
}

#[test]
fn calls_resolve_to_results() {
    let cluster = FakeCluster::start(4, 2, &[Behaviour::Honest; 4]);
    let client = client(&cluster);
    assert_eq!(client.call_blocking("hello").unwrap(), "hello");
    let pending: Vec<_> = (0..500).map(|index| client.send(index.to_string())).collect();
    for (index, operation) in pending.into_iter().enumerate() {
        assert_eq!(operation.wait().unwrap(), index.to_string());
    }
    let large = vec![7; 5_000];
    assert_eq!(client.call_blocking(large.clone()).unwrap(), large);
}

#[test]
fn calls_work_under_an_executor_and_from_clones() {
    let cluster = FakeCluster::start(4, 1, &[Behaviour::Honest; 4]);
    let client = client(&cluster);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|index| {
            let client = client.clone();
            runtime.spawn(async move { client.call(format!("{index}")).await.unwrap() })
        })
        .collect();
    for (index, task) in tasks.into_iter().enumerate() {
        assert_eq!(runtime.block_on(task).unwrap(), index.to_string());
    }
}

#[test]
fn a_liar_a_forger_and_a_silent_primary_are_outvoted() {
    let liar =
        FakeCluster::start(4, 1, &[Behaviour::Liar, Behaviour::Honest, Behaviour::Honest, Behaviour::Honest]);
    assert_eq!(client(&liar).call_blocking("truth").unwrap(), "truth");
    let forger = FakeCluster::start(
        4,
        1,
        &[Behaviour::Honest, Behaviour::Forger, Behaviour::Honest, Behaviour::Honest],
    );
    let forged = client(&forger);
    (0..20).for_each(|_| assert_eq!(forged.call_blocking("truth").unwrap(), "truth"));
    let silent = FakeCluster::start(
        4,
        1,
        &[Behaviour::Silent, Behaviour::Honest, Behaviour::Honest, Behaviour::Honest],
    );
    assert_eq!(client(&silent).call_blocking("truth").unwrap(), "truth", "after the timeout, to all");
}

#[test]
fn an_operation_is_executed_once_however_often_it_is_sent() {
    let cluster = FakeCluster::start(4, 1, &[Behaviour::AnswersLate; 4]);
    let client = client(&cluster);
    let pending: Vec<_> = (0..20).map(|_| client.send("once")).collect();
    pending.into_iter().for_each(|operation| assert_eq!(operation.wait().unwrap(), "once"));
    assert_eq!(cluster.executed(), [20; 4]);
    let received = cluster.received();
    assert!(received >= 20 * 3, "sent to the primary, then again to at least f+1: {received}");
}

#[test]
fn past_its_deadline_an_operation_can_be_waited_for_on() {
    let cluster = FakeCluster::start(4, 1, &[Behaviour::AnswersLate; 4]);
    let client = client(&cluster).with_deadline(Duration::from_millis(20));
    let Err(CallError::OutcomeUnknown(unresolved)) = client.call_blocking("slow") else {
        panic!("in no time?")
    };
    assert!(unresolved.to_string().contains("safe to retry"), "{unresolved}");
    let pending = unresolved.resume().unwrap();
    assert_eq!(pending.wait_timeout(PATIENCE).unwrap().unwrap(), "slow");
    assert_eq!(cluster.executed(), [1; 4]);
}

#[test]
fn without_a_cluster_the_error_says_why_and_dropping_ends_the_thread() {
    let cluster = FakeCluster::start(4, 1, &[Behaviour::Honest; 4]);
    let (config, key) = (cluster.config.clone(), copy(&cluster.client_keys[0]));
    drop(cluster);
    let client = Client::connect(&config, ClientId(0), key, None).unwrap();
    let begin = Instant::now();
    let error = client.with_deadline(Duration::from_millis(300)).call_blocking("?").unwrap_err();
    assert!(error.to_string().contains("0 of 4 connections are up; replica 0: "), "{error}");
    assert!(begin.elapsed() < PATIENCE);
    let left = client.send("left behind");
    drop(client);
    assert!(matches!(left.wait(), Err(CallError::OutcomeUnknown(_) | CallError::NotSent(NotSent::Closed))));
}

#[test]
fn more_than_two_windows_are_refused_not_queued() {
    let cluster = FakeCluster::start(4, 1, &[Behaviour::Silent; 4]);
    let client = Client::connect(&cluster.config, ClientId(0), copy(&cluster.client_keys[0]), None).unwrap();
    let window = cluster.config.client_window as usize;
    let kept: Vec<_> = (0..2 * window).map(|_| client.send("")).collect();
    assert!(matches!(client.send("").wait(), Err(CallError::NotSent(NotSent::Busy(_)))));
    drop(kept);
}

#[test]
fn too_large_an_operation_is_not_sent() {
    let cluster = FakeCluster::start(4, 1, &[Behaviour::Honest; 4]);
    let client = client(&cluster);
    let error = client.call_blocking(vec![0; cluster.config.request_max]).unwrap_err();
    assert!(matches!(error, CallError::NotSent(NotSent::TooLarge { .. })), "{error}");
    assert_eq!(client.call_blocking("small").unwrap(), "small", "and others go on");
}

#[test]
fn a_client_needs_its_own_key() {
    let cluster = FakeCluster::start(4, 1, &[Behaviour::Honest; 4]);
    let connect = |id, key: usize| {
        Client::connect(&cluster.config, ClientId(id), copy(&cluster.client_keys[key]), None).map(drop)
    };
    assert!(matches!(connect(0, 1), Err(OpenError::Driver(DriverError::WrongKey(ClientId(0))))));
    assert!(matches!(connect(9, 0), Err(OpenError::Driver(DriverError::NotRegistered(..)))));
}

/// Two of four are silent, so the forger's word would settle it.
#[test]
fn a_forged_reply_is_refused_counted_and_costs_the_connection() {
    let behaviours = [Behaviour::Forger, Behaviour::Honest, Behaviour::Silent, Behaviour::Silent];
    let cluster = FakeCluster::start(4, 1, &behaviours);
    let key = copy(&cluster.client_keys[0]);
    let registration = Registration { client: ClientId(0), key, first: Number(1) };
    let mut driver = Driver::new(&cluster.config, vec![registration]).unwrap();
    driver.submit(0, &[b"op"]).unwrap();
    let begin = Instant::now();
    // The second time it has connected anew.
    while driver.counters().refusals.values().sum::<u64>() < 2 {
        driver.turn(Some(PATIENCE)).unwrap();
        assert_eq!(driver.settled().count(), 0);
        assert!(begin.elapsed() < PATIENCE, "{:?}", driver.counters());
    }
    let refusals = driver.counters().refusals;
    assert!(refusals.keys().all(|key| *key == (0, "a reply with a wrong signature")), "{refusals:?}");
    assert_eq!(driver.troubles().collect::<Vec<_>>(), [(ReplicaId(0), "a reply with a wrong signature")]);
}

#[test]
fn requests_signed_ahead_are_driven_as_they_are() {
    let cluster = FakeCluster::start(4, 2, &[Behaviour::Honest; 4]);
    let key = || copy(&cluster.client_keys[0]);
    let domain = cluster.config.domain();
    let identity = Identity::new(Signer::Client(ClientId(0)), key(), domain);
    let settings = ClientSettings::of(&cluster.config);
    let registration = Registration { client: ClientId(0), key: key(), first: Number(1) };
    let mut driver = Driver::new(&cluster.config, vec![registration]).unwrap();
    let (count, mut completed) = (2 * settings.client_window, 0);
    let begin = Instant::now();
    while completed < count {
        while driver.core(0).next_number().0 <= count && driver.core(0).room() > 0 {
            let number = driver.core(0).next_number();
            let floor = settings.floor_ahead(Number(1), number);
            let request = encode_request(&identity, ClientId(0), number, floor, &[b"ahead"]);
            assert_eq!(driver.submit_signed(0, request), Ok(number));
        }
        driver.turn(Some(PATIENCE)).unwrap();
        for settled in driver.settled() {
            assert_eq!(settled.completion.result.unwrap(), "ahead");
            completed += 1;
        }
        assert!(begin.elapsed() < PATIENCE, "{completed} {:?}", driver.counters());
    }
    assert_eq!(driver.counters().authenticated, 0);
}

/// What the load generator does: many clients on one thread, each with several operations outstanding.
#[test]
fn one_driver_runs_many_clients() {
    let cluster = FakeCluster::start(4, 2, &[Behaviour::Honest; 4]);
    let registration = |(id, key): (u32, &hypostyle_crypto::SigningKey)| Registration {
        client: ClientId(id),
        key: copy(key),
        first: Number(1),
    };
    let clients = (0..).zip(&cluster.client_keys).map(registration).collect();
    let mut driver = Driver::new(&cluster.config, clients).unwrap();
    let (each, outstanding) = (50, 5);
    let mut submitted = vec![0; driver.clients()];
    let mut completed = vec![0; driver.clients()];
    let begin = Instant::now();
    while completed.iter().any(|count| *count < each) {
        for client in 0..driver.clients() {
            while submitted[client] < each && submitted[client] - completed[client] < outstanding {
                driver.submit(client, &[b"op"]).unwrap();
                submitted[client] += 1;
            }
        }
        driver.turn(Some(PATIENCE)).unwrap();
        for settled in driver.settled() {
            assert_eq!(settled.completion.result.unwrap(), "op");
            completed[settled.client] += 1;
        }
        assert!(begin.elapsed() < PATIENCE, "{completed:?} {:?}", driver.counters());
    }
    let counters = driver.counters();
    assert_eq!(counters.authenticated, 50 * cluster.client_keys.len() as u64);
    assert!(counters.refusals.is_empty(), "{counters:?}");
    assert_eq!(driver.connections().0, driver.connections().1);
}
