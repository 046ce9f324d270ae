//! An adversary signs whatever it likes with its own key: the content of a message, however wrong, under a seal of its
//! own.

use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId, ReplicaId};
use hypostyle_crypto::{Entry, Identity, Seal, Session, TAG_LEN, Tag, merkle, sha256};

use super::fields::{Field, Type};

/// Puts a changed message under a new seal of `me`, where its content begins with a seal at all. `fields` are those of
/// the message before it was changed.
pub(super) fn reseal(
    kind: Type,
    changed: &[u8],
    fields: &[Field],
    me: ReplicaId,
    identity: &Identity,
) -> Vec<u8> {
    if kind == Type::Recover {
        return resign_recover(changed, fields, me, identity);
    }
    let Some(sealed) = fields.iter().find(|field| field.name == "seal signer") else {
        return changed.to_vec();
    };
    let content = &changed[1..sealed.at.start];
    let pillar = content.get(2..4).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let (pillar, tagged) = (PillarId(pillar), |tag: &[u8; 16]| sha256(&[tag, content]));
    let entry = match kind {
        Type::Bundle => Entry::Bundle { pillar, digest: tagged(b"hypostyle bundle") },
        Type::ViewChange => Entry::ViewChange { pillar, digest: tagged(b"hypo/view-change") },
        Type::NewView => Entry::NewView { pillar, digest: tagged(b"hypo/new-view\0\0\0") },
        Type::Reply => return reseal_reply(changed, fields, me, identity),
        _ => return changed.to_vec(),
    };
    let mut bytes = changed[..sealed.at.start].to_vec();
    seal(me, identity, entry).encode(&mut bytes);
    bytes
}

/// Its own wish to recover, signed anew; another's stays as it was changed.
fn resign_recover(changed: &[u8], fields: &[Field], me: ReplicaId, identity: &Identity) -> Vec<u8> {
    let signed = fields.iter().find(|field| field.name == "recover signature length");
    match signed.map(|field| &changed[1..field.at.start]) {
        Some(content) if content.starts_with(&me.0.to_le_bytes()) => {
            let signature = identity.sign(Tag::Recover, &sha256(&[content]));
            let length = u16::try_from(signature.len()).expect("at most 512").to_le_bytes();
            [&changed[..=content.len()], &length, &signature].concat()
        }
        _ => changed.to_vec(),
    }
}

/// The group becomes the only leaf of a tree.
fn reseal_reply(changed: &[u8], fields: &[Field], me: ReplicaId, identity: &Identity) -> Vec<u8> {
    let start = |name| fields.iter().find(|field| field.name == name).map(|field| field.at.start);
    let (Some(group), Some(index), Some(rest)) = (start("signer"), start("index"), start("attachments"))
    else {
        return changed.to_vec();
    };
    let root = merkle::leaf(&changed[group..index]);
    let mut bytes = changed[..index].to_vec();
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.push(0);
    seal(me, identity, Entry::Replies { root }).encode(&mut bytes);
    bytes.extend_from_slice(&changed[rest..]);
    bytes
}

/// A changed tagged reply, under the tag of what it says now if that can be found in it.
pub(super) fn tag_again(changed: &Bytes, session: &Session) -> Bytes {
    let Some(length) = changed.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
    else {
        return changed.clone();
    };
    let end = 5usize.saturating_add(length as usize);
    let mut bytes = changed.to_vec();
    if end.checked_add(TAG_LEN).is_some_and(|end| end <= bytes.len()) {
        let tag = session.replies.tag(&merkle::leaf(&bytes[5..end]));
        bytes[end..end + TAG_LEN].copy_from_slice(&tag);
    }
    bytes.into()
}

pub(super) fn seal(me: ReplicaId, identity: &Identity, entry: Entry) -> Seal {
    let entries = vec![entry];
    let content: Digest = Seal::content(me, &entries);
    Seal { signer: me, signature: identity.sign(Tag::Seal, &content), entries }
}
