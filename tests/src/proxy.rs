//! A TCP proxy that does to the bytes what a network, or somebody in it, might.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Passes bytes between whoever connects and its target until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// From who connected to the target.
    Target,
    /// And back.
    Dialler,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    target: Option<SocketAddr>,
    lanes: [Lane; 2],
    streams: Vec<TcpStream>,
    connections: u64,
    closing: bool,
}

/// What happens to the bytes of one direction.
#[derive(Debug, Default)]
struct Lane {
    held: bool,
    /// Since when it is held half the time, and for how long each time.
    flapping: Option<(Instant, Duration)>,
    /// Chunks yet to be changed, and where, from their ends.
    flips: u64,
    from_end: usize,
    flipped: u64,
}

const CHUNK: usize = 64 * 1024;

impl Proxy {
    /// A proxy on a free port of loopback that leads nowhere yet.
    ///
    /// # Errors
    /// When the system gives no port or thread.
    pub fn new() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let accepting = thread::Builder::new().spawn(move || accept(&listener, &for_thread))?;
        Ok(Self { address, shared, accepting: Some(accepting) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where connections go from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        self.shared.change(|state| state.target = Some(target));
    }

    /// Flips a bit in each of the next chunks that pass, in the byte that is `from_end`th from the end. Where a frame is
    /// all that is under way, the chunk is that frame.
    pub fn flip(&self, toward: Toward, chunks: u64, from_end: usize) {
        self.shared.change(|state| {
            let lane = &mut state.lanes[toward as usize];
            (lane.flips, lane.from_end) = (chunks, from_end);
        });
    }

    /// How many chunks were changed.
    #[must_use]
    pub fn flipped(&self, toward: Toward) -> u64 {
        self.shared.state().lanes[toward as usize].flipped
    }

    /// Lets nothing pass while `held`; what came meanwhile passes then.
    pub fn hold(&self, toward: Toward, held: bool) {
        self.shared.change(|state| state.lanes[toward as usize].held = held);
    }

    /// From now on lets nothing pass for `period`, then everything for as long, and so on; always, when it is `None`.
    pub fn flap(&self, toward: Toward, period: Option<Duration>) {
        let now = Instant::now();
        self.shared
            .change(|state| state.lanes[toward as usize].flapping = period.map(|period| (now, period)));
    }

    /// Ends all connections: what is under way is lost. New ones are made as before.
    pub fn cut(&self) {
        self.shared.change(|state| state.streams.drain(..).for_each(|stream| close(&stream)));
    }

    /// How many connections were ever made.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.state().connections
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.closing = true;
            state.streams.iter().for_each(close);
        });
        // Ends the wait for the next connection.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            // A panic there was printed when it happened.
            drop(accepting.join());
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits while the lane is held, then does to the chunk what is to be done. False when all is over.
    fn treat(&self, toward: Toward, chunk: &mut [u8]) -> bool {
        let mut state = self.state();
        while !state.closing
            && let Some(longest) = state.lanes[toward as usize].waits(Instant::now())
        {
            let waited = self.changed.wait_timeout(state, longest);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let lane = &mut state.lanes[toward as usize];
        if lane.flips > 0 {
            lane.flips -= 1;
            lane.flipped += 1;
            let at = chunk.len().saturating_sub(lane.from_end.max(1));
            chunk[at] ^= 0x10;
        }
        !state.closing
    }
}

impl Lane {
    /// If nothing passes now: when to look again, unless something changes before.
    fn waits(&self, now: Instant) -> Option<Duration> {
        if self.held {
            return Some(Duration::MAX);
        }
        let (since, period) = self.flapping?;
        let into = (now - since).as_nanos() % (2 * period.as_nanos());
        let left = period.as_nanos().checked_sub(into).filter(|left| *left > 0)?;
        Some(Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)))
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut passing = Vec::new();
    while let Ok((near, _)) = listener.accept() {
        let (target, closing) = {
            let state = shared.state();
            (state.target, state.closing)
        };
        if closing {
            break;
        }
        let Some(Ok(far)) = target.map(TcpStream::connect) else { continue };
        if let Ok(threads) = join(near, far, shared) {
            passing.extend(threads);
        }
    }
    for thread in passing {
        // As above.
        drop(thread.join());
    }
}

/// Two threads, one a direction.
fn join(near: TcpStream, far: TcpStream, shared: &Arc<Shared>) -> io::Result<[JoinHandle<()>; 2]> {
    let clones = [near.try_clone()?, far.try_clone()?];
    for stream in &clones {
        stream.set_nodelay(true)?;
    }
    shared.change(|state| {
        state.connections += 1;
        if state.closing {
            clones.iter().for_each(close);
        }
        state.streams.extend(clones);
    });
    let start = |from: TcpStream, to: TcpStream, toward| {
        let shared = Arc::clone(shared);
        thread::Builder::new().spawn(move || pass(from, to, &shared, toward))
    };
    let toward_target = start(near.try_clone()?, far.try_clone()?, Toward::Target)?;
    Ok([toward_target, start(far, near, Toward::Dialler)?])
}

fn pass(mut from: TcpStream, mut to: TcpStream, shared: &Shared, toward: Toward) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(received @ 1..) = from.read(&mut buffer) {
        let chunk = &mut buffer[..received];
        if !shared.treat(toward, chunk) || to.write_all(chunk).is_err() {
            break;
        }
    }
    close(&from);
    close(&to);
}

fn close(stream: &TcpStream) {
    // It may be closed already.
    drop(stream.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn passes_flips_and_holds() {
        let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy::new().unwrap();
        proxy.lead_to(target.local_addr().unwrap());
        let mut near = TcpStream::connect(proxy.address()).unwrap();
        let (mut far, _) = target.accept().unwrap();
        let mut buffer = [0; 3];
        near.write_all(b"abc").unwrap();
        far.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"abc");

        proxy.flip(Toward::Dialler, 1, 2);
        far.write_all(b"abc").unwrap();
        near.read_exact(&mut buffer).unwrap();
        assert_eq!((&buffer, proxy.flipped(Toward::Dialler)), (b"arc", 1));

        proxy.hold(Toward::Target, true);
        near.write_all(b"def").unwrap();
        far.set_nonblocking(true).unwrap();
        assert_eq!(far.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        far.set_nonblocking(false).unwrap();
        proxy.hold(Toward::Target, false);
        far.read_exact(&mut buffer).unwrap();
        assert_eq!((&buffer, proxy.connections()), (b"def", 1));

        proxy.flap(Toward::Dialler, Some(Duration::from_millis(50)));
        let begun = Instant::now();
        far.write_all(b"ghi").unwrap();
        near.read_exact(&mut buffer).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(40), "held at first, then passed");

        proxy.cut();
        assert_eq!(near.read(&mut buffer).unwrap(), 0);
        let mut near = TcpStream::connect(proxy.address()).unwrap();
        let (_far, _) = target.accept().unwrap();
        drop(proxy);
        assert_eq!(near.read(&mut buffer).unwrap(), 0);
    }
}
