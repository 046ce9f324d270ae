//! A replica that contradicts itself under its signature leaves evidence at who has verified both messages.

use hypostyle_app_api::{Digest, ReplicaId, Round};
use hypostyle_pillars::message::{Kind, Leave};
use hypostyle_pillars::{Admission, Evidence};

use crate::cluster::Cluster;
use crate::fixture::{bundle_frame, config};
use crate::forge::{bare, change_frame, leave, naming, new_view, new_view_frame, proof, said, view_change};

const ONE: Digest = Digest([1; 32]);
const OTHER: Digest = Digest([2; 32]);

/// What replica 1 holds against others in pillar 0, every message of it verified as a third party would.
fn held(cluster: &Cluster) -> Vec<&Evidence> {
    let held: Vec<_> = cluster.pillar(1, 0).evidence().collect();
    for evidence in &held {
        assert!(evidence.contradicts_itself());
        for message in evidence.messages() {
            assert!(cluster.keys.keyring.verify(message).is_ok());
        }
    }
    held
}

fn say(cluster: &mut Cluster, from: u16, kind: Kind, view: u64, digest: Digest) {
    let bundle = said(&cluster.keys, from, kind, view, 1, digest);
    cluster.inject(from, 1, 0, bundle_frame(&bundle));
}

#[test]
fn two_digests_in_one_view_of_a_slot_convict() {
    for (kind, signer) in [(Kind::Propose, 0), (Kind::Prepare, 2), (Kind::Commit, 2)] {
        let mut cluster = Cluster::new(config(4, 1));
        say(&mut cluster, signer, kind, 0, ONE);
        say(&mut cluster, signer, kind, 0, ONE);
        assert!(held(&cluster).is_empty(), "{kind:?} repeated");
        say(&mut cluster, signer, kind, 0, OTHER);
        let held = held(&cluster);
        assert_eq!(held.iter().map(|evidence| evidence.signer()).collect::<Vec<_>>(), [ReplicaId(signer)]);
        assert!(
            matches!(held[0], Evidence::Statements(second, _) if (second.kind, second.digest) == (kind, OTHER))
        );
    }
}

#[test]
fn votes_of_other_kinds_and_views_agree_with_each_other() {
    let mut cluster = Cluster::new(config(4, 1));
    for (kind, view, digest) in [(Kind::Prepare, 0, ONE), (Kind::Commit, 0, OTHER), (Kind::Commit, 1, ONE)] {
        say(&mut cluster, 2, kind, view, digest);
    }
    assert!(held(&cluster).is_empty());
}

#[test]
fn two_view_changes_for_one_view_convict_and_no_third_is_verified() {
    let mut cluster = Cluster::new(config(4, 1));
    let forged = |cluster: &Cluster, stable: u8| {
        let (round, digest) = (cluster.config.checkpoint_interval, Digest([stable; 32]));
        let proof = proof(&cluster.keys, &[0, 2, 3], round, digest);
        let leave = Leave { stable: Round(round), stable_digest: digest, ..leave(2, 1) };
        change_frame(&view_change(&cluster.keys, &leave, &[], &proof))
    };
    let first = change_frame(&bare(&cluster.keys, 2, 1));
    cluster.inject(2, 1, 0, first.clone());
    assert!(matches!(cluster.admit(2, 1, 0, &first), Admission::Drop(_)), "the same once more");
    let second = view_change(&cluster.keys, &Leave { incarnation: 1, ..leave(2, 1) }, &[], &[]);
    cluster.inject(2, 1, 0, change_frame(&second));
    assert!(held(&cluster).is_empty(), "of another incarnation");
    let (second, third) = (forged(&cluster, 8), forged(&cluster, 9));
    cluster.inject(2, 1, 0, second);
    assert!(matches!(held(&cluster)[..], [Evidence::ViewChanges(_)]));
    assert!(matches!(cluster.admit(2, 1, 0, &third), Admission::Drop(_)));
}

#[test]
fn two_new_views_for_one_view_convict() {
    let mut cluster = Cluster::new(config(4, 1));
    let named = |last: Digest| vec![(ReplicaId(0), ONE), (ReplicaId(2), ONE), (ReplicaId(3), last)];
    // The primary of view 2.
    for (last, convicted) in [(ONE, 0), (ONE, 0), (OTHER, 1)] {
        let new_view = naming(&cluster.keys, 2, 2, named(last));
        cluster.inject(2, 1, 0, new_view_frame(&new_view));
        assert_eq!(held(&cluster).len(), convicted);
    }
    assert!(matches!(held(&cluster)[..], [Evidence::NewViews(_)]));
}

#[test]
fn a_second_new_view_convicts_after_the_first_was_entered() {
    let mut cluster = Cluster::new(config(4, 1));
    let changes: Vec<_> = [0, 2, 3].map(|signer| bare(&cluster.keys, signer, 2)).into();
    for (signer, change) in [0, 2, 3].into_iter().zip(&changes) {
        cluster.inject(signer, 1, 0, change_frame(change));
    }
    let first = new_view(&cluster.keys, 2, 2, &changes);
    cluster.inject(2, 1, 0, new_view_frame(&first));
    assert!(cluster.pillar(1, 0).progress().active && cluster.pillar(1, 0).view().0 == 2);
    let named = |last: Digest| vec![(ReplicaId(0), ONE), (ReplicaId(2), ONE), (ReplicaId(3), last)];
    let (second, third) = [ONE, OTHER].map(|last| naming(&cluster.keys, 2, 2, named(last))).into();
    cluster.inject(2, 1, 0, new_view_frame(&first));
    assert!(held(&cluster).is_empty(), "the same once more");
    cluster.inject(2, 1, 0, new_view_frame(&second));
    let [evidence] = held(&cluster)[..] else { panic!("one piece of evidence") };
    assert_eq!(evidence.digests(), [first.digest(), second.digest()]);
    assert_eq!(evidence.frames()[1], new_view_frame(&second));
    assert!(matches!(cluster.admit(2, 1, 0, &new_view_frame(&third)), Admission::Drop(_)));
}
