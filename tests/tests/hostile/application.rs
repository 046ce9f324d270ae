//! Operations that are meant to break the application.

use std::io::{self, Read, Write};

use hypostyle::client::CallError;
use hypostyle::{Application, ApplicationError, Context, Digest, Snapshot};

use super::*;

/// Counts operations, and panics on "panic".
#[derive(Default)]
struct Fragile(u64);

struct Nothing;

impl Application for Fragile {
    type Snapshot = Nothing;

    fn execute(&mut self, _context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        self.0 += 1;
        assert_ne!(operation, b"panic", "as the client wishes");
        reply.extend_from_slice(b"OK");
    }

    fn digest(&self) -> Digest {
        let mut digest = Digest::ZERO;
        digest.0[..8].copy_from_slice(&self.0.to_le_bytes());
        digest
    }

    fn snapshot(&self) -> Nothing {
        Nothing
    }

    fn restore(&mut self, _from: &mut dyn Read) -> Result<(), ApplicationError> {
        Ok(())
    }
}

impl Snapshot for Nothing {
    fn write_to(&mut self, _to: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_poison_operation_is_answered_with_an_error_and_no_replica_falls() {
    let cluster = Cluster::local(4).pillars(2).start(Fragile::default).unwrap();
    let (poisoner, other) = (cluster.client(0).unwrap(), cluster.client(1).unwrap());
    let pending: Vec<_> = (0..50).map(|_| (poisoner.send("panic"), other.send("fine"))).collect();
    for (poison, fine) in pending {
        let error = poison.wait().unwrap_err();
        assert!(matches!(error, CallError::Failed(_)), "{error:?}");
        assert!(error.to_string().contains("panicked"), "{error}");
        assert_eq!(fine.wait().unwrap(), "OK");
    }
    assert_eq!(poisoner.call_blocking("fine").unwrap(), "OK");
    let status = eventually(&cluster, executed(101));
    assert!(status.iter().all(|s| s.counters["application_panics"] == 50));
    cluster.stop().unwrap();
}
