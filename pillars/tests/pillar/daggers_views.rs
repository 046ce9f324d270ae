//! The rules of protocol.md about views and restarts that are marked †, as far as pillars keep them. Each test fails
//! without its rule.

use std::sync::Arc;

use hypostyle_app_api::{PillarId, ReplicaId, Seq, Timestamp, View};
use hypostyle_pillars::message::{
    Body, Kind, Leave, Message, PeerFrame, Prepared, SealedBundle, Status, ViewChange, WantedBody,
};
use hypostyle_pillars::{Admission, Config, Input, Rejected};

use crate::cluster::Cluster;
use crate::fixture::{MS, body_frame, bundle_frame, config};
use crate::forge::{
    bare, certificate, change_frame, frames_to, leave, new_view, new_view_frame, prepared, said, status,
    view_change,
};

const P0: PillarId = PillarId(0);

/// Replica `at` enters `view`, whose primary is played by the test, with these VIEW-CHANGEs.
fn begin(cluster: &mut Cluster, at: u16, view: u64, changes: &[Arc<ViewChange>]) {
    let primary = cluster.config.primary(View(view)).0;
    let new_view = new_view(&cluster.keys, primary, view, changes);
    cluster.inject(primary, at, 0, new_view_frame(&new_view));
    for change in changes {
        if cluster.admit(primary, at, 0, &change_frame(change)) == Admission::Verify {
            cluster.inject(primary, at, 0, change_frame(change));
        }
    }
}

fn is_in(cluster: &Cluster, at: u16, view: u64) -> bool {
    let progress = cluster.pillar(at, 0).progress();
    (progress.view, progress.active) == (View(view), true)
}

/// Slot 1 is prepared at replica 3, in view 0, whose primary is played by the test; nobody else has all of it.
fn prepared_at_3(body: impl Fn(&Cluster) -> Body) -> (Cluster, Body) {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down = [0, 1, 2].map(ReplicaId).into();
    let body = body(&cluster);
    cluster.inject(0, 3, 0, body_frame(&body));
    let certificate = certificate(&cluster.keys, &cluster.config, &[1, 2], prepared(1, 0, body.digest()));
    certificate.iter().for_each(|bundle| cluster.inject(bundle.signer().0, 3, 0, bundle_frame(bundle)));
    cluster.run();
    assert_eq!(cluster.said(ReplicaId(3), Kind::Commit), 1);
    (cluster, body)
}

fn one_body(cluster: &Cluster) -> Body {
    cluster.keys.body(Timestamp(1), &[1])
}

/// The last VIEW-CHANGE that replica 3 made.
fn last_change(cluster: &Cluster) -> Arc<ViewChange> {
    let frames = cluster.heard.iter().filter(|e| e.frame[0] == PeerFrame::VIEW_CHANGE);
    let last = frames.last().expect("it left");
    match PeerFrame::decode(&last.frame, &cluster.config.frame_limits()) {
        Ok(PeerFrame::Message(Message::ViewChange(change))) => change,
        other => panic!("{other:?}"),
    }
}

/// "it survives later view changes until a checkpoint covers it†". Views 1 and 2 begin without replica 3's word and choose
/// nothing; for view 3 it must still say what it knows, for it may have been decided.
#[test]
fn what_was_prepared_is_told_in_every_later_view_change() {
    let (mut cluster, body) = prepared_at_3(one_body);
    for view in 1..=2 {
        let changes: Vec<_> = [0, 1, 2].map(|id| bare(&cluster.keys, id, view)).into();
        begin(&mut cluster, 3, view, &changes);
        assert!(is_in(&cluster, 3, view));
    }
    for signer in [0, 1] {
        let change = change_frame(&bare(&cluster.keys, signer, 3));
        cluster.inject(signer, 3, 0, change);
    }
    cluster.run();
    let told = last_change(&cluster);
    assert_eq!((told.view(), told.prepared()), (View(3), &[prepared(1, 0, body.digest())][..]));
}

/// "a body this replica has sent Prepare for is kept until stable†": in view 3 another replica's word brings the slot back,
/// and only replica 3 has the body.
#[test]
fn a_body_that_was_prepared_is_kept_over_view_changes() {
    let (mut cluster, body) = prepared_at_3(one_body);
    for view in 1..=2 {
        let changes: Vec<_> = [0, 1, 2].map(|id| bare(&cluster.keys, id, view)).into();
        begin(&mut cluster, 3, view, &changes);
        // Something else takes the place meanwhile.
        let other = cluster.keys.body(Timestamp(2 + view), &[2]);
        let primary = cluster.config.primary(View(view)).0;
        let proposal = said(&cluster.keys, primary, Kind::Propose, view, 1, other.digest());
        cluster.inject(primary, 3, 0, body_frame(&other));
        cluster.inject(primary, 3, 0, bundle_frame(&proposal));
    }
    cluster.heard.clear();
    cluster.down.remove(&ReplicaId(2));
    cluster.pass(100 * MS);
    let wanted = vec![WantedBody { seq: Seq(1), digest: body.digest() }];
    cluster.wire.clear();
    cluster.step(ReplicaId(3), P0, Input::Status(ReplicaId(2), Status { wanted, ..status(2) }));
    assert!(frames_to(&cluster, 2, PeerFrame::BODY).contains(&body_frame(&body)));
}

/// Who leaves view 0 with this certificate.
fn with_slot(cluster: &Cluster, signer: u16, view: u64, slot: Prepared) -> Arc<ViewChange> {
    let bundles: Vec<Arc<SealedBundle>> = certificate(&cluster.keys, &cluster.config, &[1, 2], slot);
    view_change(&cluster.keys, &leave(signer, view), &[slot], &bundles)
}

/// "bodies chosen by a NEW-VIEW are never refused for time†": 2f+1 with fast clocks may have decided it.
#[test]
fn a_body_from_the_future_that_a_new_view_chose_is_prepared_at_once() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down = [0, 1, 2].map(ReplicaId).into();
    let body = cluster.keys.body(cluster.now.wall + 3_600_000 * MS, &[1]);
    let changes = [
        bare(&cluster.keys, 0, 1),
        bare(&cluster.keys, 1, 1),
        with_slot(&cluster, 2, 1, prepared(1, 0, body.digest())),
    ];
    begin(&mut cluster, 3, 1, &changes);
    let proposal = said(&cluster.keys, 1, Kind::Propose, 1, 1, body.digest());
    cluster.inject(1, 3, 0, body_frame(&body));
    cluster.inject(1, 3, 0, bundle_frame(&proposal));
    assert_eq!(cluster.said(ReplicaId(3), Kind::Prepare), 1);
    // Any other has to wait.
    let later = cluster.keys.body(cluster.now.wall + 3_600_000 * MS, &[2]);
    let proposal = said(&cluster.keys, 1, Kind::Propose, 1, 2, later.digest());
    cluster.inject(1, 3, 0, body_frame(&later));
    cluster.inject(1, 3, 0, bundle_frame(&proposal));
    assert_eq!(cluster.said(ReplicaId(3), Kind::Prepare), 1);
}

/// "the only ones there in this view†": at and below the highest slot that it chose, its primary proposes nothing else.
#[test]
fn in_the_slots_of_a_new_view_nothing_else_is_proposed_before_or_after_it() {
    for early in [false, true] {
        let mut cluster = Cluster::new(config(4, 1));
        cluster.down = [0, 1, 2].map(ReplicaId).into();
        let [kept, other] = [1, 2].map(|n| cluster.keys.body(Timestamp(n), &[n]));
        let changes = [
            bare(&cluster.keys, 0, 1),
            bare(&cluster.keys, 1, 1),
            with_slot(&cluster, 2, 1, prepared(2, 0, kept.digest())),
        ];
        // Replica 3 has left too, and waits.
        changes[..2].iter().for_each(|c| cluster.inject(c.signer().0, 3, 0, change_frame(c)));
        assert!(!is_in(&cluster, 3, 1));
        let propose = |cluster: &mut Cluster| {
            for seq in [1, 2] {
                let proposal = said(&cluster.keys, 1, Kind::Propose, 1, seq, other.digest());
                cluster.inject(1, 3, 0, bundle_frame(&proposal));
            }
            if cluster.admit(1, 3, 0, &body_frame(&other)) == Admission::Verify {
                cluster.inject(1, 3, 0, body_frame(&other));
            }
        };
        if early {
            propose(&mut cluster);
        }
        begin(&mut cluster, 3, 1, &changes);
        assert!(is_in(&cluster, 3, 1));
        if !early {
            propose(&mut cluster);
        }
        cluster.settle_for(200 * MS);
        // Prepared is the empty body in the gap, which needs no word of the primary.
        assert_eq!(cluster.said(ReplicaId(3), Kind::Prepare), 1, "early: {early}");
    }
}

/// "A new primary uses a VIEW-CHANGE only once it holds the bodies it needs": it would propose what nobody can execute.
#[test]
fn a_new_primary_begins_when_it_has_the_bodies() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(0));
    let body = one_body(&cluster);
    let slot = prepared(1, 0, body.digest());
    let changes =
        [bare(&cluster.keys, 0, 1), with_slot(&cluster, 2, 1, slot), with_slot(&cluster, 3, 1, slot)];
    changes.iter().for_each(|c| cluster.inject(c.signer().0, 1, 0, change_frame(c)));
    cluster.seal(ReplicaId(1));
    assert!(!is_in(&cluster, 1, 1));
    assert_eq!(cluster.admit(3, 1, 0, &body_frame(&body)), Admission::Verify, "asked for");
    cluster.inject(3, 1, 0, body_frame(&body));
    assert!(is_in(&cluster, 1, 1));
}

/// "the latest is kept per pillar, with the VIEW-CHANGEs it names†". Those who made them are gone.
#[test]
fn a_laggard_enters_a_view_with_what_any_one_other_replica_kept() {
    let mut cluster = Cluster::new(config(7, 1));
    cluster.down.insert(ReplicaId(0));
    cluster.isolated.insert(ReplicaId(6));
    cluster.submit_to_all(&cluster.keys.lone(0, 1));
    cluster.settle_for(2000 * MS);
    assert!(is_in(&cluster, 5, 1));
    cluster.down.extend([1, 2, 3, 4].map(ReplicaId));
    cluster.isolated.clear();
    cluster.reconnect();
    cluster.settle_for(600 * MS);
    assert!(is_in(&cluster, 6, 1));
    assert!(cluster.has_executed(ReplicaId(6), 0, 1));
}

/// "A recovering replica makes no statement, no VIEW-CHANGE, no NEW-VIEW†": it has forgotten what it said.
#[test]
fn a_replica_that_has_forgotten_says_nothing() {
    let mut cluster = Cluster::new(Config { batch_max: 1, ..config(4, 1) });
    cluster.step(ReplicaId(1), P0, Input::Voting(false));
    for number in 1..=5 {
        cluster.submit_to_all(&cluster.keys.lone(0, number));
        cluster.run();
    }
    assert_eq!(cluster.frontier(1, 0), 5, "it listens");
    // Now there is a primary to blame, and a view of which it would be primary.
    cluster.down.insert(ReplicaId(0));
    cluster.submit_to_all(&cluster.keys.lone(0, 6));
    cluster.settle_for(1000 * MS);
    for kind in [Kind::Propose, Kind::Prepare, Kind::Commit, Kind::Checkpoint] {
        assert_eq!(cluster.said(ReplicaId(1), kind), 0, "{kind:?}");
    }
    let own = |e: &&crate::cluster::Envelope| e.from == ReplicaId(1) && e.frame[0] >= PeerFrame::VIEW_CHANGE;
    assert_eq!(cluster.heard.iter().filter(own).count(), 0);
}

/// "refuses that replica's older VIEW-CHANGEs, inside NEW-VIEWs too" (†: it has forgotten its VIEW-CHANGEs).
#[test]
fn a_view_change_of_before_the_amnesia_counts_nowhere() {
    let mut cluster = Cluster::new(config(4, 1));
    let old = bare(&cluster.keys, 2, 1);
    let renewed = view_change(&cluster.keys, &Leave { incarnation: 1, ..leave(2, 1) }, &[], &[]);
    // It was there before the others learnt of the recovery.
    cluster.inject(2, 3, 0, change_frame(&old));
    cluster.step(ReplicaId(3), P0, Input::Incarnation(ReplicaId(2), 1));
    assert_eq!(cluster.admit(2, 3, 0, &change_frame(&old)), Admission::Drop(Rejected::Redundant));
    cluster.inject(0, 3, 0, change_frame(&bare(&cluster.keys, 0, 1)));
    assert_eq!(cluster.pillar(3, 0).view(), View(0), "one has left, not two");
    let changes = [bare(&cluster.keys, 0, 1), bare(&cluster.keys, 1, 1), old];
    begin(&mut cluster, 3, 1, &changes);
    assert!(!is_in(&cluster, 3, 1));
    let changes = [changes[0].clone(), changes[1].clone(), renewed];
    begin(&mut cluster, 3, 1, &changes);
    assert!(is_in(&cluster, 3, 1));
}

/// The same, when the NEW-VIEW was complete before the recovery was executed.
#[test]
fn a_primary_uses_no_view_change_of_before_the_amnesia() {
    let mut cluster = Cluster::new(config(4, 1));
    for signer in [0, 2] {
        let change = change_frame(&bare(&cluster.keys, signer, 1));
        cluster.inject(signer, 1, 0, change);
    }
    cluster.step(ReplicaId(1), P0, Input::Incarnation(ReplicaId(2), 1));
    cluster.seal(ReplicaId(1));
    assert!(!is_in(&cluster, 1, 1));
    cluster.inject(3, 1, 0, change_frame(&bare(&cluster.keys, 3, 1)));
    assert!(is_in(&cluster, 1, 1));
}

/// "highest view wins": only that can have been decided.
#[test]
fn of_two_prepared_digests_that_of_the_higher_view_is_proposed_again() {
    let [old, late] = [1, 2].map(|n| Cluster::new(config(4, 1)).keys.body(Timestamp(n), &[n]).digest());
    for (lower, higher) in [(old, late), (late, old)] {
        let mut cluster = Cluster::new(config(4, 1));
        let changes = [
            with_slot(&cluster, 0, 5, prepared(1, 0, lower)),
            bare(&cluster.keys, 1, 5),
            with_slot(&cluster, 2, 5, prepared(1, 4, higher)),
        ];
        begin(&mut cluster, 3, 5, &changes);
        assert!(is_in(&cluster, 3, 5));
        let propose = |cluster: &mut Cluster, digest| {
            let proposal = said(&cluster.keys, 1, Kind::Propose, 5, 1, digest);
            cluster.inject(1, 3, 0, bundle_frame(&proposal));
            cluster.rejected.pop()
        };
        assert_eq!(propose(&mut cluster, lower), Some(Rejected::Equivocation));
        assert_eq!(propose(&mut cluster, higher), None);
    }
}
