//! Clusters of processes under load that are killed, paused, cut off or started late: what is acknowledged stays, and the
//! load goes on in time.
#![allow(clippy::unwrap_used)]

mod cascades;
mod clients;
mod cluster;
mod cold;
mod kills;
mod links;
mod load;
mod machine;
mod pauses;
mod quiet;

use std::time::Duration;

/// T0, that of every cluster here and the default.
const VIEW_TIMEOUT: Duration = Duration::from_millis(500);
/// What takes longer than this never comes.
const PATIENCE: Duration = Duration::from_secs(30);
