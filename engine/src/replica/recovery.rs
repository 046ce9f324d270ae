use hypostyle_app_api::ReplicaId;

use crate::node::RecoveryNews;
use crate::recovery::Phase;

/// Tells the operator how a recovery goes.
pub(super) fn report_recovery(me: ReplicaId, news: RecoveryNews) {
    match news {
        RecoveryNews::Until { incarnation, round } => {
            tracing::info!(replica = me.0, incarnation, %round, "its Recover was executed; it votes again once that round is stable and executed here");
        }
        RecoveryNews::Recovered { incarnation } => {
            tracing::info!(replica = me.0, incarnation, "recovered: it votes again");
        }
        RecoveryNews::Waiting { seconds, phase, recovering } => {
            let waits_for = waits_for(phase, 0);
            tracing::warn!(
                replica = me.0,
                known_to_recover = recovering,
                "recovering for {seconds} s, it still waits for {waits_for}; this takes 2f+1 replicas that vote: with more \
                 than f recovering or down at once the cluster stays stopped, and needs those that were not restarted, or a \
                 fresh start by `hypostyle init`"
            );
        }
    }
}

/// For the status: what keeps a replica from voting.
pub(super) fn waits_for(phase: Phase, incarnation: u64) -> String {
    match phase {
        Phase::Asking if incarnation > 0 => format!("its Recover (incarnation {incarnation}) to be ordered"),
        Phase::Asking => "its Recover to be ordered".to_owned(),
        Phase::Until(round) => format!("the checkpoint of round {round}"),
        Phase::Recovered => "nothing".to_owned(),
    }
}
