//! What a replica keeps is bounded by the window, the pipeline and the queues.

use hypostyle::config::ClusterConfig;
use hypostyle_app_api::{ReplicaId, Round};
use hypostyle_pillars::Progress;

use super::{Check, violated};

pub(super) fn check(
    cluster: &ClusterConfig,
    replica: ReplicaId,
    progress: &Progress,
    stable: Round,
) -> Check {
    let window = u64::from(cluster.window);
    let over = |what: &str, value: u64, most: u64| match value > most {
        true => violated(
            "bounds",
            format!("replica {replica}, pillar {}: {what} {value}, at most {most}", progress.pillar),
        ),
        false => Ok(()),
    };
    // A pillar keeps up to four windows above what is executed where the merge lies behind. `stable` is the highest
    // anywhere: who takes over a state skips what lies below it.
    over("decided", progress.decided_high.0, stable.0 + 4 * window)?;
    let operations = u64::from(cluster.client_window) * 2 * cluster.clients.len() as u64;
    // What each backup has passed on, its part of a batch and less than a request more.
    let passed = u64::from(cluster.batch_max) + cluster.n() as u64 * u64::from(cluster.request_operations);
    // What waits at a backup, four batches at most, may long be executed: a laggard can't know.
    over("queued", progress.queued, operations + passed + 4 * u64::from(cluster.batch_max))
}
