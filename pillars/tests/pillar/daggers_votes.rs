//! The rules of protocol.md that are marked †, as far as pillars keep them and no other file has the schedule: statements,
//! windows, who is blamed. Each test fails without its rule.

use hypostyle_app_api::{Digest, PillarId, ReplicaId, Seq, Timestamp, View};
use hypostyle_crypto::{Domain, Entry, Identity, Keyring, Seal, Signer, SigningKey, Suite, Tag};
use hypostyle_pillars::message::{Bundle, Kind, PeerFrame, Request, SealedBundle, Statement};
use hypostyle_pillars::{Admission, Config, Input, Rejected, Stable};

use crate::cluster::Cluster;
use crate::fixture::{MS, body_frame, bundle_frame, config, frame, numbers_of, statement};
use crate::forge::{bare, change_frame, proof, said};

const P0: PillarId = PillarId(0);
const D: Digest = Digest([7; 32]);

/// "is part of every signed byte string†": the same keys in a cluster of another configuration.
#[test]
fn nothing_signed_in_one_cluster_holds_in_another() {
    let key = SigningKey::generate(Suite::Ed25519);
    let public = key.public();
    let domain = |byte| Domain { configuration: Digest([byte; 32]) };
    let identity = Identity::new(Signer::Replica(ReplicaId(0)), key, domain(1));
    let bundle = Bundle::new(ReplicaId(0), P0, &[statement(Kind::Commit, 0, 1, D)]);
    let entries = vec![bundle.entry()];
    let signature = identity.sign(Tag::Seal, &Seal::content(ReplicaId(0), &entries));
    let sealed = bundle.seal(Seal { signer: ReplicaId(0), entries, signature });
    let keyring = |byte| Keyring::new(domain(byte), std::slice::from_ref(&public), &[]).unwrap();
    assert!(keyring(1).verify(sealed.clone()).is_ok());
    assert!(keyring(2).verify(sealed).is_err());
}

/// "any link carries it, and pillars in view change process it as well†".
#[test]
fn checkpoints_come_over_any_link_and_during_a_view_change() {
    let mut cluster = Cluster::new(config(4, 2));
    for signer in [0, 2] {
        let change = change_frame(&bare(&cluster.keys, signer, 1));
        cluster.inject(signer, 3, 0, change);
    }
    assert!(!cluster.pillar(3, 0).progress().active);
    let checkpoint = Statement::checkpoint(hypostyle_app_api::Round(4), D);
    for (signer, pillar) in [(0, 0), (1, 1), (2, 0)] {
        let bundle = cluster.keys.bundle(ReplicaId(signer), PillarId(pillar), &[checkpoint]);
        cluster.inject(signer, 3, pillar, bundle_frame(&bundle));
    }
    assert_eq!(cluster.replicas[3].executor.stable.0, 4);
    let vote = |seq| bundle_frame(&said(&cluster.keys, 2, Kind::Commit, 0, seq, D));
    assert_eq!(cluster.admit(2, 3, 0, &vote(36)), Admission::Verify, "the window moved");
}

/// "valid or invalid as a whole by bytes and configuration alone†".
#[test]
fn a_bundle_is_valid_as_a_whole_wherever_its_replica_stands() {
    let mut cluster = Cluster::new(config(4, 1));
    let good = statement(Kind::Commit, 0, 1, D);
    let limits = cluster.config.frame_limits();
    for bad in [statement(Kind::Propose, 0, 1, D), statement(Kind::Commit, 0, 0, D)] {
        let bundle = cluster.keys.bundle(ReplicaId(2), P0, &[good, bad]);
        assert!(PeerFrame::decode(&bundle_frame(&bundle), &limits).is_err(), "{bad:?}");
    }
    // What is of no use here and now is no fault: the rest counts.
    let far = statement(Kind::Commit, 0, 1 << 40, D);
    let other_view = Statement { view: View(5), ..statement(Kind::Prepare, 0, 1, D) };
    let late = Statement::checkpoint(hypostyle_app_api::Round(3), D);
    let bundle = cluster.keys.bundle(ReplicaId(2), P0, &[far, other_view, late, good]);
    assert_eq!(cluster.admit(2, 1, 0, &bundle_frame(&bundle)), Admission::Verify);
    cluster.inject(2, 1, 0, bundle_frame(&bundle));
    let alone = bundle_frame(&cluster.keys.bundle(ReplicaId(2), P0, &[good]));
    assert_eq!(cluster.admit(2, 1, 0, &alone), Admission::Drop(Rejected::Redundant), "it is held");
}

/// "a digest serves only under its type†".
#[test]
fn a_bundles_digest_under_another_type_covers_nothing() {
    let cluster = Cluster::new(config(4, 1));
    let bundle = Bundle::new(ReplicaId(2), P0, &[statement(Kind::Commit, 0, 1, D)]);
    let Entry::Bundle { pillar, digest } = bundle.entry() else { panic!("a bundle's entry") };
    let sound = cluster.keys.bundle(ReplicaId(2), P0, &[statement(Kind::Commit, 0, 1, D)]);
    let content = 2 + 2 + 1 + hypostyle_pillars::message::STATEMENT_BYTES;
    let wrong = [
        Entry::Replies { root: digest },
        Entry::ViewChange { pillar, digest },
        Entry::NewView { pillar, digest },
        Entry::Bundle { pillar: PillarId(1), digest },
    ];
    for entry in wrong {
        let mut bytes = sound.bytes()[..content].to_vec();
        let signature = bytes::Bytes::from_static(&[0; 64]);
        Seal { signer: ReplicaId(2), entries: vec![entry], signature }.encode(&mut bytes);
        let verdict = SealedBundle::decode(bytes.into(), &cluster.config.frame_limits()).unwrap_err();
        assert_eq!(verdict.what, "the seal covers something else", "{entry:?}");
    }
}

/// Replica 0, played by the test, proposes to replica 1 alone.
fn propose(cluster: &mut Cluster, seq: u64, number: u64) {
    let body = cluster.keys.body(Timestamp(seq), &[number]);
    let proposal = said(&cluster.keys, 0, Kind::Propose, 0, seq, body.digest());
    cluster.inject(0, 1, 0, body_frame(&body));
    cluster.inject(0, 1, 0, bundle_frame(&proposal));
}

/// "s-1 is accepted (until then it is kept)†".
#[test]
fn a_proposal_above_a_gap_is_kept_and_prepared_in_its_turn() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(0));
    for seq in [3, 2] {
        propose(&mut cluster, seq, seq);
        assert_eq!(cluster.said(ReplicaId(1), Kind::Prepare), 0, "slot {seq}");
    }
    propose(&mut cluster, 1, 1);
    assert_eq!(cluster.said(ReplicaId(1), Kind::Prepare), 3);
}

/// "a Propose of p's own current primary for a slot ≥ s is held†": else who shows a proposal to some and then goes on
/// with none of it is never blamed.
#[test]
fn a_proposal_that_is_held_makes_its_primary_owe_it_and_what_lies_below() {
    for seq in [1, 3] {
        let mut cluster = Cluster::new(config(4, 1));
        cluster.down.insert(ReplicaId(0));
        propose(&mut cluster, seq, 1);
        assert_eq!(cluster.pillar(1, 0).progress().owed, seq);
        cluster.settle_for(600 * MS);
        assert_eq!(cluster.pillar(1, 0).view(), View(1));
    }
}

/// "only the right primary may be blamed†": a pillar that is ahead blames nobody for the merge that waits for another.
#[test]
fn only_the_pillar_that_is_behind_blames_its_primary() {
    let mut cluster = Cluster::new(config(4, 2));
    cluster.down.insert(ReplicaId(1));
    let number = numbers_of(&cluster.config, 0, 0).next().unwrap();
    cluster.submit(0, cluster.keys.lone(0, number));
    cluster.settle_for(600 * MS);
    assert_eq!(cluster.pillar(2, 0).view(), View(0), "its slot is decided");
    assert_eq!(cluster.pillar(2, 1).view(), View(1), "an empty slot is owed");
}

/// The same: who is behind what is stable has itself to blame.
#[test]
fn a_replica_behind_a_stable_checkpoint_blames_nobody() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.isolated.insert(ReplicaId(3));
    let stable = Stable {
        round: hypostyle_app_api::Round(8),
        digest: D,
        proof: proof(&cluster.keys, &[0, 1, 2], 8, D).into(),
    };
    cluster.step(ReplicaId(3), P0, Input::Stable(stable));
    cluster.submit(3, cluster.keys.lone(0, 1));
    cluster.settle_for(5000 * MS);
    assert_eq!(cluster.pillar(3, 0).view(), View(0));
}

/// "slots to h + 2L; acted on only to h + L†".
#[test]
fn what_lies_above_the_watermark_is_kept_and_acted_on_when_the_watermark_has_moved() {
    let mut cluster = Cluster::new(Config { batch_max: 1, pipeline: 16, ..config(4, 1) });
    cluster.down.insert(ReplicaId(0));
    for seq in 1..=17 {
        propose(&mut cluster, seq, seq);
    }
    // Slots 1 to 16 are decided; slot 17 has all votes but is above h + L.
    for seq in 1..=17 {
        let digest = cluster.keys.body(Timestamp(seq), &[seq]).digest();
        for (signer, kind) in
            [(2, Kind::Prepare), (3, Kind::Prepare), (0, Kind::Commit), (2, Kind::Commit), (3, Kind::Commit)]
        {
            let vote = bundle_frame(&said(&cluster.keys, signer, kind, 0, seq, digest));
            if cluster.admit(signer, 1, 0, &vote) == Admission::Verify {
                cluster.inject(signer, 1, 0, vote);
            }
        }
    }
    cluster.seal(ReplicaId(1));
    let acted = |cluster: &Cluster| {
        let prepares = cluster.said(ReplicaId(1), Kind::Prepare);
        (prepares, cluster.pillar(1, 0).progress().decided_high)
    };
    assert_eq!(acted(&cluster), (16, Seq(16)));
    let beyond = bundle_frame(&said(&cluster.keys, 2, Kind::Commit, 0, 33, D));
    assert_eq!(cluster.admit(2, 1, 0, &beyond), Admission::Drop(Rejected::OutsideWindow));
    let stable = Stable {
        round: hypostyle_app_api::Round(4),
        digest: D,
        proof: proof(&cluster.keys, &[0, 2, 3], 4, D).into(),
    };
    cluster.step(ReplicaId(1), P0, Input::Stable(stable));
    assert_eq!(acted(&cluster).1, Seq(17));
}

/// "Kept, one per (replica, slot, kind): the current view, the view being changed to".
#[test]
fn statements_of_views_far_away_are_not_kept() {
    let cluster = Cluster::new(config(4, 1));
    for (kind, view) in [(Kind::Prepare, 1), (Kind::Prepare, 9), (Kind::Propose, 2)] {
        let vote = bundle_frame(&said(&cluster.keys, 2, kind, view, 1, D));
        assert_eq!(cluster.admit(2, 3, 0, &vote), Admission::Drop(Rejected::OtherView));
    }
}

/// "others only against an open fetch†", also while a view is changed.
#[test]
fn a_body_that_nobody_asked_for_is_refused_from_all_but_the_primary() {
    let mut cluster = Cluster::new(config(4, 1));
    let body = body_frame(&cluster.keys.body(Timestamp(1), &[1]));
    let verdicts = |cluster: &Cluster| [0, 1, 2].map(|from| cluster.admit(from, 3, 0, &body));
    let no = Admission::Drop(Rejected::Unsolicited);
    assert_eq!(verdicts(&cluster), [Admission::Verify, no, no]);
    for signer in [0, 2] {
        let change = change_frame(&bare(&cluster.keys, signer, 1));
        cluster.inject(signer, 3, 0, change);
    }
    assert_eq!(verdicts(&cluster), [no, Admission::Verify, no], "the next primary's");
}

/// "every batch has room for some of each backup's†": neither the clients of the primary nor what another backup passes on
/// crowd out what one of them vouches for.
#[test]
fn a_request_that_one_backup_passes_on_is_in_one_of_the_next_two_batches() {
    let mut cluster = Cluster::new(Config { pipeline: 1, ..config(4, 1) });
    let pass_on = |cluster: &mut Cluster, by: u16, request: &Request| {
        cluster.inject(by, 0, 0, frame(PeerFrame::REQUEST, request.bytes()));
    };
    let of_the_flood = |n: u64| (n % 2, 1 + n / 2);
    for (client, number) in (0..80).map(of_the_flood) {
        let request = cluster.keys.lone(u32::try_from(client).expect("small"), number);
        if client == 0 {
            cluster.submit(0, request);
        } else {
            pass_on(&mut cluster, 1, &request);
        }
    }
    let censored = cluster.keys.lone(2, 1);
    pass_on(&mut cluster, 3, &censored);
    let under_way = cluster.pillar(0, 0).progress().in_flight;
    let executed = |cluster: &Cluster| cluster.has_executed(ReplicaId(0), 2, 1);
    cluster.run_without(|cluster, _| executed(cluster));
    assert!(executed(&cluster));
    let slots = cluster.pillar(0, 0).progress().decided.0 - under_way;
    assert!(slots <= 2, "after {slots} batches");
}
