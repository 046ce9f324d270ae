//! Views of a correct replica only rise, and in a view its primary alone proposes and doesn't prepare.

use hypostyle::config::ClusterConfig;
use hypostyle_app_api::{ReplicaId, View};
use hypostyle_pillars::message::{Kind, Statement};
use hypostyle_pillars::{Progress, primary};

use super::{Check, Violation, name, violated};

/// The view of each replica's pillars.
pub(super) struct Views {
    pillars: usize,
    /// And whether it is at work there.
    views: Vec<(View, bool)>,
}

impl Views {
    pub(super) fn new(replicas: usize, pillars: usize) -> Self {
        Self { pillars, views: vec![(View(0), true); replicas * pillars] }
    }

    pub(super) fn said(&self, cluster: &ClusterConfig, signer: ReplicaId, own: &Statement) -> Check {
        let n = u16::try_from(cluster.n()).expect("validated");
        let leads = primary(cluster.leaders, n, own.pillar, own.view) == signer;
        let wrong = match own.kind {
            Kind::Propose => !leads,
            Kind::Prepare => leads,
            Kind::Commit | Kind::Checkpoint => false,
        };
        if wrong {
            return violated("views", format!("replica {signer} says {}, which isn't its to say", name(own)));
        }
        Ok(())
    }

    /// Returns whether it has entered the view that it is in.
    pub(super) fn stands(&mut self, replica: ReplicaId, progress: &Progress) -> Result<bool, Violation> {
        let (view, active) = &mut self.views[replica.index() * self.pillars + progress.pillar.index()];
        if progress.view < *view {
            let what = format!(
                "replica {replica} goes back from {view} to {} in pillar {}",
                progress.view, progress.pillar
            );
            return violated("views", what);
        }
        let entered = progress.active && (!*active || *view < progress.view);
        (*view, *active) = (progress.view, progress.active);
        Ok(entered)
    }

    /// A replica has started again.
    pub(super) fn restarted(&mut self, replica: ReplicaId) {
        self.views[replica.index() * self.pillars..][..self.pillars].fill((View(0), true));
    }
}
