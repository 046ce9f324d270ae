//! Values with units: how each type of setting is read and shown.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::error::{Wrong, suggestion};

/// A setting's value. Numbers of things are `u16` or `u32`; bytes are `usize`.
pub(crate) trait Value: Sized {
    /// Whether TOML writes its numbers without quotes.
    const BARE: bool = false;
    fn read(text: &str) -> Result<Self, Wrong>;
    /// What `read` reads; `None` when unset.
    fn show(&self) -> Option<String>;
}

/// A setting that is one of a few words.
pub(crate) trait Word: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
    /// The refusal of a word that means something, but isn't there yet.
    fn absent(_word: &str) -> Option<Wrong> {
        None
    }
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, value)| *value == self);
        found.expect("every variant has a word").0
    }
}

macro_rules! word_value {
    ($($word:ty),*) => {$(
        impl Value for $word {
            fn read(text: &str) -> Result<Self, Wrong> {
                $crate::config::value::read_word(text)
            }
            fn show(&self) -> Option<String> {
                Some(self.word().to_owned())
            }
        }
    )*};
}
pub(crate) use word_value;

pub(crate) fn read_word<W: Word>(text: &str) -> Result<W, Wrong> {
    if let Some((_, value)) = W::WORDS.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    if let Some(absent) = W::absent(text) {
        return Err(absent);
    }
    let known = W::WORDS.iter().map(|(word, _)| *word);
    Err(Wrong::new(format!("\"{}\" is no choice here", text.escape_debug()), suggestion(text, known)))
}

macro_rules! count_value {
    ($($count:ty),*) => {$(
        impl Value for $count {
            const BARE: bool = true;
            fn read(text: &str) -> Result<Self, Wrong> {
                text.parse().map_err(|_| {
                    let what = format!("\"{}\" is no whole number from 0 to {}", text.escape_debug(), Self::MAX);
                    Wrong::new(what, "write a whole number without a unit, such as 4")
                })
            }
            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}
count_value!(u16, u32);

impl Value for usize {
    fn read(text: &str) -> Result<Self, Wrong> {
        let size = text.parse::<ByteSize>().ok().and_then(|size| Self::try_from(size.as_u64()).ok());
        size.ok_or_else(|| {
            let what = format!("\"{}\" is no size", text.escape_debug());
            Wrong::new(what, "write a number of bytes with its unit, such as \"256KiB\"")
        })
    }

    fn show(&self) -> Option<String> {
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let unit = units.iter().find(|(_, shift)| *self > 0 && self.trailing_zeros() >= *shift);
        Some(unit.map_or_else(|| format!("{self}B"), |(unit, shift)| format!("{}{unit}", self >> shift)))
    }
}

impl Value for Duration {
    fn read(text: &str) -> Result<Self, Wrong> {
        if text == "0" {
            return Ok(Self::ZERO);
        }
        humantime::parse_duration(text).map_err(|_| {
            let what = format!("\"{}\" is no duration", text.escape_debug());
            Wrong::new(what, "write a number with its unit, such as \"1ms\" or \"5s\"")
        })
    }

    fn show(&self) -> Option<String> {
        Some(humantime::format_duration(*self).to_string())
    }
}

impl Value for String {
    fn read(text: &str) -> Result<Self, Wrong> {
        Ok(text.to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl Value for PathBuf {
    fn read(text: &str) -> Result<Self, Wrong> {
        Ok(Self::from(text))
    }

    fn show(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

impl Value for SocketAddr {
    fn read(text: &str) -> Result<Self, Wrong> {
        text.parse().map_err(|_| {
            let what = format!("\"{}\" is no address with a port", text.escape_debug());
            let remedy = "write an IP address and a port, such as \"127.0.0.1:7400\" or \"[::1]:7400\"; \
                          names of hosts are not looked up";
            Wrong::new(what, remedy)
        })
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for IpAddr {
    fn read(text: &str) -> Result<Self, Wrong> {
        text.parse().map_err(|_| {
            let what = format!("\"{}\" is no IP address", text.escape_debug());
            Wrong::new(what, "write an address without a port, such as \"192.0.2.7\"")
        })
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl<T: Value> Value for Option<T> {
    const BARE: bool = T::BARE;

    fn read(text: &str) -> Result<Self, Wrong> {
        T::read(text).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Value::show)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn sizes_and_durations_read_what_they_show() {
        for size in [0, 1, 1000, 1024, 65_536, 262_144, 262_145, 3 << 20, 1 << 30] {
            assert_eq!(usize::read(&size.show().unwrap()).unwrap(), size);
        }
        assert_eq!((256usize << 10).show().unwrap(), "256KiB");
        for duration in [0, 1, 999, 1_000_000, 500_000_000, 90_000_000_000].map(Duration::from_nanos) {
            assert_eq!(Duration::read(&duration.show().unwrap()).unwrap(), duration);
        }
    }

    #[test]
    fn a_bare_number_is_bytes_but_no_duration() {
        assert_eq!(usize::read("4096").unwrap(), 4096);
        assert_eq!(Duration::read("0").unwrap(), Duration::ZERO);
        assert!(Duration::read("500").is_err());
        assert!(usize::read("12 potatoes").is_err());
        assert!(u16::read("-1").is_err());
    }
}
