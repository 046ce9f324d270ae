//! Hypostyle inside a program with threads of its own and no async runtime: a box office whose clerks sell seats.
//!
//! `cargo run --example embedded [BASE PORT]`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use hypostyle::client::{CallError, Client};
use hypostyle::config::{self, ClusterConfig, Plan, Threads};
use hypostyle::crypto::{Suite, sha256};
use hypostyle::{Application, ApplicationError, Context, Digest, Replica, RunningReplica, Snapshot};

const CLERKS: usize = 8;
const ORDERS: u64 = 500;

/// Seats are numbered, and sold in order.
#[derive(Clone, Copy, Default)]
struct BoxOffice {
    sold: u64,
}

impl Application for BoxOffice {
    type Snapshot = Self;

    /// The operation is how many seats, the reply the first of them.
    fn execute(&mut self, _context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        // Clients may send anything; what isn't an order gets an empty reply from every replica.
        let Ok(seats) = operation.try_into().map(u64::from_le_bytes) else { return };
        let Some(sold) = self.sold.checked_add(seats) else { return };
        reply.extend_from_slice(&self.sold.to_le_bytes());
        self.sold = sold;
    }

    fn digest(&self) -> Digest {
        sha256(&[&self.sold.to_le_bytes()])
    }

    fn snapshot(&self) -> Self {
        *self
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError> {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes)?;
        self.sold = u64::from_le_bytes(bytes);
        Ok(())
    }
}

impl Snapshot for BoxOffice {
    fn write_to(&mut self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.sold.to_le_bytes())
    }
}

/// What `hypostyle init` does on the command line.
fn write_homes(directory: &Path, base_port: u16) -> Result<ClusterConfig, config::InitError> {
    let hosts = vec![IpAddr::V4(Ipv4Addr::LOCALHOST); 4];
    let settings = ClusterConfig { pillars: 2, ..ClusterConfig::default() };
    let threads = Threads::default();
    let plan = Plan { hosts, base_port, clients: 1, auth: Suite::Ed25519, settings, threads };
    config::init(directory, &plan, &mut || {})
}

/// Four for the sake of the example: in production a process runs one, from the home on its own machine.
fn start(directory: &Path, cluster: &ClusterConfig) -> Result<Vec<RunningReplica>, Box<dyn Error>> {
    let homes = cluster.replicas.iter().map(|replica| config::replica_home(directory, replica.id));
    homes.map(|home| Ok(Replica::open(home)?.start(BoxOffice::default())?)).collect()
}

/// A thread of the program's own: takes orders until there are none, and returns the seats it sold.
fn clerk(orders: &Mutex<impl Iterator<Item = u64>>, client: &Client) -> Result<Vec<u64>, CallError> {
    let next = || orders.lock().expect("no clerk panics while choosing").next();
    let mut sold = Vec::new();
    while let Some(seats) = next() {
        let reply = client.send(seats.to_le_bytes().to_vec()).wait()?;
        let first = reply[..].try_into().map(u64::from_le_bytes).expect("the reply to an order");
        sold.extend(first..first + seats);
    }
    Ok(sold)
}

fn main() -> Result<(), Box<dyn Error>> {
    let base_port = std::env::args().nth(1).map_or(Ok(7400), |port| port.parse())?;
    let directory = tempfile::tempdir()?;
    let cluster = write_homes(directory.path(), base_port)?;
    let replicas = start(directory.path(), &cluster)?;

    let (file, key) = (directory.path().join("cluster.toml"), config::client_key(directory.path(), 0));
    let client = Client::open(file, key)?.with_deadline(Duration::from_secs(20));
    let orders = Mutex::new((0..ORDERS).map(|order| 1 + order % 4));
    let sold: Result<Vec<_>, CallError> = thread::scope(|scope| {
        let clerks: Vec<_> = (0..CLERKS).map(|_| scope.spawn(|| clerk(&orders, &client))).collect();
        clerks.into_iter().map(|clerk| clerk.join().expect("clerks don't panic")).collect()
    });

    let mut seats = sold?.concat();
    seats.sort_unstable();
    assert!(seats.iter().copied().eq(0..seats.len() as u64), "no seat is sold twice or left out");
    println!("{CLERKS} clerks sold {} seats in {ORDERS} orders, none of them twice", seats.len());
    replicas.into_iter().try_for_each(RunningReplica::stop)?;
    Ok(())
}
