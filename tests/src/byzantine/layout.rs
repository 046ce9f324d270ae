//! How the bytes of each message are laid out.

use hypostyle::reply::INLINE_MAX;
use hypostyle_crypto::TAG_LEN;
use hypostyle_pillars::message::STATEMENT_BYTES;

use super::fields::Field;

/// Walks through a message's bytes, field by field.
pub(super) struct Layout<'a> {
    bytes: &'a [u8],
    at: usize,
    fields: Vec<Field>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, fields: Vec::new() }
    }

    /// The fields, if they are all of it.
    pub(super) fn whole(self) -> Option<Vec<Field>> {
        (self.at == self.bytes.len()).then_some(self.fields)
    }

    /// A field of so many bytes; returns its value as far as 64 bits hold it.
    pub(super) fn take(&mut self, name: &'static str, length: usize) -> Option<usize> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let bytes = &self.bytes[self.at..end];
        if length > 0 {
            self.fields.push(Field { name, at: self.at..end });
        }
        self.at = end;
        let value = bytes.iter().take(8).rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(value).ok()
    }

    pub(super) fn body(&mut self) -> Option<()> {
        self.take("timestamp", 8)?;
        let requests = self.take("count", 4)?;
        let recovers = self.take("recovers", 2)?;
        for _ in 0..requests {
            self.take("length", 4)?;
            self.request()?;
        }
        for _ in 0..recovers {
            self.recover()?;
        }
        Some(())
    }

    pub(super) fn request(&mut self) -> Option<()> {
        self.take("client", 4)?;
        self.take("first", 8)?;
        self.take("floor", 8)?;
        self.take("flags", 1)?;
        for _ in 0..self.take("operations", 2)? {
            let length = self.take("operation length", 4)?;
            self.take("operation", length)?;
        }
        self.take("authenticator", 1)?;
        let length = self.take("signature length", 2)?;
        self.take("signature", length)?;
        Some(())
    }

    pub(super) fn bundle(&mut self) -> Option<()> {
        self.take("signer", 2)?;
        self.take("pillar", 2)?;
        for _ in 0..self.take("count", 1)? {
            let end = self.at + STATEMENT_BYTES;
            self.take("statement kind", 1)?;
            self.take("statement pillar", 2)?;
            self.take("statement view", 8)?;
            self.take("statement seq", 8)?;
            self.take("statement digest", end.checked_sub(self.at)?)?;
        }
        self.seal()
    }

    fn seal(&mut self) -> Option<()> {
        self.take("seal signer", 2)?;
        for _ in 0..self.take("seal entries", 1)? {
            let kind = self.take("entry kind", 1)?;
            if kind != 1 {
                self.take("entry pillar", 2)?;
            }
            self.take("entry digest", 32)?;
        }
        let length = self.take("signature length", 2)?;
        self.take("signature", length)?;
        Some(())
    }

    pub(super) fn status(&mut self) -> Option<()> {
        self.take("view", 8)?;
        self.take("active", 1)?;
        self.take("stable", 8)?;
        self.take("frontier", 8)?;
        self.take("accepted", 8)?;
        for _ in 0..self.take("wanted", 1)? {
            self.take("wanted seq", 8)?;
            self.take("wanted digest", 32)?;
        }
        for _ in 0..self.take("wanted changes", 1)? {
            self.take("wanted change", 32)?;
        }
        Some(())
    }

    pub(super) fn view_change(&mut self) -> Option<()> {
        self.take("signer", 2)?;
        self.take("pillar", 2)?;
        self.take("incarnation", 8)?;
        self.take("view", 8)?;
        self.take("blocked", 4)?;
        self.take("stable", 8)?;
        self.take("stable digest", 32)?;
        for _ in 0..self.take("prepared", 2)? {
            self.take("prepared seq", 8)?;
            self.take("prepared view", 8)?;
            self.take("prepared digest", 32)?;
        }
        for _ in 0..self.take("bundles", 4)? {
            let length = self.take("bundle length", 4)?;
            self.take("bundle", length)?;
        }
        self.seal()
    }

    pub(super) fn new_view(&mut self) -> Option<()> {
        self.take("signer", 2)?;
        self.take("pillar", 2)?;
        self.take("view", 8)?;
        for _ in 0..self.take("count", 2)? {
            self.take("replica", 2)?;
            self.take("digest", 32)?;
        }
        self.seal()
    }

    pub(super) fn recover(&mut self) -> Option<()> {
        self.take("recover replica", 2)?;
        self.take("recover incarnation", 8)?;
        self.take("recover nonce", 16)?;
        let length = self.take("recover signature length", 2)?;
        self.take("recover signature", length)?;
        Some(())
    }

    /// What concerns a transfer and has fields of fixed lengths.
    pub(super) fn transfer(&mut self, fields: &[(&'static str, usize)]) -> Option<()> {
        self.take("kind", 1)?;
        fields.iter().try_for_each(|(name, length)| self.take(name, *length).map(|_| ()))
    }

    pub(super) fn fetch(&mut self) -> Option<()> {
        self.transfer(&[("root", 32)])?;
        for _ in 0..self.take("wanted", 1)? {
            self.take("wanted index", 4)?;
            self.take("wanted have", 32)?;
        }
        Some(())
    }

    pub(super) fn chunk(&mut self) -> Option<()> {
        self.transfer(&[("root", 32), ("index", 4)])?;
        let steps = self.take("path length", 1)?;
        self.take("path", steps.checked_mul(32)?)?;
        self.take("data", self.bytes.len() - self.at)?;
        Some(())
    }

    pub(super) fn reply(&mut self) -> Option<()> {
        self.group()?;
        self.take("index", 4)?;
        self.take("leaves", 4)?;
        let steps = self.take("path length", 1)?;
        self.take("path", steps.checked_mul(32)?)?;
        self.seal()?;
        self.attachments()
    }

    pub(super) fn tagged_reply(&mut self) -> Option<()> {
        self.group()?;
        self.take("tag", TAG_LEN)?;
        self.attachments()
    }

    fn group(&mut self) -> Option<()> {
        self.take("group length", 4)?;
        self.take("signer", 2)?;
        self.take("pillar", 2)?;
        self.take("view", 8)?;
        self.take("client", 4)?;
        for _ in 0..self.take("count", 2)? {
            self.take("number", 8)?;
            self.take("request", 16)?;
            self.take("kind", 1)?;
            let length = self.take("length", 4)?;
            self.take("value", length.min(INLINE_MAX))?;
        }
        Some(())
    }

    fn attachments(&mut self) -> Option<()> {
        for _ in 0..self.take("attachments", 2)? {
            self.take("attachment index", 2)?;
            let length = self.take("attachment length", 4)?;
            self.take("attachment", length)?;
        }
        Some(())
    }
}
