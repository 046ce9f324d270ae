//! Frames that get lost, with and without a new connection afterwards.

use hypostyle_app_api::ReplicaId;
use hypostyle_pillars::Config;
use proptest::prelude::*;

use crate::cluster::Cluster;
use crate::fixture::{MS, config, numbers_of};
use crate::random::Random;

/// Two slots in each pillar; the second only after the first, so that each has Propose, Prepare and Commit.
fn two_slots_each(pillars: u16, down: &[u16], lost: &[usize]) -> (Cluster, usize, Vec<(u32, u64)>) {
    let config = config(4, pillars);
    let mut requests = Vec::new();
    let mut cluster = Cluster::new(config.clone());
    cluster.down = down.iter().map(|id| ReplicaId(*id)).collect();
    cluster.lost = lost.iter().copied().collect();
    for turn in 0..2 {
        for pillar in 0..pillars {
            let number = numbers_of(&config, 0, pillar).nth(turn).unwrap();
            requests.push((0, number));
            cluster.submit(pillar, cluster.keys.lone(0, number));
        }
        cluster.run();
    }
    let sent = cluster.sent;
    cluster.settle();
    (cluster, sent, requests)
}

fn all_executed(pillars: u16, down: &[u16], lost: &[usize]) -> usize {
    let (cluster, sent, requests) = two_slots_each(pillars, down, lost);
    cluster.assert_executed(&requests);
    sent
}

/// One pillar has nobody to tell it that it owes something.
fn lose_each_frame(down: &[u16]) {
    for pillars in [1, 2] {
        let sent = all_executed(pillars, down, &[]);
        for frame in 0..sent {
            all_executed(pillars, down, &[frame]);
        }
    }
}

#[test]
fn any_single_frame_may_be_lost_without_a_reconnect() {
    lose_each_frame(&[]);
}

#[test]
fn any_single_frame_may_be_lost_while_a_backup_is_down_and_every_vote_counts() {
    lose_each_frame(&[3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn many_lost_frames_are_repaired_without_a_reconnect(
        lost in prop::collection::vec(0usize..120, 1..40), crashed in any::<bool>(), pillars in 1u16..3
    ) {
        let (mut cluster, _, requests) = two_slots_each(pillars, if crashed { &[3] } else { &[] }, &lost);
        // Whoever alone has a request may have left its view alone: then it takes the client to tell the others.
        cluster.insist_for(&requests, 20_000 * MS);
        cluster.insist_for(&requests, 20_000 * MS);
        cluster.assert_executed(&requests);
    }

    #[test]
    fn a_lossy_time_and_then_new_connections(seed in any::<u64>(), loss in 1u64..60, pillars in 1u16..4) {
        // Nobody may fall out of the window: pillars alone transfer no state.
        let mut cluster = Cluster::new(Config { batch_max: 2, window: 64, ..config(4, pillars) });
        cluster.random = Random(seed);
        cluster.loss = loss;
        let requests: Vec<_> = (0..3).flat_map(|c| (1..=8).map(move |n| (c, n))).collect();
        for (client, number) in &requests {
            let request = cluster.keys.lone(*client, *number);
            cluster.submit_to_all(&request);
            if cluster.random.percent(20) {
                cluster.shuffle();
            }
        }
        for _ in 0..5 {
            cluster.shuffle();
            cluster.pass_deadline();
        }
        cluster.loss = 0;
        cluster.reconnect();
        cluster.settle();
        cluster.insist(&requests);
        cluster.assert_executed(&requests);
    }
}

/// Found by the property above: of a proposal for slot 2 only two replicas know that it had backers, and the next view puts
/// all requests into slot 1. Nobody may be blamed for slot 2 any more.
#[test]
fn a_slot_that_came_to_nothing_with_its_view_is_not_owed_any_more() {
    all_executed(1, &[3], &[22, 33, 4, 1, 18]);
}

/// Found by the property above: the new primary's first proposal comes before its NEW-VIEW and takes the place of the body
/// that the old primary had proposed there. Its requests are not lost with it.
#[test]
fn an_early_proposal_of_the_next_view_loses_no_request_of_the_last() {
    let lost = [15, 20, 22, 3, 34, 47, 43, 104, 5, 21, 19, 31, 36, 111, 1, 101, 39];
    all_executed(1, &[], &lost);
}
