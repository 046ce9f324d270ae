//! Decided means 2f+1 Commits of distinct replicas, and a correct replica's Commit means a prepared certificate: both
//! derived from what was sent, not from what replicas hold.

use hypostyle::config::ClusterConfig;
use hypostyle_app_api::ReplicaId;
use hypostyle_pillars::message::{Kind, Prepared, Statement, ViewChange};
use hypostyle_pillars::{Decided, primary};

use super::history::{History, bit};
use super::{Check, name, violated};

/// A correct replica has said something.
pub(super) fn said(cluster: &ClusterConfig, history: &History, signer: ReplicaId, own: &Statement) -> Check {
    if own.kind != Kind::Commit {
        return Ok(());
    }
    if is_prepared(cluster, history, own) {
        return Ok(());
    }
    violated("certificates", format!("replica {signer} says {} without a prepared certificate", name(own)))
}

/// A correct replica has decided.
pub(super) fn decided(
    cluster: &ClusterConfig,
    history: &History,
    replica: ReplicaId,
    decided: &Decided,
) -> Check {
    let Decided { pillar, seq, view, .. } = *decided;
    let digest = decided.body.digest();
    let sent = history.about(pillar, seq, view, digest).map_or(0, |said| said.commits);
    let commit = Statement { kind: Kind::Commit, pillar, view, seq, digest };
    let holds = decided.certificate.iter().filter(|bundle| bundle.statements().contains(&commit));
    let held = holds.fold(0, |held, bundle| held | bit(bundle.signer()));
    if (held & sent).count_ones() as usize >= cluster.quorum() {
        return Ok(());
    }
    let what =
        format!("replica {replica} decides with the Commits {held:b} of {sent:b} sent: {}", name(&commit));
    violated("certificates", what)
}

/// A correct replica has left a view: what it proves to be prepared is.
pub(super) fn left(cluster: &ClusterConfig, history: &History, change: &ViewChange) -> Check {
    for slot in change.prepared() {
        let Prepared { seq, view, digest } = *slot;
        let commit = Statement { kind: Kind::Commit, pillar: change.pillar(), view, seq, digest };
        if !is_prepared(cluster, history, &commit) {
            let what =
                format!("replica {} leaves with a slot that wasn't prepared: {slot:?}", change.signer());
            return violated("certificates", what);
        }
    }
    Ok(())
}

/// Whether there is a prepared certificate for what a statement is about.
fn is_prepared(cluster: &ClusterConfig, history: &History, about: &Statement) -> bool {
    let Statement { pillar, view, seq, digest, .. } = *about;
    let leader = primary(cluster.leaders, n(cluster), pillar, view);
    history.about(pillar, seq, view, digest).is_some_and(|said| {
        let backups = (said.prepares & !bit(leader)).count_ones() as usize;
        said.proposes & bit(leader) != 0 && backups + 1 >= cluster.quorum()
    })
}

fn n(cluster: &ClusterConfig) -> u16 {
    u16::try_from(cluster.n()).expect("validated")
}
