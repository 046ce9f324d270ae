use bytes::Bytes;
use hypostyle_app_api::Number;

use super::{CLIENT_FRAME, HINT_FRAME, ReplyMessage, TAGGED_FRAME};

/// What a replica sends a client.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// What operations came to.
    Reply(ReplyMessage),
    /// The request with this first number must be signed to be ordered there.
    Hint(Number),
}

impl Incoming {
    /// Decodes the payload of a frame.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &Bytes) -> Result<Self, &'static str> {
        let rest = payload.slice(payload.len().min(1)..);
        let reply = match payload.first() {
            Some(&CLIENT_FRAME) => ReplyMessage::decode(rest),
            Some(&TAGGED_FRAME) => ReplyMessage::decode_tagged(rest),
            Some(&HINT_FRAME) => {
                let first = rest[..].try_into().map(u64::from_le_bytes);
                return first.map(|first| Self::Hint(Number(first))).map_err(|_| "a malformed hint");
            }
            _ => return Err("a frame of an unknown type"),
        };
        reply.map(Self::Reply).map_err(|malformed| malformed.0)
    }
}
