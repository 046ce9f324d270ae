//! What a pillar's future depends on, for those who compare states.

use std::fmt;

use super::Pillar;
use super::resend::Resend;
use crate::slot::{Slot, Stage};

impl Pillar {
    /// Prints the state without votes, VIEW-CHANGEs and NEW-VIEWs that can't count any more, without times, and without what
    /// is only kept to be resent. Pillars of which it prints the same say the same from then on, if not at the same time, and
    /// need the same from others.
    #[must_use]
    pub fn outline(&self) -> impl fmt::Debug + use<> {
        let mut outline = self.clone();
        let (me, view, active) = (self.config.me, self.view, self.views.active);
        outline.log.slots_mut().for_each(|slot: &mut Slot| {
            let prepared = active && slot.stage >= Stage::Prepared;
            slot.prepares.retain(|replica, vote| replica == me || (vote.view >= view && !prepared));
            let decided = slot.is_decided();
            slot.commits.retain(|replica, _| replica == me || !decided);
        });
        let gone = |other| other < view || (other == view && active);
        for latest in &mut outline.views.latest {
            latest.take_if(|change| gone(change.view()));
        }
        for candidate in &mut outline.views.candidates {
            candidate.take_if(|candidate| gone(candidate.view()));
        }
        if let Some(begun) = &mut outline.views.begun {
            begun.new_view = None;
            begun.changes.clear();
        }
        outline.resend = Resend::new(&self.config);
        outline.pace.forget_when();
        outline.blame.forget_when();
        outline
    }
}
