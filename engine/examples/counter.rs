//! A replicated counter: a whole cluster in this process, and a client of it.
//!
//! `cargo run --example counter`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::{self, Read, Write};

use hypostyle::{Application, ApplicationError, Cluster, Context, Digest, Snapshot, crypto::sha256};

#[derive(Clone, Copy, Default)]
struct Counter(u64);

impl Application for Counter {
    type Snapshot = Self;

    fn execute(&mut self, _context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        self.0 += u64::from(operation == b"increment");
        reply.extend_from_slice(&self.0.to_le_bytes());
    }

    fn digest(&self) -> Digest {
        sha256(&[&self.0.to_le_bytes()])
    }

    fn snapshot(&self) -> Self {
        *self
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError> {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes)?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

impl Snapshot for Counter {
    fn write_to(&mut self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.0.to_le_bytes())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::local(4).pillars(2).start(Counter::default)?;
    let client = cluster.client(0)?;
    for _ in 0..3 {
        let reply = client.call_blocking("increment")?;
        println!("{}", u64::from_le_bytes(reply[..].try_into()?));
    }
    Ok(())
}
