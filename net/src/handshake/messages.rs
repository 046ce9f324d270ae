//! The handshake's messages, byte by byte. Each travels as a frame without MAC: length (u32) ‖ kind (u8) ‖ fields,
//! integers little endian. Sizes are fixed but for the signatures, whose size is the suite's, and refusals.

use hypostyle_app_api::{Digest, PillarId};
use hypostyle_crypto::SIGNATURE_LEN_MAX;

use crate::counters::Refusal;
use crate::handshake::ticket::TICKET_LEN;
use crate::peer::{Peer, Role};

/// The version of everything in this module.
pub(crate) const VERSION: u16 = 1;
/// Longest summary of a configuration that is told on a mismatch.
pub(crate) const SUMMARY_MAX: usize = 16 * 1024;
/// Longest `name=value` line told back.
pub(crate) const LINE_MAX: usize = 200;

const MAGIC: [u8; 4] = *b"hypo";

const HELLO: u8 = 1;
const ANSWER: u8 = 2;
const PROOF: u8 = 3;
const WELCOME: u8 = 4;
const REFUSAL: u8 = 5;
const DIFFERENCE: u8 = 6;

/// Bytes of an encoded [`Hello`].
pub(crate) const HELLO_LEN: usize = 1 + 4 + 2 + 1 + 5 + 2 + 32 + 32 + 32 + TICKET_LEN;
/// Bytes of an encoded [`Answer`].
pub(crate) const ANSWER_LEN: usize = 1 + 4 + 2 + 1 + 5 + 32 + 32 + 32 + 32;
/// Most bytes of a [`Proof`].
pub(crate) const PROOF_MAX: usize = 1 + SIGNATURE_LEN_MAX;
/// Most bytes of a refusal, the longest thing a responder says.
pub(crate) const REFUSAL_MAX: usize = 2 + SUMMARY_MAX;
/// Most bytes of a [`Difference`].
pub(crate) const DIFFERENCE_MAX: usize = 1 + LINE_MAX;

/// The initiator's opening.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hello {
    pub(crate) from: Peer,
    pub(crate) pillar: PillarId,
    pub(crate) nonce: [u8; 32],
    pub(crate) share: [u8; 32],
    pub(crate) configuration: Digest,
    /// Present: resume with this ticket. Absent: sign.
    pub(crate) ticket: Option<[u8; TICKET_LEN]>,
}

/// The responder's half of the exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) from: Peer,
    pub(crate) nonce: [u8; 32],
    pub(crate) share: [u8; 32],
    pub(crate) configuration: Digest,
    /// Present: the ticket was opened, and this MAC proves it. Absent: the initiator must sign.
    pub(crate) confirmation: Option<[u8; 32]>,
}

/// The initiator's signature or key confirmation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Proof<'a>(pub(crate) &'a [u8]);

/// The responder's signature and the ticket it covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Welcome<'a> {
    pub(crate) ticket: &'a [u8; TICKET_LEN],
    pub(crate) signature: &'a [u8],
}

/// Why the responder goes no further; of a configuration mismatch its summary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Turned<'a> {
    pub(crate) reason: Refusal,
    pub(crate) summary: &'a [u8],
}

/// The initiator's line that differs from the responder's summary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Difference<'a>(pub(crate) &'a [u8]);

/// What the responder may say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum FromResponder<'a> {
    Answer(Answer),
    Welcome(Welcome<'a>),
    Turned(Turned<'a>),
}

impl Hello {
    pub(crate) fn encode(&self) -> [u8; HELLO_LEN] {
        let mut writer = Writer::<HELLO_LEN>::new(HELLO);
        writer.put(&MAGIC);
        writer.put(&VERSION.to_le_bytes());
        writer.put(&[u8::from(self.ticket.is_some())]);
        writer.put(&self.from.bytes());
        writer.put(&self.pillar.0.to_le_bytes());
        writer.put(&self.nonce);
        writer.put(&self.share);
        writer.put(&self.configuration.0);
        writer.put(&self.ticket.unwrap_or([0; TICKET_LEN]));
        writer.finish()
    }

    pub(crate) fn decode(message: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader(message);
        if reader.take::<1>() != Some([HELLO]) || reader.take() != Some(MAGIC) {
            return Err(Refusal::NotHypostyle);
        }
        if reader.take::<2>().map(u16::from_le_bytes) != Some(VERSION) {
            return Err(Refusal::Version);
        }
        Self::fields(&mut reader).ok_or(Refusal::Malformed)
    }

    fn fields(reader: &mut Reader<'_>) -> Option<Self> {
        let resumes = reader.flag()?;
        let hello = Self {
            from: reader.peer()?,
            pillar: PillarId(u16::from_le_bytes(reader.take()?)),
            nonce: reader.take()?,
            share: reader.take()?,
            configuration: Digest(reader.take()?),
            ticket: reader.option(resumes)?,
        };
        reader.end().then_some(hello)
    }
}

impl Answer {
    pub(crate) fn encode(&self) -> [u8; ANSWER_LEN] {
        let mut writer = Writer::<ANSWER_LEN>::new(ANSWER);
        writer.put(&MAGIC);
        writer.put(&VERSION.to_le_bytes());
        writer.put(&[u8::from(self.confirmation.is_some())]);
        writer.put(&self.from.bytes());
        writer.put(&self.nonce);
        writer.put(&self.share);
        writer.put(&self.configuration.0);
        writer.put(&self.confirmation.unwrap_or([0; 32]));
        writer.finish()
    }

    /// What the signatures and confirmations cover: all but the confirmation itself.
    pub(crate) fn covered(&self) -> [u8; ANSWER_LEN] {
        let mut bytes = self.encode();
        bytes[ANSWER_LEN - 32..].fill(0);
        bytes
    }

    fn fields(reader: &mut Reader<'_>) -> Option<Self> {
        if reader.take()? != MAGIC || u16::from_le_bytes(reader.take()?) != VERSION {
            return None;
        }
        let resumes = reader.flag()?;
        let answer = Self {
            from: reader.peer()?,
            nonce: reader.take()?,
            share: reader.take()?,
            configuration: Digest(reader.take()?),
            confirmation: reader.option(resumes)?,
        };
        reader.end().then_some(answer)
    }
}

impl<'a> Proof<'a> {
    pub(crate) fn encode(self) -> Vec<u8> {
        [&[PROOF], self.0].concat()
    }

    pub(crate) fn decode(message: &'a [u8]) -> Option<Self> {
        message.strip_prefix(&[PROOF]).map(Self)
    }
}

impl Welcome<'_> {
    pub(crate) fn encode(self) -> Vec<u8> {
        [&[WELCOME], self.ticket.as_slice(), self.signature].concat()
    }
}

impl Turned<'_> {
    pub(crate) fn encode(self) -> Vec<u8> {
        [&[REFUSAL, self.reason.code()], self.summary].concat()
    }
}

impl<'a> Difference<'a> {
    pub(crate) fn encode(self) -> Vec<u8> {
        [&[DIFFERENCE], &self.0[..self.0.len().min(LINE_MAX)]].concat()
    }

    pub(crate) fn decode(message: &'a [u8]) -> Option<Self> {
        message.strip_prefix(&[DIFFERENCE]).map(Self)
    }
}

impl<'a> FromResponder<'a> {
    pub(crate) fn decode(message: &'a [u8]) -> Option<Self> {
        let (kind, fields) = message.split_first()?;
        match *kind {
            ANSWER => Answer::fields(&mut Reader(fields)).map(Self::Answer),
            WELCOME => {
                let (ticket, signature) = fields.split_first_chunk()?;
                Some(Self::Welcome(Welcome { ticket, signature }))
            }
            REFUSAL => {
                let (code, summary) = fields.split_first()?;
                let reason = Refusal::from_code(*code)?;
                Some(Self::Turned(Turned { reason, summary }))
            }
            _ => None,
        }
    }
}

/// Fills a message of known size.
struct Writer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Writer<N> {
    fn new(kind: u8) -> Self {
        let mut bytes = [0; N];
        bytes[0] = kind;
        Self { bytes, len: 1 }
    }

    fn put(&mut self, field: &[u8]) {
        self.bytes[self.len..self.len + field.len()].copy_from_slice(field);
        self.len += field.len();
    }

    fn finish(self) -> [u8; N] {
        assert_eq!(self.len, N, "all fields are written");
        self.bytes
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn peer(&mut self) -> Option<Peer> {
        let [role] = self.take()?;
        Some(Peer { role: Role::from_byte(role)?, id: u32::from_le_bytes(self.take()?) })
    }

    /// A field that is all zero when absent: one encoding of each message.
    fn option<const N: usize>(&mut self, present: bool) -> Option<Option<[u8; N]>> {
        let field = self.take::<N>()?;
        match present {
            true => Some(Some(field)),
            false => (field == [0; N]).then_some(None),
        }
    }

    fn end(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello(resumes: bool) -> Hello {
        Hello {
            from: Peer { role: Role::Client, id: 7 },
            pillar: PillarId(2),
            nonce: [1; 32],
            share: [2; 32],
            configuration: Digest([3; 32]),
            ticket: resumes.then_some([4; TICKET_LEN]),
        }
    }

    fn answer(resumes: bool) -> Answer {
        Answer {
            from: Peer { role: Role::Replica, id: 1 },
            nonce: [1; 32],
            share: [2; 32],
            configuration: Digest([3; 32]),
            confirmation: resumes.then_some([9; 32]),
        }
    }

    #[test]
    fn messages_decode_to_what_was_encoded() {
        for resumes in [false, true] {
            assert_eq!(Hello::decode(&hello(resumes).encode()), Ok(hello(resumes)));
            let bytes = answer(resumes).encode();
            assert_eq!(FromResponder::decode(&bytes), Some(FromResponder::Answer(answer(resumes))));
        }
        assert_eq!(Proof::decode(&Proof(b"signature").encode()), Some(Proof(b"signature")));
        assert_eq!(Difference::decode(&Difference(b"a=1").encode()), Some(Difference(b"a=1")));
        let welcome = Welcome { ticket: &[5; TICKET_LEN], signature: b"s" };
        assert_eq!(FromResponder::decode(&welcome.encode()), Some(FromResponder::Welcome(welcome)));
        let turned = Turned { reason: Refusal::Configuration, summary: b"pillars=2\n" };
        assert_eq!(FromResponder::decode(&turned.encode()), Some(FromResponder::Turned(turned)));
    }

    #[test]
    fn every_truncation_and_every_surplus_is_refused() {
        let bytes = hello(true).encode();
        for cut in 0..bytes.len() {
            assert!(Hello::decode(&bytes[..cut]).is_err());
        }
        assert!(Hello::decode(&[&bytes[..], &[0]].concat()).is_err());
        let bytes = answer(false).encode();
        for cut in 0..bytes.len() {
            assert_eq!(FromResponder::decode(&bytes[..cut]), None);
        }
    }

    #[test]
    fn another_protocol_and_another_version_are_told_apart() {
        let mut bytes = hello(false).encode();
        bytes[5] = 9;
        assert_eq!(Hello::decode(&bytes), Err(Refusal::Version));
        bytes[1] = b'H';
        assert_eq!(Hello::decode(&bytes), Err(Refusal::NotHypostyle));
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(at in 0usize..HELLO_LEN, bit in 0u8..8, resumes: bool) {
            let mut bytes = hello(resumes).encode();
            bytes[at] ^= 1 << bit;
            if let Ok(decoded) = Hello::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Hello::decode(&bytes);
            let _ = FromResponder::decode(&bytes);
        }
    }
}
