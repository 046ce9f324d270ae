use std::fmt;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A replica: its index in the cluster configuration, 0..n.
    ReplicaId(u16)
);
id!(
    /// A client: its index in the cluster configuration.
    ClientId(u32)
);
id!(
    /// A pillar: one PBFT instance, 0..P.
    PillarId(u16)
);
id!(
    /// A view of one pillar (OSDI'99, section 4): who is primary.
    View(u64)
);
id!(
    /// A sequence number of one pillar: 1, 2, 3…
    Seq(u64)
);
id!(
    /// The P slots of equal sequence number.
    Round(u64)
);
id!(
    /// A slot's place in the global order: (s-1)·P + p, from 0.
    Position(u64)
);
id!(
    /// A client's own number for an operation: 1, 2, 3…, never used twice.
    Number(u64)
);

impl ReplicaId {
    /// As an index into per-replica arrays.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl PillarId {
    /// As an index into per-pillar arrays.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl ClientId {
    /// As an index into per-client arrays.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Position {
    /// The position of slot (pillar, seq) among `pillars` pillars.
    ///
    /// # Panics
    /// When `seq` is 0 or the position does not fit 64 bits: sequence numbers are bounded by the window.
    #[must_use]
    pub fn of(pillar: PillarId, seq: Seq, pillars: u16) -> Self {
        assert!(seq.0 > 0 && pillar.0 < pillars, "slot ({pillar}, {seq}) outside {pillars} pillars");
        let rounds_before = (seq.0 - 1).checked_mul(u64::from(pillars));
        Self(rounds_before.and_then(|p| p.checked_add(u64::from(pillar.0))).expect("position fits 64 bits"))
    }

    /// The slot at this position among `pillars` pillars.
    #[must_use]
    pub fn slot(self, pillars: u16) -> (PillarId, Seq) {
        let p = u64::from(pillars);
        (PillarId(u16::try_from(self.0 % p).expect("below P")), Seq(self.0 / p + 1))
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// All zero: stands for "nothing".
    pub const ZERO: Self = Self([0; 32]);

    /// Reads the 64 hexadecimal digits that [`Display`](fmt::Display) prints.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_slots_are_inverse() {
        for pillars in 1..=9 {
            for position in 0..100 {
                let (pillar, seq) = Position(position).slot(pillars);
                assert_eq!(Position::of(pillar, seq, pillars), Position(position));
            }
        }
    }

    #[test]
    fn digest_reads_what_it_prints() {
        let digest = Digest(std::array::from_fn(|i| u8::try_from(i * 7).unwrap_or(255)));
        assert_eq!(Digest::from_hex(&digest.to_string()), Some(digest));
        assert_eq!(Digest::from_hex("zz"), None);
        assert_eq!(Digest::from_hex(&"é".repeat(32)), None);
        assert_eq!(Digest::from_hex(&"+f".repeat(32)), None);
    }
}
