//! Attacks on the change of views, and what was found by them.

use std::sync::Arc;

use hypostyle_app_api::{Digest, PillarId, ReplicaId, Seq, Timestamp, View};
use hypostyle_pillars::message::{Kind, Leave, Message, PeerFrame, Statement, WantedBody};
use hypostyle_pillars::{Admission, Config, Input, Rejected};

use crate::cluster::Cluster;
use crate::fixture::{MS, body_frame, bundle_frame, config, numbers_of, statement};
use crate::forge::{
    bare, certificate, change_frame, frames_to, leave, naming, new_view, new_view_frame, prepared, proof,
    said, status, view_change,
};

const P0: PillarId = PillarId(0);

/// The others than `at` leave pillar 0 for `view`, and `at` hears of it.
fn leave_without(cluster: &mut Cluster, at: u16, view: u64, leavers: &[u16]) {
    for signer in leavers {
        let change = bare(&cluster.keys, *signer, view);
        cluster.inject(*signer, at, 0, change_frame(&change));
    }
}

/// A primary fills the window with bodies that nobody may prepare yet; they don't outlive its view.
#[test]
fn a_body_that_was_never_prepared_is_not_kept_after_its_view() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(0));
    let bodies: Vec<_> = (1..=3).map(|n| cluster.keys.body(Timestamp(n), &[n])).collect();
    // Slot 1 may be prepared, slot 3 may not: there is a gap.
    for (seq, body) in [(1, &bodies[0]), (3, &bodies[2])] {
        let proposal = said(&cluster.keys, 0, Kind::Propose, 0, seq, body.digest());
        cluster.inject(0, 1, 0, body_frame(body));
        cluster.inject(0, 1, 0, bundle_frame(&proposal));
    }
    cluster.seal(ReplicaId(1));
    let changes: Vec<_> = [2, 3].map(|signer| bare(&cluster.keys, signer, 1)).into();
    changes.iter().for_each(|change| cluster.inject(change.signer().0, 1, 0, change_frame(change)));
    cluster.seal(ReplicaId(1));
    assert_eq!(cluster.pillar(1, 0).view(), View(1));
    cluster.wire.clear();
    cluster.pass(100 * MS);
    let wanted = [(1, &bodies[0]), (3, &bodies[2])]
        .map(|(seq, body)| WantedBody { seq: Seq(seq), digest: body.digest() });
    let status = hypostyle_pillars::message::Status { wanted: wanted.to_vec(), ..status(1) };
    cluster.step(ReplicaId(1), P0, Input::Status(ReplicaId(2), status));
    assert!(frames_to(&cluster, 2, PeerFrame::BODY).contains(&body_frame(&bodies[0])));
    assert!(!frames_to(&cluster, 2, PeerFrame::BODY).contains(&body_frame(&bodies[2])));
}

#[test]
fn who_asks_for_one_view_change_many_times_gets_it_once() {
    let mut cluster = Cluster::new(config(4, 1));
    let change = bare(&cluster.keys, 2, 1);
    cluster.inject(2, 1, 0, change_frame(&change));
    cluster.wire.clear();
    let mut status = status(0);
    status.wanted_changes = vec![change.digest(); 64];
    cluster.step(ReplicaId(1), P0, Input::Status(ReplicaId(3), status));
    assert_eq!(frames_to(&cluster, 3, PeerFrame::VIEW_CHANGE).len(), 1);
}

/// VIEW-CHANGEs are large: no more of them than of anything else goes into one answer.
#[test]
fn an_answer_holds_a_bounded_number_of_view_changes() {
    let mut cluster = Cluster::new(Config { window: 64, ..config(4, 1) });
    let digest = Digest([7; 32]);
    let slots: Vec<_> = (1..=64).map(|seq| prepared(seq, 0, digest)).collect();
    let mut bundles = Vec::new();
    for seq in 1..=64 {
        for (signer, kind) in [(0, Kind::Propose), (2, Kind::Prepare), (3, Kind::Prepare)] {
            // One statement that proves something and as many others as fit.
            let about = |seq| Statement { kind, pillar: P0, view: View(0), seq: Seq(seq), digest };
            let said: Vec<_> = std::iter::once(seq).chain(100..163).map(about).collect();
            bundles.push(Arc::new(cluster.keys.bundle(ReplicaId(signer), P0, &said)));
        }
    }
    let mut status = status(0);
    let mut changes = Vec::new();
    for (signer, view) in (0..4).flat_map(|signer| [(signer, 5), (signer, 9)]) {
        changes.push(view_change(&cluster.keys, &leave(signer, view), &slots, &bundles));
        status.wanted_changes.push(changes.last().unwrap().digest());
    }
    // Two NEW-VIEWs that name them make a laggard keep them.
    for (view, of) in [(5, [0, 2, 4]), (9, [1, 3, 5])] {
        let named = of.map(|index: usize| Arc::clone(&changes[index]));
        let new_view = new_view(&cluster.keys, 1, view, &named);
        cluster.inject(1, 3, 0, new_view_frame(&new_view));
        named.iter().for_each(|change| cluster.inject(2, 3, 0, change_frame(change)));
    }
    cluster.pass(100 * MS);
    cluster.wire.clear();
    let length = change_frame(&changes[0]).len();
    assert!(length > 1 << 19, "{length}");
    cluster.step(ReplicaId(3), P0, Input::Status(ReplicaId(2), status));
    let sent = frames_to(&cluster, 2, PeerFrame::VIEW_CHANGE);
    assert!((1..=2).contains(&sent.len()), "{} of {length} bytes", sent.len());
}

/// A laggard waits for the VIEW-CHANGEs that the latest NEW-VIEW names. A liar sends it an old one of the same primary.
#[test]
fn an_old_new_view_does_not_displace_a_later_one() {
    let mut cluster = Cluster::new(config(4, 1));
    let changes = |view| [0, 1, 2].map(|signer| bare(&cluster.keys, signer, view));
    let (old, late) = (changes(1), changes(5));
    let [old_view, late_view] =
        [(1, &old), (5, &late)].map(|(view, changes)| new_view(&cluster.keys, 1, view, changes));
    cluster.inject(1, 3, 0, new_view_frame(&late_view));
    cluster.inject(0, 3, 0, new_view_frame(&old_view));
    for change in &late {
        cluster.inject(2, 3, 0, change_frame(change));
    }
    let progress = cluster.pillar(3, 0).progress();
    assert_eq!((progress.view, progress.active), (View(5), true));
}

#[test]
fn a_view_change_for_another_view_than_the_new_view_that_names_it_is_not_verified() {
    let mut cluster = Cluster::new(config(4, 1));
    let other = bare(&cluster.keys, 0, 6);
    let mut names = vec![(other.signer(), other.digest())];
    names.extend([1, 2].map(|id| (ReplicaId(id), Digest([id.to_le_bytes()[0]; 32]))));
    let new_view = naming(&cluster.keys, 1, 5, names);
    cluster.inject(1, 3, 0, new_view_frame(&new_view));
    let verdict = cluster.admit(2, 3, 0, &change_frame(&other));
    assert_eq!(verdict, Admission::Drop(Rejected::Unsolicited));
}

#[test]
fn one_who_must_not_speak_waits_for_no_new_view() {
    let mut cluster = Cluster::new(config(4, 1));
    leave_without(&mut cluster, 3, 1, &[0, 2]);
    cluster.seal(ReplicaId(3));
    assert!(!cluster.pillar(3, 0).progress().active);
    cluster.step(ReplicaId(3), P0, Input::Voting(false));
    for _ in 0..20 {
        let Some(deadline) = cluster.pillar(3, 0).next_deadline() else { break };
        let wait = deadline.since(cluster.now.instant);
        cluster.pass(wait);
        let next = cluster.pillar(3, 0).next_deadline();
        assert!(next.is_none_or(|next| next > cluster.now.instant), "it spins");
    }
}

#[test]
fn one_who_may_speak_again_joins_those_who_left_meanwhile() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.step(ReplicaId(3), P0, Input::Voting(false));
    leave_without(&mut cluster, 3, 1, &[0, 2]);
    assert_eq!(cluster.pillar(3, 0).view(), View(0));
    cluster.step(ReplicaId(3), P0, Input::Voting(true));
    assert_eq!(cluster.pillar(3, 0).view(), View(1));
}

/// The new primary is far behind; of those who left, the last one it hears of knows the checkpoint and what is prepared
/// above it.
fn a_primary_that_lags_takes_part(stable: u64, transferring: bool) {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(0));
    let body = cluster.keys.body(Timestamp(1), &[1]);
    let slot = prepared(stable + 1, 0, body.digest());
    let (round, state) = (hypostyle_app_api::Round(stable), Digest([4; 32]));
    let mut bundles = proof(&cluster.keys, &[0, 2, 3], stable, state);
    bundles.extend(certificate(&cluster.keys, &cluster.config, &[2, 3], slot));
    let informed = Leave { stable: round, stable_digest: state, ..leave(3, 1) };
    let informed = view_change(&cluster.keys, &informed, &[slot], &bundles);
    cluster.submit(1, cluster.keys.lone(0, 2));
    while cluster.pillar(1, 0).view() == View(0) {
        assert!(cluster.pass_deadline());
    }
    cluster.seal(ReplicaId(1));
    if transferring {
        cluster.step(ReplicaId(1), P0, Input::Transferring);
    }
    leave_without(&mut cluster, 1, 1, &[2]);
    cluster.inject(3, 1, 0, change_frame(&informed));
    // What it lacks for the slot it is sent.
    for _ in 0..20 {
        cluster.seal(ReplicaId(1));
        cluster.pass(20 * MS);
        if cluster.admit(2, 1, 0, &body_frame(&body)) == Admission::Verify {
            cluster.inject(2, 1, 0, body_frame(&body));
        }
    }
    for signer in [2, 3] {
        let prepare = said(&cluster.keys, signer, Kind::Prepare, 1, stable + 1, body.digest());
        cluster.inject(signer, 1, 0, bundle_frame(&prepare));
    }
    cluster.seal(ReplicaId(1));
    assert_eq!(cluster.said(ReplicaId(1), Kind::Commit), 1, "its word is needed");
}

#[test]
fn a_primary_that_lags_votes_above_the_checkpoint() {
    a_primary_that_lags_takes_part(24, false);
}

#[test]
fn a_primary_that_takes_its_state_from_others_begins_a_view_far_above() {
    a_primary_that_lags_takes_part(40, true);
}

/// What it waits for can't come: who had it has thrown it away, for it is behind the checkpoint.
#[test]
fn a_new_primary_waits_for_no_body_below_the_checkpoint() {
    let mut cluster = Cluster::new(config(4, 1));
    let digest = Digest([5; 32]);
    let slot = prepared(3, 0, digest);
    let bundles = certificate(&cluster.keys, &cluster.config, &[2, 3], slot);
    let change = view_change(&cluster.keys, &leave(2, 1), &[slot], &bundles);
    leave_without(&mut cluster, 1, 1, &[0]);
    cluster.inject(2, 1, 0, change_frame(&change));
    cluster.seal(ReplicaId(1));
    cluster.tick(ReplicaId(1));
    assert!(!cluster.pillar(1, 0).progress().active, "it lacks a body");
    let state = Digest([4; 32]);
    let proof: Arc<[_]> = proof(&cluster.keys, &[0, 2, 3], 4, state).into();
    let stable = hypostyle_pillars::Stable { round: hypostyle_app_api::Round(4), digest: state, proof };
    cluster.step(ReplicaId(1), P0, Input::Stable(stable));
    assert!(cluster.pillar(1, 0).progress().active, "now it doesn't");
}

/// Certificates are put together when a view ends: by then a liar has changed its mind twice.
#[test]
fn a_liar_cannot_take_back_its_share_of_a_prepared_certificate() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(0));
    let body = cluster.keys.body(Timestamp(1), &[1]);
    let proposal = said(&cluster.keys, 0, Kind::Propose, 0, 1, body.digest());
    cluster.inject(0, 1, 0, body_frame(&body));
    cluster.inject(0, 1, 0, bundle_frame(&proposal));
    cluster.seal(ReplicaId(1));
    let prepare = |cluster: &mut Cluster, digest| {
        let vote = said(&cluster.keys, 3, Kind::Prepare, 0, 1, digest);
        let verified = cluster.keys.keyring.verify(Message::Bundle((*vote).clone())).unwrap();
        // Whatever admission says: it may have been verified at the same time as the others.
        cluster.step(ReplicaId(1), P0, Input::Message(verified));
    };
    for digest in [Digest([1; 32]), body.digest(), Digest([2; 32]), Digest([3; 32])] {
        prepare(&mut cluster, digest);
    }
    cluster.seal(ReplicaId(1));
    assert_eq!(cluster.said(ReplicaId(1), Kind::Commit), 1);
    prepare(&mut cluster, Digest([4; 32]));
    leave_without(&mut cluster, 1, 1, &[2, 3]);
    prepare(&mut cluster, Digest([5; 32]));
    cluster.seal(ReplicaId(1));
    let change = cluster.wire.iter().find(|e| e.frame[0] == PeerFrame::VIEW_CHANGE).unwrap();
    let Ok(PeerFrame::Message(Message::ViewChange(change))) =
        PeerFrame::decode(&change.frame, &cluster.config.frame_limits())
    else {
        panic!("it proves what it says");
    };
    assert_eq!(change.prepared(), [prepared(1, 0, body.digest())]);
}

/// A primary proposes to another pillar's primary alone: that one fills its pipeline with empty slots for which nobody else
/// has a reason. What clients ask of it is ordered all the same.
fn empty_slots_without_a_reason(settings: &Config) {
    let mut cluster = Cluster::new(settings.clone());
    cluster.down.insert(ReplicaId(1));
    for (seq, number) in (1..=settings.pipeline).zip(numbers_of(settings, 0, 1)) {
        let body = cluster.keys.body(Timestamp(seq), &[number]);
        let proposal = statement(Kind::Propose, 1, seq, body.digest());
        let proposal = cluster.keys.bundle(ReplicaId(1), PillarId(1), &[proposal]);
        cluster.inject(1, 0, 1, body_frame(&body));
        cluster.inject(1, 0, 1, bundle_frame(&proposal));
    }
    cluster.run();
    let filled = cluster.pillar(0, 0).progress().in_flight;
    assert_eq!(filled, settings.pipeline.min(settings.window - 1));
    let number = numbers_of(settings, 2, 0).next().expect("some");
    let request = cluster.keys.lone(2, number);
    cluster.submit(0, request);
    cluster.run();
    for replica in [0, 2, 3] {
        assert_eq!((cluster.frontier(replica, 0), cluster.pillar(replica, 0).view()), (filled + 1, View(0)));
    }
}

#[test]
fn empty_slots_without_a_reason_elsewhere_block_no_pipeline() {
    empty_slots_without_a_reason(&config(4, 2));
}

#[test]
fn empty_slots_without_a_reason_elsewhere_fill_no_window() {
    empty_slots_without_a_reason(&Config { pipeline: 16, ..config(4, 2) });
}

/// f liars begin views on VIEW-CHANGEs that don't exist, with more names than one question holds.
#[test]
fn names_of_what_does_not_exist_crowd_out_no_name_of_what_does() {
    let mut cluster = Cluster::new(config(19, 1));
    let named = |signer: u8| -> Vec<_> {
        (0u8..13).map(|of| (ReplicaId(of.into()), Digest([signer * 16 + of; 32]))).collect()
    };
    for signer in 1u8..=7 {
        let signer_id = u16::from(signer);
        let begun = naming(&cluster.keys, signer_id, signer_id.into(), named(signer));
        cluster.inject(signer_id, 18, 0, new_view_frame(&begun));
    }
    cluster.wire.clear();
    cluster.step(ReplicaId(18), P0, Input::Connected(ReplicaId(0)));
    let frames = frames_to(&cluster, 0, PeerFrame::STATUS);
    let Ok(PeerFrame::Status(said)) = PeerFrame::decode(&frames[0], &cluster.config.frame_limits()) else {
        panic!("no status");
    };
    for signer in 1u8..=7 {
        let asked = named(signer).iter().any(|(_, digest)| said.wanted_changes.contains(digest));
        assert!(asked, "none of {signer}'s");
    }
}
