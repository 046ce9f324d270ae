//! Links that carry one way, now and then, or not at all, by proxies between the replicas.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hypostyle::ReplicaId;
use hypostyle_tests::poll;
use hypostyle_tests::proxy::{Proxy, Toward};

use crate::cluster::{Cluster, Shape};
use crate::load::Load;
use crate::machine::Spent;
use crate::{PATIENCE, VIEW_TIMEOUT};

/// A proxy for each pair of replicas, under the one that dials and the one that is dialled.
struct Links(BTreeMap<(usize, usize), Proxy>);

impl Links {
    /// A cluster whose replicas reach each other through proxies.
    fn start(replicas: usize, pillars: u16) -> (Cluster, Arc<Self>) {
        // The higher one dials.
        let pairs = (0..replicas).flat_map(|dialler| (0..dialler).map(move |target| (dialler, target)));
        let links = Arc::new(Self(pairs.map(|pair| (pair, Proxy::new().unwrap())).collect()));
        let mut shape = Shape::new(replicas, pillars);
        let proxies = Arc::clone(&links);
        shape.local = Box::new(move |own, config| {
            for ((_, target), proxy) in
                proxies.0.iter().filter(|((dialler, _), _)| *dialler == own.id.index())
            {
                let target = ReplicaId(u16::try_from(*target).unwrap());
                proxy.lead_to(config.replicas[target.index()].peer);
                own.dial.insert(target, proxy.address());
            }
        });
        (shape.start(), links)
    }

    /// The way from one replica to another.
    fn way(&self, from: usize, to: usize) -> (&Proxy, Toward) {
        let toward = if from > to { Toward::Target } else { Toward::Dialler };
        (&self.0[&(from.max(to), from.min(to))], toward)
    }

    fn hold(&self, from: usize, to: usize, held: bool) {
        let (proxy, toward) = self.way(from, to);
        proxy.hold(toward, held);
    }

    fn others(&self, replica: usize) -> impl Iterator<Item = usize> {
        let replicas = self.0.keys().map(|(dialler, _)| dialler + 1).max().unwrap_or(0);
        (0..replicas).filter(move |other| *other != replica)
    }
}

/// What a trouble may cost.
struct Limits {
    /// The longest time without an acknowledgement.
    gap: Duration,
    /// View changes of a pillar: more are a storm.
    views: u64,
}

/// Does something to the links for so long under load, undoes it, and tells the longest gap. All are then at the head, and
/// no pillar has changed its view oftener than is due.
#[track_caller]
fn trouble(
    name: &str,
    time: Duration,
    limits: Limits,
    harm: impl Fn(&Links),
    heal: impl Fn(&Links),
) -> Duration {
    let (mut cluster, links) = Links::start(4, 4);
    let load = Load::start(&cluster, 16);
    load.run_for(VIEW_TIMEOUT);
    let harmed = Instant::now();
    let spent = Spent::now(&cluster);
    harm(&links);
    load.run_for(time);
    heal(&links);
    let healed = Instant::now();
    let back = || (0..4).all(|replica| cluster.is_at_the_head(replica)).then(|| healed.elapsed());
    let back = poll::eventually(PATIENCE, back);
    load.wait_for(200);
    let (ended, views) = (Instant::now(), cluster.views());
    let seen = load.finish();
    let gap = seen.longest_gap(harmed, ended);
    eprintln!("links, {name}: longest gap {gap:?}, all at the head {back:?} after healing, views {views:?}");
    let limit = |limit| spent.limit(&cluster, limit);
    assert!(gap <= limit(limits.gap), "{name}: {gap:?}\n{}", cluster.describe());
    assert!(
        back.is_some_and(|back| back <= limit(Duration::from_secs(5))),
        "{name}: {back:?}\n{}",
        cluster.describe()
    );
    assert!(views.iter().all(|view| *view <= limits.views), "{name}: a storm of view changes: {views:?}");
    cluster.check(&seen.acknowledged);
    gap
}

#[test]
fn a_replica_that_hears_nobody_is_replaced_where_it_leads() {
    let hold = |held| move |links: &Links| links.others(1).for_each(|other| links.hold(other, 1, held));
    trouble(
        "1 is deaf",
        6 * VIEW_TIMEOUT,
        Limits { gap: Duration::from_secs(3), views: 3 },
        hold(true),
        hold(false),
    );
}

#[test]
fn a_replica_that_nobody_hears_is_replaced_where_it_leads() {
    let hold = |held| move |links: &Links| links.others(2).for_each(|other| links.hold(2, other, held));
    trouble(
        "2 is mute",
        6 * VIEW_TIMEOUT,
        Limits { gap: Duration::from_secs(3), views: 3 },
        hold(true),
        hold(false),
    );
}

/// The others are a bridge.
#[test]
fn two_replicas_that_do_not_reach_each_other_hinder_nobody() {
    let hold = |held| {
        move |links: &Links| {
            links.hold(0, 3, held);
            links.hold(3, 0, held);
        }
    };
    trouble(
        "0 and 3 apart",
        6 * VIEW_TIMEOUT,
        Limits { gap: Duration::from_secs(3), views: 3 },
        hold(true),
        hold(false),
    );
}

#[test]
fn two_halves_that_meet_again_go_on() {
    let hold = |held| {
        move |links: &Links| {
            for (one, other) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
                links.hold(one, other, held);
                links.hold(other, one, held);
            }
        }
    };
    let apart = 4 * VIEW_TIMEOUT;
    let limits = Limits { gap: apart + Duration::from_secs(3), views: 4 };
    let gap = trouble("two halves", apart, limits, hold(true), hold(false));
    assert!(gap >= apart / 2, "two of four went on: {gap:?}");
}

#[test]
fn links_that_flap_faster_than_the_timeout_cost_no_storm() {
    let flap = |period| {
        move |links: &Links| {
            for other in links.others(1) {
                for (from, to) in [(1, other), (other, 1)] {
                    let (proxy, toward) = links.way(from, to);
                    proxy.flap(toward, period);
                }
            }
        }
    };
    trouble(
        "1 flaps",
        8 * VIEW_TIMEOUT,
        Limits { gap: Duration::from_secs(3), views: 3 },
        flap(Some(VIEW_TIMEOUT / 5)),
        flap(None),
    );
}

#[test]
fn links_that_flap_slower_than_the_timeout_cost_no_storm() {
    let flap = |period| {
        move |links: &Links| {
            for other in links.others(3) {
                for (from, to) in [(3, other), (other, 3)] {
                    let (proxy, toward) = links.way(from, to);
                    proxy.flap(toward, period);
                }
            }
        }
    };
    trouble(
        "3 flaps slowly",
        16 * VIEW_TIMEOUT,
        Limits { gap: Duration::from_secs(3), views: 4 },
        flap(Some(2 * VIEW_TIMEOUT)),
        flap(None),
    );
}

/// What was under way is lost, everywhere at once.
#[test]
fn connections_that_are_cut_come_back_and_nobody_is_blamed_for_long() {
    let cut = |links: &Links| links.0.values().for_each(Proxy::cut);
    trouble("all cut", VIEW_TIMEOUT, Limits { gap: Duration::from_secs(2), views: 1 }, cut, |_| {});
}
