//! What happened, as one number that two runs can be compared by, and as text for people.

use std::fmt::Arguments;

use super::queue::Time;

/// The events of a run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    steps: u64,
    prints: bool,
}

impl Trace {
    /// A trace of nothing; `prints` has each event written to standard error.
    #[must_use]
    pub fn new(prints: bool) -> Self {
        Self { prints, ..Self::default() }
    }

    /// Adds an event.
    pub fn step(&mut self, now: Time, what: [u64; 3], payload: &[u8]) {
        self.steps += 1;
        for number in [now, what[0], what[1], what[2], hash(payload)] {
            self.hash = fold(self.hash, number);
        }
    }

    /// Whether anybody reads [`Trace::tell`].
    #[must_use]
    pub fn prints(&self) -> bool {
        self.prints
    }

    /// Writes a line for people.
    pub fn tell(&self, now: Time, text: Arguments<'_>) {
        if self.prints {
            eprintln!("{:>7}.{:03} ms  {text}", now / 1_000_000, now / 1_000 % 1_000);
        }
    }

    /// Stands for all events so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many there were.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

/// A hash of bytes, the same on every machine.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let whole = words.iter().fold(bytes.len() as u64, |hash, word| fold(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(whole, |hash, byte| fold(hash, u64::from(*byte)))
}

/// Adds a number to a hash.
#[must_use]
pub fn fold(hash: u64, number: u64) -> u64 {
    let mixed = (hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_length_and_content_matter() {
        assert_ne!(hash(b"abcdefgh12345678"), hash(b"12345678abcdefgh"));
        assert_ne!(hash(b"a"), hash(b"a\0"));
        let mut traces = [Trace::new(false), Trace::new(false)];
        traces[0].step(1, [0, 1, 2], b"");
        traces[1].step(1, [0, 2, 1], b"");
        assert_ne!(traces[0].hash(), traces[1].hash());
        assert_eq!(traces[0].steps(), 1);
    }
}
