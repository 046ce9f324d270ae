use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Passes bytes between whoever connects and `target`, and does to them what a network might.
pub(crate) struct Proxy {
    listener: TcpListener,
    target: SocketAddr,
    pairs: Vec<(TcpStream, TcpStream)>,
    /// Flips a bit of the next byte that passes towards the target.
    pub(crate) flips: bool,
    /// Lets nothing pass.
    pub(crate) silent: bool,
}

impl Proxy {
    pub(crate) fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, target, pairs: Vec::new(), flips: false, silent: false }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn turn(&mut self) {
        while let Ok((near, _)) = self.listener.accept() {
            let far = TcpStream::connect(self.target).unwrap();
            near.set_nonblocking(true).unwrap();
            far.set_nonblocking(true).unwrap();
            self.pairs.push((near, far));
        }
        if self.silent {
            return;
        }
        let flips = &mut self.flips;
        self.pairs.retain_mut(|(near, far)| pass(near, far, flips) && pass(far, near, &mut false));
    }
}

/// Whether the connection lives on.
fn pass(from: &mut TcpStream, to: &mut TcpStream, flips: &mut bool) -> bool {
    let mut buffer = [0; 4096];
    match from.read(&mut buffer) {
        Ok(0) => false,
        Ok(n) => {
            if std::mem::take(flips) {
                buffer[n / 2] ^= 0x10;
            }
            to.write_all(&buffer[..n]).is_ok()
        }
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
