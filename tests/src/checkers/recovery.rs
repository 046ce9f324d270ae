//! A replica that has started again without its memory keeps silent until its own Recover is executed and a checkpoint a
//! window above is stable, whose state it holds. Then it says nothing of what lies below: there it may have spoken before.

use std::collections::BTreeMap;

use hypostyle::simulation::Member;
use hypostyle_app_api::{ReplicaId, Round, Seq};
use hypostyle_pillars::message::{Kind, NewView, Nonce, Statement, ViewChange};

use super::reference::Reference;
use super::{Check, Violation, name, violated};
use crate::sim::service::Service;

/// The latest start of each replica that has started again.
#[derive(Default)]
pub(super) struct Recovery(BTreeMap<ReplicaId, Start>);

struct Start {
    nonce: Nonce,
    /// The highest slot it spoke of before.
    spoken_to: Seq,
    /// Whether it has said something since.
    speaks: bool,
    /// Whether it may.
    votes: bool,
}

impl Recovery {
    pub(super) fn restarted(&mut self, replica: ReplicaId, nonce: Nonce, spoken_to: Seq) {
        self.0.insert(replica, Start { nonce, spoken_to, speaks: false, votes: false });
    }

    pub(super) fn said(&mut self, signer: ReplicaId, own: &Statement, reference: &Reference) -> Check {
        match self.speaks(signer, || name(own), reference)? {
            Some(from) if own.seq.0 < from.0 || own.seq.0 == from.0 && own.kind != Kind::Checkpoint => {
                violated("recovery", format!("replica {signer} says {}; it votes above {from}", name(own)))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn left(&mut self, change: &ViewChange, reference: &Reference) -> Check {
        let (signer, view, stable) = (change.signer(), change.view(), change.stable().0);
        let incarnation = reference.recovery(signer).0.incarnation;
        let said = || format!("VIEW-CHANGE to {view} from {stable} as incarnation {}", change.incarnation());
        match self.speaks(signer, said, reference)? {
            Some(from) if stable < from || change.incarnation() != incarnation => violated(
                "recovery",
                format!("replica {signer} says {}; it is {incarnation}, above {from}", said()),
            ),
            _ => Ok(()),
        }
    }

    pub(super) fn began(&mut self, new_view: &NewView, reference: &Reference) -> Check {
        self.speaks(new_view.signer(), || format!("NEW-VIEW {}", new_view.view()), reference).map(drop)
    }

    /// A correct replica has had a turn. Returns whether it may vote since then.
    pub(super) fn turned(
        &mut self,
        replica: ReplicaId,
        member: &Member<Service>,
        reference: &Reference,
        pillars: u16,
    ) -> Result<bool, Violation> {
        let Some(start) = self.0.get_mut(&replica) else { return Ok(false) };
        let votes = !member.is_recovering();
        let begins = votes && !std::mem::replace(&mut start.votes, votes);
        let from = reference.recovery(replica).1;
        let held = member.executor().position().0 / u64::from(pillars);
        if !start.speaks || (member.stable().0 >= from && held >= from.0) {
            return Ok(begins);
        }
        violated("recovery", format!("replica {replica} speaks before it holds the stable checkpoint {from}"))
    }

    /// From which round on a replica that says this may speak, if it has ever started again.
    fn speaks(
        &mut self,
        replica: ReplicaId,
        what: impl Fn() -> String,
        reference: &Reference,
    ) -> Result<Option<Round>, Violation> {
        let Some(start) = self.0.get_mut(&replica) else { return Ok(None) };
        start.speaks = true;
        let (record, from) = reference.recovery(replica);
        if record.nonce != start.nonce {
            return violated(
                "recovery",
                format!("replica {replica} says {} before its Recover is executed", what()),
            );
        }
        if start.spoken_to.0 > from.0 {
            let what =
                format!("replica {replica} votes above {from}, and spoke of {} before", start.spoken_to);
            return violated("recovery", what);
        }
        Ok(Some(from))
    }
}
