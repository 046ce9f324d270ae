//! The fixed reference: work whose cost is known on the machine of the tables in `performance.md`, timed beside
//! each window, so that CPU times measured on another machine or in a slow hour can be compared with them.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use hypostyle::crypto::{SigningKey, Suite, VerifyingKey, sha256};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Cost of the reference's parts on the machine of the tables, CPU-µs: an RSA-2048 verification with a parsed key,
/// SHA-256 of 4 KiB, and 104 bytes written to a loopback connection and read from it. The second is not
/// in the table; it follows from the 76 ns of 100 bytes (two blocks) there.
pub const TABLE: Reference = Reference { rsa_verify_us: 13.3, sha256_4k_us: 2.2, loopback_us: 1.78 };

/// CPU time of the reference's parts, µs each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// One RSA-2048 verification with a parsed key.
    pub rsa_verify_us: f64,
    /// SHA-256 of 4,096 bytes.
    pub sha256_4k_us: f64,
    /// 104 bytes written to a loopback TCP connection and read at its other end.
    pub loopback_us: f64,
}

/// CPU time, µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// In user mode.
    pub user_us: f64,
    /// In the kernel.
    pub system_us: f64,
}

impl Cost {
    /// Both together.
    #[must_use]
    pub fn total_us(self) -> f64 {
        self.user_us + self.system_us
    }

    /// The share of one of so many operations.
    #[must_use]
    pub fn per(self, operations: f64) -> Self {
        Self { user_us: self.user_us / operations, system_us: self.system_us / operations }
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |sum, cost| Self {
            user_us: sum.user_us + cost.user_us,
            system_us: sum.system_us + cost.system_us,
        })
    }
}

impl Reference {
    /// A CPU time measured beside this reference, as it would be on the machine of the tables. That machine's kernel
    /// and its processor need not differ from this one's by the same factor (a virtual machine may take four
    /// times as long for a system call and as long for a signature), so time in user mode and in the kernel are scaled
    /// apart, by [`Self::user_scale`] and [`Self::system_scale`].
    #[must_use]
    pub fn scaled(&self, cost: Cost) -> f64 {
        cost.user_us * self.user_scale() + cost.system_us * self.system_scale()
    }

    /// Table / measured for user mode: the geometric mean of the two ratios of RSA and SHA-256. Below 1 this machine
    /// is the slower one.
    #[must_use]
    pub fn user_scale(&self) -> f64 {
        (TABLE.rsa_verify_us / self.rsa_verify_us * (TABLE.sha256_4k_us / self.sha256_4k_us)).sqrt()
    }

    /// Table / measured for the kernel: the ratio of the loopback write and read.
    #[must_use]
    pub fn system_scale(&self) -> f64 {
        TABLE.loopback_us / self.loopback_us
    }

    /// Halfway between two: one taken before a window and one behind it.
    #[must_use]
    pub fn mean(a: Self, b: Self) -> Self {
        Self {
            rsa_verify_us: f64::midpoint(a.rsa_verify_us, b.rsa_verify_us),
            sha256_4k_us: f64::midpoint(a.sha256_4k_us, b.sha256_4k_us),
            loopback_us: f64::midpoint(a.loopback_us, b.loopback_us),
        }
    }
}

/// CPU time of one signature and one verification of a suite, µs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuiteCost {
    /// Signing.
    pub sign_us: f64,
    /// Verifying with a parsed key.
    pub verify_us: f64,
}

impl SuiteCost {
    /// Times both with a fresh key, about 150 ms with RSA-2048.
    ///
    /// # Errors
    /// When the key doesn't parse.
    pub fn measure(suite: Suite) -> anyhow::Result<Self> {
        let key = SigningKey::generate(suite);
        let message = [7; 85];
        let signature = key.sign(&message).to_vec();
        let public = VerifyingKey::new(&key.public())?;
        let sign_us = median_us(10, || {
            std::hint::black_box(key.sign(&message));
            Ok(())
        })?;
        let verify_us = median_us(40, || {
            std::hint::black_box(public.verify(&message, &signature));
            Ok(())
        })?;
        Ok(Self { sign_us, verify_us })
    }
}

/// Holds what the reference needs, and times it.
pub struct Gauge {
    key: VerifyingKey,
    message: [u8; 85],
    signature: Vec<u8>,
    near: TcpStream,
    far: TcpStream,
}

impl Gauge {
    /// Makes a key and a connection.
    ///
    /// # Errors
    /// When loopback can't be used.
    pub fn new() -> anyhow::Result<Self> {
        let key = SigningKey::generate(Suite::Rsa2048);
        let message = [7; 85];
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        let (far, _) = listener.accept()?;
        near.set_nodelay(true)?;
        let signature = key.sign(&message).to_vec();
        Ok(Self { key: VerifyingKey::new(&key.public())?, message, signature, near, far })
    }

    /// Times the three parts, about 100 ms in all. CPU time, so that other load on the machine matters little;
    /// medians of chunks of a millisecond, so that an interruption doesn't.
    ///
    /// # Errors
    /// When the loopback connection fails.
    pub fn measure(&mut self) -> io::Result<Reference> {
        let block = [1; 4096];
        let rsa_verify_us = median_us(75, || {
            std::hint::black_box(self.key.verify(&self.message, &self.signature));
            Ok(())
        })?;
        let sha256_4k_us = median_us(450, || {
            std::hint::black_box(sha256(&[std::hint::black_box(&block)]));
            Ok(())
        })?;
        let mut received = [0; 104];
        let loopback_us = median_us(500, || {
            self.near.write_all(&block[..104])?;
            self.far.read_exact(&mut received)
        })?;
        Ok(Reference { rsa_verify_us, sha256_4k_us, loopback_us })
    }
}

const CHUNKS: usize = 31;

/// The median over chunks of `each` calls, CPU-µs of this thread a call.
fn median_us(each: u32, mut work: impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let mut chunks = Vec::with_capacity(CHUNKS);
    for _ in 0..CHUNKS {
        let start = thread_cpu_us();
        for _ in 0..each {
            work()?;
        }
        chunks.push((thread_cpu_us() - start) / f64::from(each));
    }
    chunks.sort_by(f64::total_cmp);
    Ok(chunks[CHUNKS / 2])
}

#[allow(clippy::cast_precision_loss, reason = "the difference of two readings is small")]
fn thread_cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_mode_and_kernel_are_scaled_apart() {
        let slow = Reference {
            rsa_verify_us: TABLE.rsa_verify_us * 2.0,
            sha256_4k_us: TABLE.sha256_4k_us * 2.0,
            loopback_us: TABLE.loopback_us * 4.0,
        };
        let cost = Cost { user_us: 80.0, system_us: 20.0 };
        assert!((slow.scaled(cost) - (40.0 + 5.0)).abs() < 1e-9);
        assert!((TABLE.scaled(cost) - cost.total_us()).abs() < 1e-9);
        assert!((Reference::mean(slow, TABLE).system_scale() - 1.0 / 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_suite_can_be_timed() {
        let cost = SuiteCost::measure(Suite::Rsa2048).expect("timed");
        assert!(cost.verify_us > 1.0 && cost.sign_us > cost.verify_us, "{cost:?}");
    }

    #[test]
    fn the_reference_can_be_timed() {
        let measured = Gauge::new().expect("loopback").measure().expect("timed");
        assert!(measured.rsa_verify_us > 1.0 && measured.rsa_verify_us < 1000.0, "{measured:?}");
        assert!(measured.sha256_4k_us > 0.1 && measured.loopback_us > 0.1, "{measured:?}");
    }
}
