#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;
use crate::status::{ExecutionStatus, PartialStatus, PillarStatus};

/// A worker of one pillar that runs the executor too.
fn worker(peers: u16) -> Ask {
    Box::new(move |query| match query {
        Query::Status(answer) => {
            let pillars = vec![PillarStatus { peers, decided: 9, ..PillarStatus::default() }];
            let execution = Some(ExecutionStatus { executed_operations: 70, ..ExecutionStatus::default() });
            let counters = BTreeMap::from([("frames in".to_owned(), 5)]);
            let refusals = BTreeMap::from([("peer 2: bad \"seal\"".to_owned(), 3)]);
            answer.send(PartialStatus { pillars, execution, counters, refusals }).unwrap();
        }
        Query::OrderLog(answer) => {
            let digest = hypostyle_app_api::Digest([1; 32]);
            let entry = |position| OrderEntry {
                position,
                pillar: 0,
                view: 0,
                seq: position + 1,
                digest,
                requests: Vec::new(),
            };
            answer.send(vec![Arc::new(entry(0)), Arc::new(entry(1))]).unwrap();
        }
    })
}

/// What a real client gets from a real listener: status code and body.
fn fetch(asks: Vec<Ask>, path: &'static str) -> (u16, String) {
    let base = ReplicaStatus { replicas: 4, ..ReplicaStatus::default() };
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let client = std::thread::spawn(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.get(format!("http://{address}{path}")).call().unwrap();
        let answer = (response.status().as_u16(), response.body_mut().read_to_string().unwrap());
        stop.send(()).unwrap();
        answer
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stopped = async { stopped.await.unwrap_or_default() };
    runtime.block_on(serve(listener, Source::new(base, asks, 0), stopped)).unwrap();
    client.join().unwrap()
}

#[test]
fn status_merges_what_the_threads_tell() {
    let (code, body) = fetch(vec![worker(2), worker(2)], "/status");
    let status: ReplicaStatus = serde_json::from_str(&body).unwrap();
    assert_eq!((code, status.pillars.len(), status.execution.executed_operations), (200, 2, 70));
    assert_eq!((status.counters["frames in"], status.refusals["peer 2: bad \"seal\""]), (10, 6));
}

#[test]
fn the_order_log_is_an_array_with_a_line_an_entry() {
    let (code, body) = fetch(vec![worker(2)], "/order-log");
    let entries: Vec<OrderEntry> = serde_json::from_str(&body).unwrap();
    assert_eq!((code, entries.len(), entries[1].position), (200, 2, 1));
    assert_eq!(body.lines().count(), 4);
}

#[test]
fn metrics_tell_the_same_counters() {
    let (code, body) = fetch(vec![worker(2)], "/metrics");
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
    assert_eq!((code, body.as_str()), (503, "a thread of the replica did not answer within 2 s\n"));
    assert_eq!(fetch(vec![worker(2)], "/nothing").0, 404);
}

#[test]
fn only_loopback_is_listened_on() {
    let error = bind("0.0.0.0:0".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}
