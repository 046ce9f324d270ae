use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use hypostyle_app_api::{Application, ApplicationError, Context, Digest};
use hypostyle_net::{Gate, Track};

use crate::replica::{Replica, RunningReplica, StartError};
use crate::status::ReplicaStatus;

/// A replica that a recording is played to.
pub struct Listening {
    replica: RunningReplica,
    gate: Arc<Gate>,
    ended: Receiver<Instant>,
}

/// Opens the gate as operations are executed, and tells when the last one is.
struct Counted<A> {
    application: A,
    executed: u64,
    operations: u64,
    gate: Arc<Gate>,
    ended: Sender<Instant>,
}

impl Listening {
    pub(super) fn start<A: Application>(
        replica: Replica,
        tracks: &[Track],
        operations: u64,
        application: A,
    ) -> Result<Self, StartError> {
        let gate = Arc::new(Gate::default());
        let (sender, ended) = bounded(1);
        let counted =
            Counted { application, executed: 0, operations, gate: Arc::clone(&gate), ended: sender };
        let bytes = tracks.iter().flat_map(|track| track.frames.iter()).flat_map(|frame| &frame.payload);
        std::hint::black_box(bytes.fold(0_u8, |sum, byte| sum ^ byte));
        let replica = replica.start_before(counted, tracks, &gate)?;
        Ok(Self { replica, gate, ended })
    }

    /// Plays all of it and returns how long that took, to the execution of the last operation. `None`: it wasn't
    /// executed in so long.
    #[must_use]
    pub fn play(&self, patience: Duration) -> Option<Duration> {
        let begun = Instant::now();
        self.gate.open(1);
        let ended = self.ended.recv_timeout(patience).ok()?;
        Some(ended.duration_since(begun))
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        self.replica.status()
    }
}

impl<A: Application> Application for Counted<A> {
    type Snapshot = A::Snapshot;

    fn execute(&mut self, context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        self.application.execute(context, operation, reply);
        self.executed += 1;
        // 0 is a gate that nobody has opened.
        self.gate.open(1 + self.executed);
        if self.executed == self.operations {
            // Whoever waited may have lost patience.
            let _ = self.ended.try_send(Instant::now());
        }
    }

    fn digest(&self) -> Digest {
        self.application.digest()
    }

    fn snapshot(&self) -> Self::Snapshot {
        self.application.snapshot()
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError> {
        self.application.restore(from)
    }
}
