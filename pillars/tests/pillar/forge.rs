//! Declarations and certificates signed by whom a test says: all keys are here.

use std::sync::Arc;

use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId, ReplicaId, Round, Seq, View};
use hypostyle_pillars::message::{
    Kind, Leave, Message, NewView, NewViewContent, PeerFrame, Prepared, SealedBundle, Statement, Status,
    ViewChange, ViewChangeContent,
};
use hypostyle_pillars::{Config, Declaration, Declared};

use crate::cluster::Cluster;
use crate::fixture::{Keys, frame};

/// One statement of `signer` in pillar 0.
pub(crate) fn said(
    keys: &Keys,
    signer: u16,
    kind: Kind,
    view: u64,
    seq: u64,
    digest: Digest,
) -> Arc<SealedBundle> {
    let statement = Statement { kind, pillar: PillarId(0), view: View(view), seq: Seq(seq), digest };
    Arc::new(keys.bundle(ReplicaId(signer), PillarId(0), &[statement]))
}

/// Checkpoint statements of `signers`.
pub(crate) fn proof(keys: &Keys, signers: &[u16], round: u64, digest: Digest) -> Vec<Arc<SealedBundle>> {
    let statement = Statement::checkpoint(Round(round), digest);
    let bundle = |signer: &u16| Arc::new(keys.bundle(ReplicaId(*signer), PillarId(0), &[statement]));
    signers.iter().map(bundle).collect()
}

/// A Propose of the view's primary and Prepares of `preparers`.
pub(crate) fn certificate(
    keys: &Keys,
    config: &Config,
    preparers: &[u16],
    prepared: Prepared,
) -> Vec<Arc<SealedBundle>> {
    let Prepared { seq, view, digest } = prepared;
    let primary = config.primary(view).0;
    let mut bundles = vec![said(keys, primary, Kind::Propose, view.0, seq.0, digest)];
    bundles.extend(preparers.iter().map(|id| said(keys, *id, Kind::Prepare, view.0, seq.0, digest)));
    bundles
}

pub(crate) fn prepared(seq: u64, view: u64, digest: Digest) -> Prepared {
    Prepared { seq: Seq(seq), view: View(view), digest }
}

/// What `signer` says when it leaves pillar 0 for `view`, knowing no checkpoint.
pub(crate) fn leave(signer: u16, view: u64) -> Leave {
    Leave {
        signer: ReplicaId(signer),
        incarnation: 0,
        pillar: PillarId(0),
        view: View(view),
        stable: Round(0),
        stable_digest: Digest::ZERO,
        blocked: None,
    }
}

pub(crate) fn view_change(
    keys: &Keys,
    leave: &Leave,
    prepared: &[Prepared],
    bundles: &[Arc<SealedBundle>],
) -> Arc<ViewChange> {
    let content = ViewChangeContent::new(leave, prepared.to_vec(), bundles.to_vec());
    match keys.declared(leave.signer, Declaration::ViewChange(content)) {
        Declared::ViewChange(change) => change,
        Declared::NewView(_) => unreachable!(),
    }
}

/// A VIEW-CHANGE of one who has prepared nothing.
pub(crate) fn bare(keys: &Keys, signer: u16, view: u64) -> Arc<ViewChange> {
    view_change(keys, &leave(signer, view), &[], &[])
}

pub(crate) fn new_view(keys: &Keys, signer: u16, view: u64, changes: &[Arc<ViewChange>]) -> Arc<NewView> {
    let names = changes.iter().map(|change| (change.signer(), change.digest())).collect();
    naming(keys, signer, view, names)
}

/// A NEW-VIEW that names whatever a test says.
pub(crate) fn naming(keys: &Keys, signer: u16, view: u64, names: Vec<(ReplicaId, Digest)>) -> Arc<NewView> {
    let content = NewViewContent::new(ReplicaId(signer), PillarId(0), View(view), names);
    match keys.declared(ReplicaId(signer), Declaration::NewView(content)) {
        Declared::NewView(new_view) => new_view,
        Declared::ViewChange(_) => unreachable!(),
    }
}

pub(crate) fn change_frame(change: &ViewChange) -> Bytes {
    frame(PeerFrame::VIEW_CHANGE, change.bytes())
}

pub(crate) fn new_view_frame(new_view: &NewView) -> Bytes {
    frame(PeerFrame::NEW_VIEW, new_view.bytes())
}

/// A status of one who is in `view` and has nothing.
pub(crate) fn status(view: u64) -> Status {
    Status {
        view: View(view),
        active: true,
        stable: Round(0),
        frontier: Seq(0),
        accepted: Seq(0),
        wanted: vec![],
        wanted_changes: vec![],
    }
}

/// The frames on the wire to `to` of a type.
pub(crate) fn frames_to(cluster: &Cluster, to: u16, kind: u8) -> Vec<Bytes> {
    let wire = cluster.wire.iter();
    let fits = |e: &&crate::cluster::Envelope| e.to == ReplicaId(to) && e.frame[0] == kind;
    wire.filter(fits).map(|e| e.frame.clone()).collect()
}

/// Whether a frame holds a statement of this kind.
pub(crate) fn says(cluster: &Cluster, envelope: &crate::cluster::Envelope, kind: Kind) -> bool {
    let frame = PeerFrame::decode(&envelope.frame, &cluster.config.frame_limits());
    let Ok(PeerFrame::Message(Message::Bundle(bundle))) = frame else { return false };
    bundle.statements().iter().any(|statement| statement.kind == kind)
}

/// Requests to replica 0, each in a slot of its own as far as the pipeline has room: one is sealed before the next comes.
pub(crate) fn submit_apart(cluster: &mut Cluster, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        cluster.submit(0, cluster.keys.lone(0, number));
        cluster.seal(ReplicaId(0));
    }
}
