use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hypostyle::status::ReplicaStatus;

use crate::agreement::Executed;
use crate::counters::Counters;
use crate::evaluate::Mode;

/// A status is a few KiB; anything longer is none.
const STATUS_MAX: u64 = 16 << 20;

/// Asks a replica's admin listener for its status.
pub(crate) fn fetch(admin: SocketAddr, timeout: Duration) -> anyhow::Result<ReplicaStatus> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(timeout)).build().into();
    let mut response = agent.get(format!("http://{admin}/status")).call()?;
    let text = response.body_mut().with_config().limit(STATUS_MAX).read_to_string()?;
    Ok(serde_json::from_str(&text)?)
}

/// A replica's counters.
pub(crate) fn counters(status: &ReplicaStatus) -> Counters {
    Counters {
        executed: status.execution.executed_operations,
        values: status.counters.clone(),
        threads: BTreeMap::new(),
    }
}

/// How far a replica has executed, and to what state.
pub(crate) fn executed(status: &ReplicaStatus) -> Executed {
    let execution = &status.execution;
    Executed {
        positions: execution.executed_position,
        operations: execution.executed_operations,
        state_round: execution.state_round,
        digest: execution.state_digest.clone(),
    }
}

/// The threads that the replicas chose; they all have the same machine and flags.
pub(crate) fn mode(statuses: &[ReplicaStatus]) -> Mode {
    let mode = statuses.first().map(|status| status.mode.clone()).unwrap_or_default();
    Mode { workers: mode.workers.into(), executor: mode.executor, crypto_threads: mode.crypto_threads.into() }
}

/// The highest view that any replica has reached, summed over the pillars: each began in view 0.
pub(crate) fn view_changes(statuses: &[ReplicaStatus]) -> u64 {
    let pillars = statuses.iter().map(|status| status.pillars.len()).max().unwrap_or(0);
    let highest = |pillar: usize| {
        let views = statuses.iter().filter_map(|status| status.pillars.get(pillar));
        views.map(|pillar| pillar.view).max().unwrap_or(0)
    };
    (0..pillars).map(highest).sum()
}

/// What was refused, for a person: a run that goes wrong often shows why here.
pub(crate) fn refusals(statuses: &[ReplicaStatus]) -> String {
    let mut text = String::new();
    for status in statuses {
        for (what, count) in status.refusals.iter().filter(|(_, count)| **count > 0).take(REFUSALS_SHOWN) {
            text.push_str(&format!("\n  replica {} refused {count} times: {what}", status.replica));
        }
    }
    text
}

const REFUSALS_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use hypostyle::status::PillarStatus;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    fn status(views: &[u64]) -> ReplicaStatus {
        let pillars = views.iter().map(|&view| PillarStatus { view, ..PillarStatus::default() }).collect();
        ReplicaStatus { pillars, ..ReplicaStatus::default() }
    }

    #[test]
    fn view_changes_are_those_of_the_replica_that_saw_most() {
        assert_eq!(view_changes(&[status(&[0, 2]), status(&[1, 1])]), 3);
        assert_eq!(view_changes(&[status(&[0, 0])]), 0);
        assert_eq!(view_changes(&[]), 0);
    }

    #[test]
    fn a_status_is_read_from_an_http_listener() {
        let mut told = status(&[7]);
        told.refusals.insert("client 3: bad signature".into(), 2);
        let body = serde_json::to_string(&told).expect("serializes");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().expect("a client");
            let _ = connection.read(&mut [0; 4096]).expect("a request");
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            connection.write_all(format!("{head}{body}").as_bytes()).expect("answered");
        });
        let fetched = fetch(address, Duration::from_secs(30)).expect("a status");
        server.join().expect("served");
        assert_eq!(fetched, told);
        assert!(refusals(&[fetched]).contains("2 times: client 3: bad signature"));
        assert!(fetch(address, Duration::from_millis(300)).is_err(), "nobody listens any more");
    }
}
