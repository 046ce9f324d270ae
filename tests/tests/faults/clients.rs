//! Clients that don't reach every replica.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cluster::Shape;
use crate::load::Load;
use crate::machine::Spent;

/// Two of four can tell a client its results, and pass its requests on to primaries that it can't reach.
#[test]
fn clients_that_reach_two_of_four_are_served_without_a_view_change() {
    for out_of_reach in [[0, 3], [1, 2]] {
        let mut cluster = Shape::new(4, 4).start();
        let mut known = cluster.config().clone();
        for replica in out_of_reach {
            let address = &mut known.replicas[replica].client;
            // Nobody listens there: the port before the first replica's.
            *address = SocketAddr::new(address.ip(), cluster.config().replicas[0].peer.port() - 1);
        }
        let spent = Spent::now(&cluster);
        let load = Load::begin_with(&known, &cluster, 16);
        load.run_for(Duration::from_secs(3));
        let acknowledged = load.acknowledged();
        let limit = spent.limit(&cluster, Duration::from_secs(1));
        let seen = load.finish();
        let views = cluster.views();
        eprintln!("clients don't reach {out_of_reach:?}: {acknowledged} answers in 3 s, views {views:?}");
        assert_eq!(views, [0; 4], "{}", cluster.describe());
        // Each operation takes at most `limit`, and 64 are always under way.
        assert!(acknowledged as u128 >= 64 * 2000 / limit.as_millis(), "{acknowledged}");
        cluster.check(&seen.acknowledged);
    }
}
