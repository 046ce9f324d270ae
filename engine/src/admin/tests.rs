#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;
use crate::status::{EvidenceStatus, ExecutionStatus, PartialStatus, PillarStatus};

type Thread = Box<dyn Fn(Query) + Send + Sync>;

struct Threads(Vec<Thread>);

impl StatusSource for Threads {
    fn ask_status(&self, detail: Detail) -> Vec<oneshot::Receiver<PartialStatus>> {
        self.0.iter().map(|thread| put(thread, |answer| Query::Status(detail, answer))).collect()
    }

    fn ask_order(&self) -> Vec<oneshot::Receiver<Vec<OrderEntry>>> {
        self.0.iter().map(|thread| put(thread, Query::OrderLog)).collect()
    }

    fn assemble(&self, parts: Vec<PartialStatus>) -> ReplicaStatus {
        let mut status = ReplicaStatus { replicas: 4, ..ReplicaStatus::default() };
        parts.into_iter().for_each(|part| status.merge(part));
        status
    }
}

fn put<T>(thread: &Thread, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> oneshot::Receiver<T> {
    let (answer, waiting) = oneshot::channel();
    thread(query(answer));
    waiting
}

/// A worker of one pillar.
fn worker(peers: u16) -> Thread {
    Box::new(move |query| {
        if let Query::Status(detail, answer) = query {
            let pillars = vec![PillarStatus { peers, decided: 9, ..PillarStatus::default() }];
            let counters = BTreeMap::from([("frames in".to_owned(), 5)]);
            let refusals = BTreeMap::from([("peer 2: bad \"seal\"".to_owned(), 3)]);
            let against = EvidenceStatus {
                replica: 2,
                what: "a second Commit".to_owned(),
                ..EvidenceStatus::default()
            };
            let evidence = if detail == Detail::Evidence { vec![against] } else { Vec::new() };
            let part = PartialStatus { pillars, counters, refusals, evidence, ..PartialStatus::default() };
            answer.send(part).unwrap();
        }
    })
}

fn executor() -> Thread {
    Box::new(|query| match query {
        Query::Status(_, answer) => {
            let execution = Some(ExecutionStatus { executed_operations: 70, ..ExecutionStatus::default() });
            answer.send(PartialStatus { execution, ..PartialStatus::default() }).unwrap();
        }
        Query::OrderLog(answer) => {
            let digest = hypostyle_app_api::Digest([1; 32]);
            let requests = Vec::new;
            let entry = |position| OrderEntry {
                position,
                pillar: 0,
                view: 0,
                seq: position + 1,
                digest,
                requests: requests(),
            };
            answer.send(vec![entry(0), entry(1)]).unwrap();
        }
    })
}

/// What a real client gets from a real listener: status code and body.
fn fetch(threads: Vec<Thread>, path: &str) -> (u16, String) {
    let server = AdminServer::start("127.0.0.1:0".parse().unwrap(), Arc::new(Threads(threads))).unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.get(format!("http://{}{path}", server.address())).call().unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

#[test]
fn status_merges_what_the_threads_tell() {
    let (code, body) = fetch(vec![worker(2), worker(2), executor()], "/status");
    let status: ReplicaStatus = serde_json::from_str(&body).unwrap();
    assert_eq!((code, status.pillars.len(), status.execution.executed_operations), (200, 2, 70));
    assert_eq!((status.counters["frames in"], status.refusals["peer 2: bad \"seal\""]), (10, 6));
}

#[test]
fn the_order_log_is_an_array_with_a_line_an_entry() {
    let (code, body) = fetch(vec![worker(2), executor()], "/order-log");
    let entries: Vec<OrderEntry> = serde_json::from_str(&body).unwrap();
    assert_eq!((code, entries.len(), entries[1].position), (200, 2, 1));
    assert_eq!(body.lines().count(), 4);
}

#[test]
fn evidence_comes_only_to_who_asks_for_it() {
    let (code, body) = fetch(vec![worker(2), executor()], "/evidence");
    let evidence: Vec<EvidenceStatus> = serde_json::from_str(&body).unwrap();
    assert_eq!((code, evidence.len(), evidence[0].replica), (200, 1, 2));
    assert!(!fetch(vec![worker(2), executor()], "/status").1.contains("a second"));
}

#[test]
fn metrics_tell_the_same_counters() {
    let (code, body) = fetch(vec![worker(2), executor()], "/metrics");
    assert_eq!(code, 200);
    for line in [
        "hypostyle_pillar_decided{pillar=\"0\"} 9",
        "hypostyle_executed_operations_total{replica=\"0\"} 70",
        "hypostyle_frames_in_total{replica=\"0\"} 5",
        "hypostyle_refusals_total{source=\"peer 2\",reason=\"bad \\\"seal\\\"\"} 3",
    ] {
        assert!(body.lines().any(|other| other == line), "{line} in\n{body}");
    }
    assert!(body.ends_with("# EOF\n"));
}

#[test]
fn readiness_is_links_to_a_quorum_in_every_pillar() {
    assert_eq!(fetch(vec![worker(2)], "/readyz"), (200, "ok\n".to_owned()));
    let (code, body) = fetch(vec![worker(1)], "/readyz?verbose");
    assert_eq!((code, body.as_str()), (503, "not ready\npillar 0: 1 of 3 links up\n"));
    assert_eq!(fetch(vec![worker(1)], "/livez"), (200, "ok\n".to_owned()));
}

#[test]
fn a_thread_that_drops_the_question_is_not_waited_for() {
    let (code, body) = fetch(vec![worker(2), Box::new(drop)], "/livez");
    assert_eq!((code, body.as_str()), (503, "a thread of the replica does not answer\n"));
    assert_eq!(fetch(vec![worker(2)], "/nothing").0, 404);
}

#[test]
fn the_server_ends_when_dropped_and_frees_its_port() {
    let source = || Arc::new(Threads(vec![worker(2)]));
    let server = AdminServer::start("127.0.0.1:0".parse().unwrap(), source()).unwrap();
    let address = server.address();
    assert_eq!(AdminServer::start(address, source()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(server);
    AdminServer::start(address, source()).unwrap();
}

#[test]
fn only_loopback_is_listened_on() {
    let error = AdminServer::start("0.0.0.0:0".parse().unwrap(), Arc::new(Threads(Vec::new()))).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}
