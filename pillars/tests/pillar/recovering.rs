//! Replicas that lost their log: what others do for them, and what they must not do.

use hypostyle_app_api::{PillarId, ReplicaId, Seq, View};
use hypostyle_pillars::message::{Kind, PeerFrame, RECOVER_SPACING, Recover};
use hypostyle_pillars::{Admission, Demand, Input, Rejected, Source};

use crate::cluster::{Cluster, Envelope};
use crate::fixture::{MS, config, frame};
use crate::forge::{bare, change_frame, new_view, new_view_frame, says, submit_apart};

fn ask(cluster: &mut Cluster, from: u16, to: u16, recover: &Recover) {
    let pillar = recover.replica().0 % cluster.config.pillars;
    cluster.inject(from, to, pillar, frame(PeerFrame::RECOVER, recover.bytes()));
}

fn verdict(cluster: &Cluster, from: u16, to: u16, pillar: u16, recover: &Recover) -> Admission {
    cluster.admit(from, to, pillar, &frame(PeerFrame::RECOVER, recover.bytes()))
}

/// The Recovers that replica 0 saw decided.
fn ordered(cluster: &Cluster) -> Vec<Recover> {
    let decided = cluster.replicas[0].executor.decided.values();
    decided.flat_map(|decided| decided.body.recovers().to_vec()).collect()
}

/// As the executors tell once it took effect.
fn recovered(cluster: &mut Cluster, recover: &Recover) {
    for at in cluster.up() {
        for pillar in (0..cluster.config.pillars).map(PillarId) {
            cluster.step(at, pillar, Input::Incarnation(recover.replica(), recover.incarnation()));
        }
    }
}

#[test]
fn a_recover_is_ordered_without_any_request_and_all_pillars_keep_pace() {
    let mut cluster = Cluster::new(config(4, 2));
    cluster.down.insert(ReplicaId(3));
    let recover = cluster.keys.recover(3, 1, 7);
    ask(&mut cluster, 3, 1, &recover);
    cluster.run();
    assert_eq!(ordered(&cluster), [recover]);
    assert_eq!([cluster.frontier(0, 0), cluster.frontier(0, 1)], [1, 1]);
    assert_eq!(cluster.pillar(1, 1).recovers_pending(), 0);
}

#[test]
fn a_recover_at_a_backup_is_owed_and_passed_on() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.isolated.insert(ReplicaId(0));
    let recover = cluster.keys.recover(3, 1, 7);
    ask(&mut cluster, 3, 2, &recover);
    cluster.run();
    assert_eq!(cluster.pillar(2, 0).progress().owed, 1);
    cluster.isolated.clear();
    cluster.settle_for(cluster.config.view_timeout / 2);
    assert_eq!(ordered(&cluster), [recover], "reminded at half the timer");
    assert_eq!(cluster.pillar(2, 0).progress().owed, 0);
}

#[test]
fn it_goes_before_the_requests_that_wait() {
    let mut cluster = Cluster::new(config(4, 1));
    submit_apart(&mut cluster, 1..=9);
    let recover = cluster.keys.recover(3, 1, 7);
    ask(&mut cluster, 3, 0, &recover);
    cluster.run();
    let bodies: Vec<_> = cluster.replicas[0].executor.decided.values().map(|d| d.body.clone()).collect();
    let counts: Vec<_> = bodies.iter().map(|b| (b.operation_count(), b.recovers().len())).collect();
    assert_eq!(counts, [(1, 0), (1, 0), (1, 0), (1, 0), (0, 1), (5, 0)]);
}

#[test]
fn what_is_dropped_before_any_signature_is_checked() {
    let mut cluster = Cluster::new(config(4, 2));
    let drop = Admission::Drop;
    let recover = cluster.keys.recover(3, 1, 7);
    assert_eq!(verdict(&cluster, 2, 1, 1, &recover), Admission::Verify, "passed on by another");
    assert_eq!(verdict(&cluster, 3, 1, 0, &recover), drop(Rejected::WrongPillar));
    assert_eq!(verdict(&cluster, 2, 3, 1, &recover), drop(Rejected::Redundant), "its own");
    assert_eq!(verdict(&cluster, 3, 1, 1, &cluster.keys.recover(3, 2, 7)), drop(Rejected::OutsideWindow));
    let decoded =
        PeerFrame::decode(&frame(PeerFrame::RECOVER, recover.bytes()), &cluster.config.frame_limits());
    let Ok(PeerFrame::Message(message)) = decoded else { panic!("a recover") };
    let client = Source::Client(hypostyle_app_api::ClientId(0));
    assert_eq!(cluster.pillar(1, 1).admit(client, &message), drop(Rejected::Unsolicited));

    cluster.isolated.insert(ReplicaId(2));
    ask(&mut cluster, 3, 2, &recover);
    assert_eq!(
        verdict(&cluster, 3, 2, 1, &cluster.keys.recover(3, 1, 8)),
        drop(Rejected::Redundant),
        "one waits"
    );
    cluster.isolated.clear();
    ask(&mut cluster, 3, 1, &recover);
    cluster.run();
    recovered(&mut cluster, &recover);
    assert_eq!(verdict(&cluster, 3, 1, 1, &recover), drop(Rejected::Redundant), "a replay");
    assert_eq!(verdict(&cluster, 3, 1, 1, &cluster.keys.recover(3, 2, 8)), Admission::Verify);
}

#[test]
fn a_forged_recover_is_refused_and_a_body_with_another_pillars_is_not_prepared() {
    let mut cluster = Cluster::new(config(4, 2));
    let genuine = cluster.keys.recover(3, 1, 7);
    let forged = Recover::new(ReplicaId(2), 1, genuine.nonce(), &genuine.bytes()[28..]);
    cluster.inject(3, 0, 0, frame(PeerFrame::RECOVER, forged.bytes()));
    assert_eq!(cluster.dropped, [Rejected::BadSignature]);

    let mut builder = hypostyle_pillars::message::BodyBuilder::new();
    builder.recover(genuine);
    let body = builder.finish(cluster.now.wall);
    let verdict = cluster.admit(0, 1, 0, &crate::fixture::body_frame(&body));
    assert_eq!(verdict, Admission::Drop(Rejected::WrongPillar));
}

/// A Byzantine replica restarts, or says so, without end.
#[test]
fn recoveries_of_one_replica_are_spaced() {
    let mut cluster = Cluster::new(config(4, 1));
    let (first, second) = (cluster.keys.recover(3, 1, 1), cluster.keys.recover(3, 2, 2));
    ask(&mut cluster, 3, 0, &first);
    cluster.run();
    recovered(&mut cluster, &first);
    for to in 0..3 {
        ask(&mut cluster, 3, to, &second);
    }
    cluster.run();
    assert_eq!(ordered(&cluster), std::slice::from_ref(&first), "too soon");
    assert_eq!(cluster.pillar(1, 0).progress().owed, 0, "nobody is blamed for it");
    cluster.pass(RECOVER_SPACING - MS);
    cluster.run();
    assert_eq!(ordered(&cluster).len(), 1);
    assert_eq!(cluster.pillar(1, 0).next_deadline(), Some(cluster.now.instant + MS));
    cluster.pass(MS);
    cluster.run();
    assert_eq!(ordered(&cluster), [first, second]);
}

#[test]
fn one_that_was_ordered_without_effect_may_come_again_a_little_later() {
    let mut cluster = Cluster::new(config(4, 1));
    let recover = cluster.keys.recover(3, 1, 1);
    for round in 1..=3 {
        for to in 0..3 {
            ask(&mut cluster, 3, to, &recover);
        }
        cluster.settle_for(RECOVER_SPACING / 4);
        assert_eq!(ordered(&cluster).len(), round);
    }
}

#[test]
fn a_silent_replica_follows_and_says_nothing() {
    let mut cluster = Cluster::new(config(4, 2));
    for pillar in 0..2 {
        cluster.step(ReplicaId(3), PillarId(pillar), Input::Voting(false));
    }
    for number in 1..=20 {
        let request = cluster.keys.lone(0, number);
        let primary =
            (0..2).find(|p| cluster.pillar(0, *p).config().orders(request.client(), request.first()));
        cluster.submit(primary.unwrap(), request);
        cluster.seal(ReplicaId(primary.unwrap()));
    }
    cluster.settle();
    for at in 0..4 {
        assert!((1..=20).all(|number| cluster.has_executed(ReplicaId(at), 0, number)), "replica {at}");
    }
    let kinds = [Kind::Propose, Kind::Prepare, Kind::Commit, Kind::Checkpoint];
    assert!(kinds.iter().all(|kind| cluster.said(ReplicaId(3), *kind) == 0));
    assert!(cluster.said(ReplicaId(2), Kind::Checkpoint) > 0, "as the others do");
}

#[test]
fn a_silent_primary_proposes_nothing() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.step(ReplicaId(0), PillarId(0), Input::Voting(false));
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.step(ReplicaId(0), PillarId(0), Input::Demand(Demand::Owed(Seq(3))));
    cluster.run();
    assert_eq!(cluster.said(ReplicaId(0), Kind::Propose), 0);
    assert_eq!(cluster.pillar(0, 0).progress().in_flight, 0);
}

/// With one replica down, the slots in flight need the vote of the one that recovered.
#[test]
fn what_was_accepted_in_silence_is_said_afterwards() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(2));
    cluster.step(ReplicaId(3), PillarId(0), Input::Voting(false));
    submit_apart(&mut cluster, 1..=4);
    cluster.run();
    assert_eq!(cluster.frontier(0, 0), 0);
    cluster.step(ReplicaId(3), PillarId(0), Input::Voting(true));
    cluster.settle();
    cluster.assert_executed(&[(0, 1), (0, 4)]);
    assert_eq!(cluster.pillar(3, 0).progress().decided, Seq(4), "and the checkpoint is everybody's");
    assert_eq!(cluster.said(ReplicaId(3), Kind::Checkpoint), 1);
}

#[test]
fn a_checkpoint_taken_in_silence_is_stated_afterwards() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.step(ReplicaId(3), PillarId(0), Input::Voting(false));
    submit_apart(&mut cluster, 1..=4);
    // Nobody hears replica 2's Checkpoint.
    cluster.run_without(|cluster, envelope| {
        let round = cluster.pillar(0, 0).progress().decided;
        envelope.from == ReplicaId(2) && round == Seq(4)
    });
    cluster.down.insert(ReplicaId(2));
    cluster.run();
    assert_eq!(cluster.replicas[0].executor.stable.0, 0);
    cluster.step(ReplicaId(3), PillarId(0), Input::Voting(true));
    cluster.run();
    assert_eq!(cluster.replicas[0].executor.stable.0, 4);
}

/// A later view proposes again what lies above the others' stable checkpoint, and below the one it recovered at.
#[test]
fn a_recovered_replica_says_nothing_of_what_it_may_have_voted_on() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.step(ReplicaId(3), PillarId(0), Input::Voting(false));
    submit_apart(&mut cluster, 1..=4);
    let for_others = |cluster: &Cluster, envelope: &Envelope| {
        envelope.to != ReplicaId(3) && says(cluster, envelope, Kind::Checkpoint)
    };
    cluster.run_without(for_others);
    assert_eq!(cluster.frontier(3, 0), 4);
    cluster.step(ReplicaId(3), PillarId(0), Input::Voting(true));
    for replica in 0..3 {
        cluster.step(ReplicaId(replica), PillarId(0), Input::Slow);
    }
    cluster.run_without(|cluster, envelope| {
        says(cluster, envelope, Kind::Checkpoint) || envelope.from == ReplicaId(3) && is_declared(envelope)
    });
    assert_eq!(cluster.pillar(3, 0).view(), View(1));
    assert_eq!(
        (cluster.said(ReplicaId(2), Kind::Prepare), cluster.said(ReplicaId(3), Kind::Prepare)),
        (8, 0)
    );
    cluster.submit(1, cluster.keys.lone(0, 5));
    cluster.run();
    assert_eq!(cluster.said(ReplicaId(3), Kind::Prepare), 1, "of what lies above");
}

fn is_declared(envelope: &Envelope) -> bool {
    envelope.frame.first() == Some(&PeerFrame::VIEW_CHANGE)
}

/// View 1 began with replicas 1, 2 and 3; then 3 started again, and hears of it when its Recover is executed.
#[test]
fn a_view_that_began_with_its_own_former_word_is_entered_as_long_as_it_is_silent() {
    for has_voted in [false, true] {
        let mut cluster = Cluster::new(config(4, 1));
        let changes = [1, 2, 3].map(|signer| bare(&cluster.keys, signer, 1));
        cluster.step(ReplicaId(3), PillarId(0), Input::Voting(has_voted));
        if has_voted {
            cluster.submit(0, cluster.keys.lone(0, 1));
            cluster.run();
        }
        cluster.step(ReplicaId(3), PillarId(0), Input::Incarnation(ReplicaId(3), 1));
        let begun = new_view(&cluster.keys, 1, 1, &changes);
        cluster.inject(1, 3, 0, new_view_frame(&begun));
        for change in &changes {
            cluster.inject(1, 3, 0, change_frame(change));
        }
        let progress = cluster.pillar(3, 0).progress();
        assert_eq!((progress.view, progress.active), (View(1), !has_voted));
    }
}

/// The start in between may have voted.
#[test]
fn its_word_from_two_starts_ago_is_void() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.step(ReplicaId(3), PillarId(0), Input::Voting(false));
    cluster.step(ReplicaId(3), PillarId(0), Input::Incarnation(ReplicaId(3), 2));
    let own = bare(&cluster.keys, 3, 1);
    assert_eq!(cluster.admit(1, 3, 0, &change_frame(&own)), Admission::Drop(Rejected::Redundant));
}

/// It entered view 1 in ignorance, and learns before it votes that replica 2 has recovered since.
#[test]
fn a_replica_that_begins_to_vote_leaves_a_view_that_began_with_a_void_view_change() {
    let mut cluster = Cluster::new(config(4, 1));
    let changes = [0, 1, 2].map(|signer| bare(&cluster.keys, signer, 1));
    cluster.step(ReplicaId(3), PillarId(0), Input::Voting(false));
    cluster.inject(1, 3, 0, new_view_frame(&new_view(&cluster.keys, 1, 1, &changes)));
    for change in &changes {
        cluster.inject(1, 3, 0, change_frame(change));
    }
    assert_eq!(cluster.pillar(3, 0).view(), View(1));
    cluster.step(ReplicaId(3), PillarId(0), Input::Incarnation(ReplicaId(2), 1));
    assert_eq!(cluster.pillar(3, 0).view(), View(1));
    cluster.step(ReplicaId(3), PillarId(0), Input::Voting(true));
    let progress = cluster.pillar(3, 0).progress();
    assert_eq!((progress.view, progress.active), (View(2), false));
}

/// View 1 began with replicas 0, 1 and 2 while 3 was away; then 2 started again. What the others decide in view 1 shows
/// that they entered it in time.
#[test]
fn a_replica_that_comes_later_enters_a_view_that_began_with_a_void_view_change_and_is_at_work() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.isolated.insert(ReplicaId(3));
    [1, 2].into_iter().for_each(|id| cluster.step(ReplicaId(id), PillarId(0), Input::Slow));
    cluster.run();
    cluster.ids().for_each(|id| cluster.step(id, PillarId(0), Input::Incarnation(ReplicaId(2), 1)));
    cluster.isolated.clear();
    cluster.reconnect();
    cluster.settle();
    let views = |cluster: &Cluster| [0, 1, 2, 3].map(|id| cluster.pillar(id, 0).progress());
    let views = |cluster: &Cluster| views(cluster).map(|now| (now.view.0, now.active));
    assert_eq!(views(&cluster), [(1, true), (1, true), (1, true), (0, true)]);
    cluster.submit(1, cluster.keys.lone(0, 1));
    cluster.settle();
    assert_eq!(views(&cluster), [(1, true); 4]);
    cluster.down.insert(ReplicaId(0));
    cluster.submit(1, cluster.keys.lone(0, 2));
    cluster.run();
    cluster.assert_executed(&[(0, 1), (0, 2)]);
}

/// Nobody has decided anything in it: the replica whose word is void may have gone on where it had left.
#[test]
fn a_view_that_began_with_a_void_view_change_and_decided_nothing_is_not_entered() {
    let mut cluster = Cluster::new(config(4, 1));
    let changes = [0, 1, 2].map(|signer| bare(&cluster.keys, signer, 1));
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.run();
    cluster.step(ReplicaId(3), PillarId(0), Input::Incarnation(ReplicaId(2), 1));
    cluster.inject(1, 3, 0, new_view_frame(&new_view(&cluster.keys, 1, 1, &changes)));
    for change in &changes {
        cluster.inject(1, 3, 0, change_frame(change));
    }
    let progress = cluster.pillar(3, 0).progress();
    assert_eq!((progress.view, progress.active), (View(1), false), "what is decided was decided before");
}
