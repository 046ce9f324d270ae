//! VIEW-CHANGEs and NEW-VIEWs that a Byzantine replica signs with its own key: refused by their structure, before any RSA,
//! or without effect.

use std::sync::Arc;

use hypostyle_app_api::{Digest, PillarId, ReplicaId, Round, Seq, Timestamp, View};
use hypostyle_pillars::message::{Body, Kind, Leave, Message, PeerFrame, Prepared, SealedBundle, Statement};
use hypostyle_pillars::{Admission, Rejected};

use crate::cluster::Cluster;
use crate::fixture::{body_frame, bundle_frame, config};
use crate::forge::{
    bare, certificate, change_frame, leave, naming, new_view, new_view_frame, prepared, proof, said,
    view_change,
};

const D: Digest = Digest([7; 32]);
const E: Digest = Digest([8; 32]);

fn cluster() -> Cluster {
    Cluster::new(config(4, 1))
}

/// Why a VIEW-CHANGE of replica 3 for view 2 is refused.
fn refused(
    cluster: &Cluster,
    leave: &Leave,
    slots: &[Prepared],
    bundles: &[Arc<SealedBundle>],
) -> &'static str {
    let change = view_change(&cluster.keys, leave, slots, bundles);
    let verdict = PeerFrame::decode(&change_frame(&change), &cluster.config.frame_limits());
    verdict.map(|_| ()).unwrap_err().what
}

/// The same for one slot in the window and the bundles that are to prove it.
fn refused_proof(cluster: &Cluster, slot: Prepared, bundles: &[Arc<SealedBundle>]) -> &'static str {
    refused(cluster, &leave(3, 2), &[slot], bundles)
}

fn sound(cluster: &Cluster, slot: Prepared) -> Vec<Arc<SealedBundle>> {
    certificate(&cluster.keys, &cluster.config, &[2, 3], slot)
}

const NO_CERTIFICATE: &str = "a prepared slot without certificate";
const NO_PROOF: &str = "a stable checkpoint without proof";
const FOR_NOTHING: &str = "a bundle that proves nothing";
const OUT_OF_ORDER: &str = "a prepared slot out of order, window or view";

#[test]
fn a_sound_view_change_decodes() {
    let cluster = cluster();
    let slots = [prepared(1, 0, D), prepared(2, 1, E)];
    let mut bundles = sound(&cluster, slots[0]);
    bundles.extend(certificate(&cluster.keys, &cluster.config, &[0, 2], slots[1]));
    let change = view_change(&cluster.keys, &leave(3, 2), &slots, &bundles);
    assert_eq!(cluster.admit(3, 0, 0, &change_frame(&change)), Admission::Verify);
}

#[test]
fn a_certificate_of_fewer_than_2f_prepares_is_refused() {
    let cluster = cluster();
    let slot = prepared(1, 0, D);
    assert_eq!(refused_proof(&cluster, slot, &[]), NO_CERTIFICATE);
    let one = certificate(&cluster.keys, &cluster.config, &[2], slot);
    assert_eq!(refused_proof(&cluster, slot, &one), NO_CERTIFICATE);
    assert_eq!(refused_proof(&cluster, slot, &sound(&cluster, slot)[1..]), NO_CERTIFICATE, "no Propose");
}

#[test]
fn one_signer_counts_once_however_often_it_says_it() {
    let cluster = cluster();
    let slot = prepared(1, 0, D);
    let twice = certificate(&cluster.keys, &cluster.config, &[2, 2], slot);
    assert_eq!(refused_proof(&cluster, slot, &twice), "a bundle listed twice");
    // The same statement in two bundles that differ.
    let again = [slot.seq, Seq(9)].map(|seq| Statement {
        kind: Kind::Prepare,
        pillar: PillarId(0),
        view: View(0),
        seq,
        digest: D,
    });
    let mut bundles = certificate(&cluster.keys, &cluster.config, &[2], slot);
    bundles.push(Arc::new(cluster.keys.bundle(ReplicaId(2), PillarId(0), &again)));
    assert_eq!(refused_proof(&cluster, slot, &bundles), NO_CERTIFICATE);
}

#[test]
fn prepares_for_another_digest_view_or_slot_prove_nothing() {
    let cluster = cluster();
    let slot = prepared(1, 0, D);
    for other in [prepared(1, 0, E), prepared(1, 4, D), prepared(2, 0, D)] {
        let mut bundles = sound(&cluster, slot);
        bundles[2] = Arc::clone(&sound(&cluster, other)[2]);
        assert_eq!(refused_proof(&cluster, slot, &bundles), FOR_NOTHING);
    }
}

#[test]
fn a_propose_for_another_digest_proves_nothing() {
    let cluster = cluster();
    let slot = prepared(1, 0, D);
    let mut bundles = sound(&cluster, slot);
    bundles[0] = Arc::clone(&sound(&cluster, prepared(1, 0, E))[0]);
    assert_eq!(refused_proof(&cluster, slot, &bundles), FOR_NOTHING);
}

#[test]
fn a_commit_is_no_prepare_and_a_prepare_no_propose() {
    let cluster = cluster();
    let slot = prepared(1, 0, D);
    let mut bundles = sound(&cluster, slot);
    bundles[2] = said(&cluster.keys, 3, Kind::Commit, 0, 1, D);
    assert_eq!(refused_proof(&cluster, slot, &bundles), FOR_NOTHING);
    let prepares: Vec<_> = [1, 2, 3].map(|id| said(&cluster.keys, id, Kind::Prepare, 0, 1, D)).into();
    assert_eq!(refused_proof(&cluster, slot, &prepares), NO_CERTIFICATE);
}

#[test]
fn a_certificate_of_another_pillar_proves_nothing() {
    let cluster = Cluster::new(config(4, 2));
    let slot = prepared(1, 0, D);
    let statement =
        |kind| Statement { kind, pillar: PillarId(1), view: View(0), seq: Seq(1), digest: slot.digest };
    let of =
        |signer: u16, kind| Arc::new(cluster.keys.bundle(ReplicaId(signer), PillarId(1), &[statement(kind)]));
    let bundles = [of(1, Kind::Propose), of(2, Kind::Prepare), of(3, Kind::Prepare)];
    assert_eq!(refused_proof(&cluster, slot, &bundles), FOR_NOTHING);
    // Nor does a whole VIEW-CHANGE of another pillar count.
    let change = view_change(&cluster.keys, &Leave { pillar: PillarId(1), ..leave(3, 2) }, &[slot], &bundles);
    let verdict = cluster.admit(3, 0, 0, &change_frame(&change));
    assert_eq!(verdict, Admission::Drop(Rejected::WrongPillar));
}

#[test]
fn slots_outside_the_window_twice_or_of_the_wanted_view_are_refused() {
    let cluster = cluster();
    let refused = |slots: &[Prepared]| refused(&cluster, &leave(3, 2), slots, &[]);
    for seq in [0, 17, 1 << 63, u64::MAX] {
        assert_eq!(refused(&[prepared(seq, 0, D)]), OUT_OF_ORDER, "{seq}");
    }
    assert_eq!(refused(&[prepared(2, 0, D), prepared(1, 0, D)]), OUT_OF_ORDER);
    assert_eq!(refused(&[prepared(2, 0, D), prepared(2, 0, E)]), OUT_OF_ORDER);
    assert_eq!(refused(&[prepared(1, 2, D)]), OUT_OF_ORDER);
    assert_eq!(refused(&[prepared(1, u64::MAX, D)]), OUT_OF_ORDER);
    let many: Vec<_> = (1..=17).map(|seq| prepared(seq, 0, D)).collect();
    assert_eq!(refused(&many), "more prepared slots than the window");
}

#[test]
fn a_checkpoint_that_is_not_proved_moves_nothing() {
    let cluster = cluster();
    let at = |round, digest| Leave { stable: Round(round), stable_digest: digest, ..leave(3, 2) };
    assert_eq!(refused(&cluster, &at(4, D), &[], &[]), NO_PROOF);
    assert_eq!(refused(&cluster, &at(1 << 62, D), &[], &[]), NO_PROOF);
    let two = proof(&cluster.keys, &[2, 3], 4, D);
    assert_eq!(refused(&cluster, &at(4, D), &[], &two), NO_PROOF);
    let other = proof(&cluster.keys, &[1, 2, 3], 4, E);
    assert_eq!(refused(&cluster, &at(4, D), &[], &other), FOR_NOTHING);
    let earlier = proof(&cluster.keys, &[1, 2, 3], 8, D);
    assert_eq!(refused(&cluster, &at(4, D), &[], &earlier), FOR_NOTHING);
    let thrice = proof(&cluster.keys, &[3, 3, 3], 4, D);
    assert_eq!(refused(&cluster, &at(4, D), &[], &thrice), "a bundle listed twice");
    for (round, digest) in [(5, D), (4, Digest::ZERO), (0, D)] {
        let verdict = refused(&cluster, &at(round, digest), &[], &[]);
        assert_eq!(verdict, "no checkpoint after such a round");
    }
}

#[test]
fn a_view_change_of_nobody_or_for_view_0_is_refused() {
    let cluster = cluster();
    let forged = |leave: Leave| {
        let change = view_change(&cluster.keys, &leave, &[], &[]);
        let mut bytes = change_frame(&change).to_vec();
        bytes[1] = 9;
        let verdict = PeerFrame::decode(&bytes.into(), &cluster.config.frame_limits());
        verdict.map(|_| ()).unwrap_err().what
    };
    assert_eq!(forged(leave(3, 1)), "unknown signer, or view 0");
    assert_eq!(refused(&cluster, &leave(3, 0), &[], &[]), "unknown signer, or view 0");
    // The seal of one replica under the name of another.
    let change = view_change(&cluster.keys, &leave(3, 1), &[], &[]);
    let mut bytes = change_frame(&change).to_vec();
    bytes[1] = 2;
    let verdict = PeerFrame::decode(&bytes.into(), &cluster.config.frame_limits()).unwrap_err();
    assert_eq!(verdict.what, "the seal covers something else");
}

#[test]
fn a_new_view_names_2f_1_different_replicas_and_is_its_primarys() {
    let cluster = cluster();
    let refused = |signer: u16, view: u64, names: &[u16]| {
        let names = names.iter().map(|id| (ReplicaId(*id), D)).collect();
        let new_view = naming(&cluster.keys, signer, view, names);
        PeerFrame::decode(&new_view_frame(&new_view), &cluster.config.frame_limits())
            .err()
            .map(|error| error.what)
    };
    let names = Some("not the VIEW-CHANGEs of 2f+1 replicas");
    assert_eq!(refused(1, 1, &[0, 1, 2]), None);
    for wrong in [&[][..], &[1], &[0, 1], &[0, 1, 2, 3], &[1, 1, 1], &[0, 1, 1], &[2, 1, 0], &[0, 1, 9]] {
        assert_eq!(refused(1, 1, wrong), names, "{wrong:?}");
    }
    for (signer, view) in [(2, 1), (1, 2), (0, 0), (1, u64::MAX)] {
        assert_eq!(refused(signer, view, &[0, 1, 2]), Some("not of the view's primary"), "{view}");
    }
    let none = naming(&cluster.keys, 1, 1, Vec::new());
    assert!(PeerFrame::decode(&new_view_frame(&none), &cluster.config.frame_limits()).is_err());
    // A count that promises more than follows.
    let mut bytes = new_view_frame(&none).to_vec();
    bytes[1 + 12..1 + 14].fill(0xff);
    assert!(PeerFrame::decode(&bytes.into(), &cluster.config.frame_limits()).is_err());
}

/// Replica 1, played by the test, begins view 1 at replica 3 with `changes`.
fn begin(cluster: &mut Cluster, changes: &[Arc<hypostyle_pillars::message::ViewChange>]) {
    let new_view = new_view(&cluster.keys, 1, 1, changes);
    cluster.inject(1, 3, 0, new_view_frame(&new_view));
    for change in changes {
        if cluster.admit(1, 3, 0, &change_frame(change)) == Admission::Verify {
            cluster.inject(1, 3, 0, change_frame(change));
        }
    }
    cluster.seal(ReplicaId(3));
}

fn propose(cluster: &mut Cluster, seq: u64, body: &Body) {
    let proposal = said(&cluster.keys, 1, Kind::Propose, 1, seq, body.digest());
    if !body.is_empty() && cluster.admit(1, 3, 0, &body_frame(body)) == Admission::Verify {
        cluster.inject(1, 3, 0, body_frame(body));
    }
    cluster.inject(1, 3, 0, bundle_frame(&proposal));
    cluster.seal(ReplicaId(3));
}

fn is_in_view_1(cluster: &Cluster) -> bool {
    let progress = cluster.pillar(3, 0).progress();
    (progress.view, progress.active) == (View(1), true)
}

#[test]
fn a_new_view_on_view_changes_for_another_view_begins_nothing() {
    let mut cluster = cluster();
    cluster.down.insert(ReplicaId(1));
    for wrong in [2, 5] {
        let view = |id: u16| if id == 2 { wrong } else { 1 };
        let changes: Vec<_> = [0, 1, 2].map(|id| bare(&cluster.keys, id, view(id))).into();
        begin(&mut cluster, &changes);
        assert!(!is_in_view_1(&cluster));
    }
    let alien = Leave { pillar: PillarId(1), ..leave(2, 1) };
    let alien = view_change(&cluster.keys, &alien, &[], &[]);
    let changes = [bare(&cluster.keys, 0, 1), bare(&cluster.keys, 1, 1), alien];
    begin(&mut cluster, &changes);
    assert!(!is_in_view_1(&cluster));
    let changes = [0, 1, 2].map(|id| bare(&cluster.keys, id, 1));
    begin(&mut cluster, &changes);
    assert!(is_in_view_1(&cluster), "it is the view that was wrong");
}

/// Slot 2 was prepared; slot 1 is a gap. The new primary proposes something else.
#[test]
fn a_proposal_that_differs_from_what_the_new_view_chose_is_not_prepared() {
    let template = cluster();
    let [kept, other] = [1, 2].map(|n| template.keys.body(Timestamp(n), &[n]));
    let slot = prepared(2, 0, kept.digest());
    let changes = [
        bare(&template.keys, 0, 1),
        bare(&template.keys, 1, 1),
        view_change(&template.keys, &leave(2, 1), &[slot], &sound(&template, slot)),
    ];
    let mut cluster = template;
    cluster.down.insert(ReplicaId(1));
    begin(&mut cluster, &changes);
    assert!(is_in_view_1(&cluster));
    let empty = Body::empty();
    for (seq, body) in [(1, &other), (2, &other), (2, &empty)] {
        propose(&mut cluster, seq, body);
        assert_eq!(cluster.rejected.pop(), Some(Rejected::Equivocation), "slot {seq}");
    }
    // What it had to propose, for the gap too, and what it is free to propose.
    for (seq, body) in [(1, &empty), (2, &kept), (3, &other)] {
        propose(&mut cluster, seq, body);
    }
    assert_eq!(cluster.said(ReplicaId(3), Kind::Prepare), 3);
    assert!(cluster.rejected.is_empty());
}

#[test]
fn nothing_is_proposed_at_or_below_the_checkpoint_of_a_new_view() {
    let template = cluster();
    let stable = Leave { stable: Round(8), stable_digest: D, ..leave(2, 1) };
    let changes = [
        bare(&template.keys, 0, 1),
        bare(&template.keys, 1, 1),
        view_change(&template.keys, &stable, &[], &proof(&template.keys, &[0, 1, 2], 8, D)),
    ];
    let mut cluster = template;
    cluster.down.insert(ReplicaId(1));
    begin(&mut cluster, &changes);
    let body = cluster.keys.body(Timestamp(1), &[1]);
    propose(&mut cluster, 8, &body);
    assert_eq!(cluster.said(ReplicaId(3), Kind::Prepare), 0);
    propose(&mut cluster, 9, &body);
    assert_eq!(cluster.said(ReplicaId(3), Kind::Prepare), 1);
}

#[test]
fn one_replica_that_leaves_for_ever_higher_views_moves_nobody_and_only_its_last_word_is_kept() {
    let mut cluster = cluster();
    let views: Vec<_> = (1..40).chain([1 << 40, u64::MAX - 1, u64::MAX]).collect();
    for view in &views {
        let change = bare(&cluster.keys, 3, *view);
        (0..3).for_each(|to| cluster.inject(3, to, 0, change_frame(&change)));
    }
    for view in views {
        let change = change_frame(&bare(&cluster.keys, 3, view));
        assert_eq!(cluster.admit(3, 0, 0, &change), Admission::Drop(Rejected::Redundant));
    }
    cluster.run();
    assert!((0..3).all(|at| cluster.pillar(at, 0).view() == View(0)));
    // Others pass nothing on in its name that nobody asked for.
    let change = change_frame(&bare(&cluster.keys, 3, 7));
    assert_eq!(cluster.admit(2, 0, 0, &change), Admission::Drop(Rejected::Unsolicited));
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.run();
    assert!((0..3).all(|at| cluster.has_executed(ReplicaId(at), 0, 1)));
}

#[test]
fn a_new_view_for_the_highest_view_begins_nothing_without_those_who_left_for_it() {
    let mut cluster = cluster();
    let view = u64::MAX - 2;
    assert_eq!(cluster.config.primary(View(view)), ReplicaId(1));
    let changes = [0, 1, 2].map(|id| bare(&cluster.keys, id, view));
    let new_view = new_view(&cluster.keys, 1, view, &changes);
    cluster.inject(1, 3, 0, new_view_frame(&new_view));
    cluster.inject(1, 3, 0, change_frame(&changes[1]));
    assert_eq!(cluster.pillar(3, 0).view(), View(0));
    // All of it signed: as high as a view may be, nothing overflows.
    for change in &changes {
        cluster.inject(1, 3, 0, change_frame(change));
    }
    assert_eq!(cluster.pillar(3, 0).view(), View(view));
    cluster.submit(3, cluster.keys.lone(0, 1));
    for _ in 0..40 {
        cluster.pass_deadline();
        cluster.seal(ReplicaId(3));
    }
    assert_eq!(cluster.pillar(3, 0).view(), View(view + 1));
}

#[test]
fn a_new_view_sealed_by_another_than_its_primary_is_refused() {
    let cluster = cluster();
    let own = naming(&cluster.keys, 1, 1, [0, 1, 2].map(|id| (ReplicaId(id), D)).to_vec());
    let mut bytes = new_view_frame(&own).to_vec();
    // The primary's name over the seal of replica 2.
    let other = naming(&cluster.keys, 2, 2, [0, 1, 2].map(|id| (ReplicaId(id), D)).to_vec());
    let tail = new_view_frame(&other);
    let content = 1 + 2 + 2 + 8 + 2 + 3 * 34;
    bytes.splice(content.., tail[content..].iter().copied());
    let verdict = PeerFrame::decode(&bytes.into(), &cluster.config.frame_limits());
    assert_eq!(verdict.unwrap_err().what, "the seal covers something else");
    // A seal that names the entry but whose signature is another's.
    let mut bytes = new_view_frame(&own).to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let Ok(PeerFrame::Message(message)) = PeerFrame::decode(&bytes.into(), &cluster.config.frame_limits())
    else {
        panic!("its structure is sound")
    };
    assert!(matches!(message, Message::NewView(_)));
    assert!(cluster.keys.keyring.verify(message).is_err());
}
