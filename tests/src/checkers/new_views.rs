//! What a NEW-VIEW stands on is worked out here once more: nothing that was decided is lost or changed by it, and in its
//! view a correct replica says nothing else.

use std::collections::BTreeMap;

use hypostyle_app_api::{Digest, PillarId, Position, ReplicaId, Seq, View};
use hypostyle_pillars::message::{Body, Kind, NewView, Statement, ViewChange};

use super::agreement::Agreement;
use super::reference::Reference;
use super::{Check, name, violated};

/// A VIEW-CHANGE in short: from where on, and what was prepared in which view.
struct Left {
    signer: ReplicaId,
    incarnation: u64,
    to: (PillarId, View),
    stable: Seq,
    prepared: Vec<(Seq, View, Digest)>,
}

/// What is proposed again at the beginning of a view, above a stable round.
#[derive(PartialEq, Eq)]
struct Chosen {
    stable: Seq,
    slots: BTreeMap<Seq, Digest>,
}

/// How a view began.
#[derive(PartialEq, Eq)]
struct Begun {
    chosen: Chosen,
    /// Whose VIEW-CHANGEs were named, and of which incarnation.
    named: Vec<(ReplicaId, u64)>,
}

/// All VIEW-CHANGEs and NEW-VIEWs that were sent.
#[derive(Default)]
pub(super) struct NewViews {
    left: BTreeMap<Digest, Left>,
    /// A Byzantine primary may begin its view with one choice before some and with another before others, each of them
    /// valid.
    begun: BTreeMap<(PillarId, View), Vec<Begun>>,
}

impl NewViews {
    pub(super) fn left(&mut self, change: &ViewChange) {
        let prepared = change.prepared().iter().map(|slot| (slot.seq, slot.view, slot.digest)).collect();
        let (signer, incarnation, to) =
            (change.signer(), change.incarnation(), (change.pillar(), change.view()));
        let stable = Seq(change.stable().0.0);
        self.left.insert(change.digest(), Left { signer, incarnation, to, stable, prepared });
    }

    /// `executed` is where the correct replica stands that says it.
    pub(super) fn began(
        &mut self,
        new_view: &NewView,
        agreement: &Agreement,
        reference: &Reference,
        executed: Option<Position>,
    ) -> Check {
        let to = (new_view.pillar(), new_view.view());
        let named = new_view.changes().iter().map(|(replica, digest)| {
            self.left.get(digest).filter(|left| left.signer == *replica && left.to == to)
        });
        // What nobody sent nobody can enter by.
        let Some(changes) = named.collect::<Option<Vec<_>>>() else { return Ok(()) };
        let (pillar, view) = to;
        let named: Vec<_> = changes.iter().map(|left| (left.signer, left.incarnation)).collect();
        let is_void = |executed| named.iter().any(|named| reference.is_void(*named, executed));
        if executed.is_some_and(is_void) {
            let what = format!("view {view} of pillar {pillar} begins with void VIEW-CHANGEs of {named:?}");
            return violated("new views", what);
        }
        let refused = is_void(reference.position());
        let chosen = choose(&changes);
        for (seq, (decided, body)) in agreement.all(pillar) {
            let again = chosen.slots.get(&seq).copied();
            if !refused && *decided < view && seq > chosen.stable && again != Some(body.digest()) {
                let what = format!(
                    "view {view} of pillar {pillar} proposes {again:?} for slot {seq}, decided {:?} in view {decided}",
                    body.digest()
                );
                return violated("new views", what);
            }
        }
        let begun = self.begun.entry((pillar, view)).or_default();
        let new = Begun { chosen, named };
        if !begun.contains(&new) {
            begun.push(new);
        }
        Ok(())
    }

    /// A correct replica has entered a view, or begins to vote in it: it has decided a slot there, or by what it had executed
    /// before, none of the VIEW-CHANGEs was void. Its own of its start before may be: it knows whether it has kept its word.
    pub(super) fn entered(
        &self,
        replica: ReplicaId,
        to: (PillarId, View),
        (agreement, reference): (&Agreement, &Reference),
        executed: Position,
    ) -> Check {
        let kept = |signer| u64::from(signer == replica);
        let is_void = |(signer, of): &(ReplicaId, u64)| {
            reference.is_void((*signer, of.saturating_add(kept(*signer))), executed)
        };
        match self.begun.get(&to) {
            Some(begun)
                if begun.iter().all(|begun| begun.named.iter().any(is_void))
                    && !agreement.has_decided_in(replica, to) =>
            {
                violated("new views", format!("replica {replica} enters {to:?}, which began with void words"))
            }
            _ => Ok(()),
        }
    }

    /// A correct replica has said something.
    pub(super) fn said(&self, signer: ReplicaId, own: &Statement) -> Check {
        let Some(begun) = self.begun.get(&(own.pillar, own.view)) else { return Ok(()) };
        let fits = |Begun { chosen, .. }: &Begun| {
            let right = chosen.slots.get(&own.seq).is_none_or(|digest| *digest == own.digest);
            // Below the stable round all is decided: there is nothing left to say but what was decided.
            right && (own.seq > chosen.stable || own.kind != Kind::Propose)
        };
        if begun.iter().any(fits) {
            return Ok(());
        }
        violated(
            "new views",
            format!("replica {signer} says {}, which its view doesn't begin with", name(own)),
        )
    }
}

/// The highest view's digest of each slot above the highest stable round; gaps get the empty body.
fn choose(changes: &[&Left]) -> Chosen {
    let stable = changes.iter().map(|left| left.stable).max().unwrap_or_default();
    let mut best: BTreeMap<Seq, (View, Digest)> = BTreeMap::new();
    for (seq, view, digest) in changes.iter().flat_map(|left| &left.prepared).copied() {
        let slot = best.entry(seq).or_insert((view, digest));
        if seq > stable && view > slot.0 {
            *slot = (view, digest);
        }
    }
    best.retain(|seq, _| *seq > stable);
    let last = best.last_key_value().map_or(stable, |(seq, _)| *seq);
    let empty = Body::empty().digest();
    let slots = (stable.0 + 1..=last.0).map(Seq);
    let slots = slots.map(|seq| (seq, best.get(&seq).map_or(empty, |(_, digest)| *digest))).collect();
    Chosen { stable, slots }
}
