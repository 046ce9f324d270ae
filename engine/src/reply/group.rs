use bytes::Bytes;
use hypostyle_app_api::{ClientId, PillarId, ReplicaId, View};
use hypostyle_crypto::merkle::{Tree, leaf};
use hypostyle_crypto::{Entry, MacKey, Seal};

use super::Answer;

/// The answers for one client on one pillar's connection: a leaf of the tree that the replica signs.
#[derive(Clone, Debug)]
pub struct ReplyGroup {
    client: ClientId,
    pillar: PillarId,
    /// What is signed; its count is written as records come.
    bytes: Vec<u8>,
    count: u16,
    attachments: Vec<(u16, Bytes)>,
    attached: usize,
}

pub(super) const HEADER_BYTES: usize = 2 + 2 + 8 + 4 + 2;
const COUNT_AT: usize = HEADER_BYTES - 2;

impl ReplyGroup {
    /// A group without records, told by `signer` in `view` of `pillar`.
    #[must_use]
    pub fn new(signer: ReplicaId, pillar: PillarId, view: View, client: ClientId) -> Self {
        let bytes = Vec::with_capacity(256);
        let mut group = Self { client, pillar, bytes, count: 0, attachments: Vec::new(), attached: 0 };
        group.restart(signer, pillar, view, client);
        group
    }

    /// Makes a new group of it, in the same memory.
    pub(super) fn restart(&mut self, signer: ReplicaId, pillar: PillarId, view: View, client: ClientId) {
        (self.client, self.pillar, self.count, self.attached) = (client, pillar, 0, 0);
        self.attachments.clear();
        self.bytes.clear();
        self.bytes.extend_from_slice(&signer.0.to_le_bytes());
        self.bytes.extend_from_slice(&pillar.0.to_le_bytes());
        self.bytes.extend_from_slice(&view.0.to_le_bytes());
        self.bytes.extend_from_slice(&client.0.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 2]);
    }

    /// Appends an answer, and its result whole when `whole` is given.
    ///
    /// # Panics
    /// At the 65,536th answer, or when `whole` is not what the answer is about: our own mistakes.
    pub fn push(&mut self, answer: &Answer, whole: Option<Bytes>) {
        if let Some(whole) = whole {
            assert!(answer.is_large() && whole.len() == answer.len(), "another result attached");
            self.attached += whole.len();
            self.attachments.push((self.count, whole));
        }
        answer.encode(&mut self.bytes);
        self.count = self.count.checked_add(1).expect("groups are closed before they overflow");
        self.bytes[COUNT_AT..HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
    }

    /// Whose answers these are.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// On which pillar's connection they leave.
    #[must_use]
    pub fn pillar(&self) -> PillarId {
        self.pillar
    }

    /// How many answers it holds.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// Bytes of results attached whole.
    pub(super) fn attached(&self) -> usize {
        self.attached
    }

    /// Bytes of memory it keeps when it is used again.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// What a faulty replica may do.
#[cfg(test)]
impl ReplyGroup {
    pub(super) fn set_count(&mut self, count: u16) {
        self.bytes[COUNT_AT..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
    }

    pub(super) fn set_attachments(&mut self, attachments: Vec<(u16, Bytes)>) {
        self.attachments = attachments;
    }
}

/// The tree over `groups`, leaves in their order; its root goes into a seal.
///
/// # Panics
/// When there is no group.
#[must_use]
pub fn seal_tree(groups: &[ReplyGroup]) -> Tree {
    Tree::new(groups.iter().map(|group| leaf(&group.bytes)).collect())
}

/// Appends the message that brings `group`, leaf `index` of `tree`, under `seal`.
///
/// # Panics
/// When the tree has no such leaf or the seal doesn't cover its root: our own mistakes.
pub fn encode_reply(group: &ReplyGroup, index: usize, tree: &Tree, seal: &Seal, out: &mut Vec<u8>) {
    debug_assert!(seal.contains(&Entry::Replies { root: tree.root() }), "the seal covers another tree");
    let path = tree.path(index);
    length(out, group.bytes.len());
    out.extend_from_slice(&group.bytes);
    length(out, index);
    length(out, tree.leaves());
    out.push(u8::try_from(path.len()).expect("a tree below 2^32 leaves"));
    path.iter().for_each(|digest| out.extend_from_slice(&digest.0));
    seal.encode(out);
    attachments(group, out);
}

/// Appends the message that brings `group` under the tag of a client's session.
pub fn encode_tagged_reply(group: &ReplyGroup, key: &MacKey, out: &mut Vec<u8>) {
    length(out, group.bytes.len());
    out.extend_from_slice(&group.bytes);
    out.extend_from_slice(&key.tag(&leaf(&group.bytes)));
    attachments(group, out);
}

fn attachments(group: &ReplyGroup, out: &mut Vec<u8>) {
    let attachments = u16::try_from(group.attachments.len()).expect("at most one a record");
    out.extend_from_slice(&attachments.to_le_bytes());
    for (record, whole) in &group.attachments {
        out.extend_from_slice(&record.to_le_bytes());
        length(out, whole.len());
        out.extend_from_slice(whole);
    }
}

fn length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).expect("groups are bounded").to_le_bytes());
}
