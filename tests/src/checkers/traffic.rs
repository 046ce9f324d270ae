//! Without faults a slot costs so many messages and no more, and an idle cluster says nothing.

use super::{Check, violated};

/// Frames between replicas.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Sent in all.
    pub frames: u64,
    /// Sent when an idle stretch began.
    idle_from: u64,
}

/// Frames a slot and pair of replicas: body, Propose, Prepare, Commit, a share of Checkpoints and of the Status that ends a
/// burst; each in a frame of its own at worst.
const FRAMES_PER_PAIR: u64 = 8;

impl Traffic {
    /// From now on nobody has anything to do.
    pub fn idles(&mut self) {
        self.idle_from = self.frames;
    }

    /// The cluster has been idle for a while.
    ///
    /// # Errors
    /// When something was sent.
    pub fn idled(&self) -> Check {
        match self.frames - self.idle_from {
            0 => Ok(()),
            sent => violated("idle traffic", format!("{sent} frames from a cluster with nothing to do")),
        }
    }

    /// A run without faults of so many slots among so many replicas is over.
    ///
    /// # Errors
    /// When it took too many messages.
    pub fn check(&self, slots: u64, replicas: u64) -> Check {
        let most = FRAMES_PER_PAIR * replicas * replicas * (slots + 8 * replicas);
        match self.frames > most {
            true => violated("messages per slot", format!("{} frames for {slots} slots", self.frames)),
            false => Ok(()),
        }
    }
}
