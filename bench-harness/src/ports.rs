use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

/// Addresses of this machine that nobody listens on: all are held while they are looked for, so that no two are equal, and let go
/// when this returns. Another program may take one before its user does: who uses them must be ready to
/// try others.
///
/// # Errors
/// When the system has none to give.
pub(crate) fn free(address: IpAddr, count: usize) -> io::Result<Vec<SocketAddr>> {
    let listeners =
        (0..count).map(|_| TcpListener::bind((address, 0))).collect::<io::Result<Vec<TcpListener>>>()?;
    listeners.iter().map(TcpListener::local_addr).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn ports_are_distinct_and_free() {
        let mut addresses = free(Ipv4Addr::LOCALHOST.into(), 20).expect("twenty ports");
        TcpListener::bind(addresses[7]).expect("free");
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 20);
    }
}
