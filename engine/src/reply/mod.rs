//! Replies: what a client's operations came to, grouped by client, under one signature over a Merkle tree.
//!
//! All integers are little-endian.
//!
//! **Group**, a leaf of the tree: signer u16 ‖ pillar u16 ‖ view u64 ‖ client u32 ‖ count u16 ‖ records.
//! **Record**: number u64 ‖ first 16 bytes of the request's digest ‖ kind u8 (0 result, 1 deterministic error) ‖
//! length u32 ‖ the result itself up to [`INLINE_MAX`] bytes, else its SHA-256.
//! **Message**: length of the group u32 ‖ group ‖ leaf index u32 ‖ leaves u32 ‖ length of the path u8 ‖ path ‖ seal ‖
//! attachments u16 ‖ attachments. **Attachment**, a result sent whole: record index u16 ‖ length u32 ‖ bytes.
//! **Tagged message**: length of the group u32 ‖ group ‖ tag of the leaf's digest, 16 bytes ‖ attachments u16 ‖ attachments.
//! **Hint**: first number of a request u64; its client must sign it to have it ordered here. Not authenticated.

/// Type byte of a request in a frame to a replica, and of a reply in one to a client.
pub const CLIENT_FRAME: u8 = 1;
/// Type byte of a tagged reply.
pub const TAGGED_FRAME: u8 = 2;
/// Type byte of a hint.
pub const HINT_FRAME: u8 = 3;

mod answer;
mod group;
mod groups;
mod incoming;
mod message;

pub use answer::{Answer, Failure, INLINE_MAX};
pub use group::{ReplyGroup, encode_reply, encode_tagged_reply, seal_tree};
pub(crate) use groups::{GroupLimits, Groups};
pub use incoming::Incoming;
pub use message::{Malformed, Record, ReplyMessage, ReplyProof, Value};

#[cfg(test)]
mod tests;
