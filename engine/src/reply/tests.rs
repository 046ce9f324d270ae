#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, Number, PillarId, ReplicaId, View};
use hypostyle_crypto::{Domain, Entry, Identity, Keyring, Seal, Signer, SigningKey, Suite, Tag, sha256};
use proptest::prelude::*;

use super::*;

const DOMAIN: Domain = Domain { configuration: Digest([5; 32]) };

fn group(client: u32, results: &[Vec<u8>], whole: bool) -> ReplyGroup {
    let mut group = ReplyGroup::new(ReplicaId(2), PillarId(1), View(9), ClientId(client));
    for (number, result) in (1..).zip(results) {
        let answer = Answer::result(Number(number), &sha256(&[result]), result);
        group.push(&answer, (whole && answer.is_large()).then(|| Bytes::copy_from_slice(result)));
    }
    group
}

fn seal(entries: Vec<Entry>, signer: u16) -> Seal {
    Seal { signer: ReplicaId(signer), entries, signature: Bytes::from_static(&[1; 64]) }
}

/// The messages for `groups` under a seal that covers something else too.
fn messages(groups: &[ReplyGroup]) -> Vec<Vec<u8>> {
    let tree = seal_tree(groups);
    let other = Entry::Bundle { pillar: PillarId(0), digest: Digest([3; 32]) };
    let seal = seal(vec![other, Entry::Replies { root: tree.root() }], 2);
    let encode = |(index, group)| {
        let mut out = Vec::new();
        encode_reply(group, index, &tree, &seal, &mut out);
        out
    };
    groups.iter().enumerate().map(encode).collect()
}

fn decode(bytes: &[u8]) -> Result<ReplyMessage, Malformed> {
    ReplyMessage::decode(Bytes::copy_from_slice(bytes))
}

fn small_and_large() -> Vec<Vec<u8>> {
    vec![b"7".to_vec(), vec![], vec![8; 32], vec![9; 33], vec![4; 500]]
}

#[test]
fn a_message_brings_what_was_pushed() {
    let bytes = messages(&[group(4, &[vec![1]], true), group(7, &small_and_large(), true)]).pop().unwrap();
    let message = decode(&bytes).unwrap();
    assert_eq!(
        (message.signer, message.pillar, message.view, message.client),
        (ReplicaId(2), PillarId(1), View(9), ClientId(7))
    );
    for (index, (record, result)) in message.records.iter().zip(small_and_large()).enumerate() {
        assert_eq!((record.number, record.error), (Number(index as u64 + 1), false));
        assert_eq!(record.digest16, sha256(&[&result]).0[..16]);
        assert_eq!(record.len as usize, result.len());
        if result.len() <= INLINE_MAX {
            assert_eq!((&record.value, &record.whole), (&Value::Inline(result.into()), &None));
        } else {
            assert_eq!(record.value, Value::Digest(sha256(&[&result])));
            assert_eq!(record.whole, Some(result.into()));
        }
    }
}

#[test]
fn a_failure_is_an_inline_error() {
    let mut group = group(0, &[], false);
    group.push(&Answer::failure(Number(3), &Digest::ZERO, Failure::Panicked), None);
    let message = decode(&messages(&[group])[0]).unwrap();
    assert!(message.records[0].error);
    assert_eq!(message.records[0].value, Value::Inline(Bytes::from_static(b"application-panicked")));
}

#[test]
fn the_seals_claim_is_the_messages() {
    let key = SigningKey::generate(Suite::Ed25519);
    let keyring = Keyring::new(DOMAIN, &[key.public()], &[]).unwrap();
    let mut group = ReplyGroup::new(ReplicaId(0), PillarId(0), View(0), ClientId(0));
    group.push(&Answer::result(Number(1), &Digest::ZERO, b"ok"), None);
    let tree = seal_tree(std::slice::from_ref(&group));
    let entries = vec![Entry::Replies { root: tree.root() }];
    let identity = Identity::new(Signer::Replica(ReplicaId(0)), key, DOMAIN);
    let signature = identity.sign(Tag::Seal, &Seal::content(ReplicaId(0), &entries));
    let encoded = |signature: Bytes| {
        let mut bytes = Vec::new();
        encode_reply(
            &group,
            0,
            &tree,
            &Seal { signer: ReplicaId(0), entries: entries.clone(), signature },
            &mut bytes,
        );
        decode(&bytes).unwrap()
    };
    assert_eq!(keyring.verify(encoded(signature.clone())).unwrap().records.len(), 1);
    let mut forged = signature.to_vec();
    forged[0] ^= 1;
    assert!(keyring.verify(encoded(forged.into())).is_err());
}

#[test]
fn a_seal_of_another_replica_or_over_another_type_is_refused() {
    let group = group(0, &[vec![1]], false);
    let tree = seal_tree(std::slice::from_ref(&group));
    let root = tree.root();
    let of_another = seal(vec![Entry::Replies { root }], 3);
    let mut bytes = Vec::new();
    encode_reply(&group, 0, &tree, &of_another, &mut bytes);
    assert_eq!(decode(&bytes).unwrap_err(), Malformed("sealed by another replica"));

    // The same digest under the type of a bundle doesn't serve; encode_reply would refuse to build this.
    let cut = bytes.len() - 2 - of_another.encoded_len();
    bytes.truncate(cut);
    seal(vec![Entry::Bundle { pillar: PillarId(1), digest: root }], 2).encode(&mut bytes);
    bytes.extend_from_slice(&[0; 2]);
    assert_eq!(decode(&bytes).unwrap_err(), Malformed("the seal covers another tree"));
}

#[test]
fn every_truncation_and_every_trailing_byte_is_refused() {
    for mut bytes in messages(&[group(4, &small_and_large(), true), group(7, &small_and_large(), false)]) {
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut at {length} of {}", bytes.len());
        }
        bytes.push(0);
        assert!(decode(&bytes).is_err());
    }
}

#[test]
fn every_flipped_bit_outside_the_signature_and_the_attachments_is_refused() {
    let message =
        messages(&[group(4, &small_and_large(), false), group(7, &small_and_large(), false)]).remove(0);
    let signature = message.len() - 2 - 64..message.len() - 2;
    for at in (0..message.len()).filter(|at| !signature.contains(at)) {
        for bit in 0..8 {
            let mut bytes = message.clone();
            bytes[at] ^= 1 << bit;
            let told = decode(&bytes);
            // The seal's other entry stands for itself: the signature, checked next, covers it.
            let other_entry = told.as_ref().is_ok_and(|m| {
                let ReplyProof::Seal(seal) = &m.proof else { panic!("sealed") };
                !seal.contains(&Entry::Bundle { pillar: PillarId(0), digest: Digest([3; 32]) })
            });
            assert!(told.is_err() || other_entry, "byte {at} bit {bit}");
        }
    }
}

/// Every u16 and u32 field of a message set to its largest value must not make the decoder reserve memory or panic.
#[test]
fn length_bombs_are_refused() {
    let message = messages(&[group(4, &small_and_large(), true)]).remove(0);
    for width in [2, 4] {
        for at in 0..=message.len() - width {
            let mut bytes = message.clone();
            bytes[at..at + width].fill(0xff);
            let _ = decode(&bytes);
        }
    }
    let group_length = |bytes: &mut Vec<u8>| bytes[..4].fill(0xff);
    let path_length = |bytes: &mut Vec<u8>| {
        let group = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        bytes[4 + group + 8] = 0xff;
    };
    for bomb in [&group_length as &dyn Fn(&mut Vec<u8>), &path_length] {
        let mut bytes = message.clone();
        bomb(&mut bytes);
        assert!(decode(&bytes).is_err());
    }
}

/// A group that lies about its count is refused although the tree and the seal are consistent with it.
#[test]
fn a_record_count_that_the_group_cannot_hold_is_refused() {
    for count in [0u16, 4, 6, u16::MAX] {
        let mut lying = group(4, &small_and_large(), false);
        lying.set_count(count);
        assert!(decode(&messages(&[lying])[0]).is_err(), "count {count}");
    }
}

#[test]
fn attachments_must_fit_their_records() {
    let lists: [&[(u16, usize)]; 6] =
        [&[(3, 34)], &[(2, 32)], &[(5, 33)], &[(4, 500), (3, 33)], &[(3, 33), (3, 33)], &[(0, 1)]];
    for list in lists {
        let mut wrong = group(4, &small_and_large(), false);
        wrong.set_attachments(list.iter().map(|(index, len)| (*index, Bytes::from(vec![9; *len]))).collect());
        assert!(decode(&messages(&[wrong])[0]).is_err(), "{list:?}");
    }
    let mut right = group(4, &small_and_large(), false);
    right.set_attachments(vec![(4, Bytes::from(vec![0; 500]))]);
    let records = decode(&messages(&[right])[0]).unwrap().records;
    assert_eq!(records[4].whole, Some(Bytes::from(vec![0; 500])), "the client compares it with the digest");
}

proptest! {
    #[test]
    fn decode_is_the_inverse_of_encode(
        results in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..6), 1..9),
        whole: bool,
    ) {
        let groups: Vec<_> = (0..).zip(&results).map(|(client, r)| group(client, r, whole)).collect();
        for (client, (bytes, results)) in (0..).zip(messages(&groups).into_iter().zip(&results)) {
            let message = decode(&bytes).unwrap();
            prop_assert_eq!(message.client, ClientId(client));
            prop_assert_eq!(message.records.len(), results.len());
            for (record, result) in message.records.iter().zip(results) {
                prop_assert_eq!(record.len as usize, result.len());
                match &record.value {
                    Value::Inline(bytes) => prop_assert_eq!(&bytes[..], &result[..]),
                    Value::Digest(digest) => prop_assert_eq!(*digest, sha256(&[result])),
                }
                prop_assert_eq!(record.whole.is_some(), whole && result.len() > INLINE_MAX);
            }
        }
    }

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decode(&bytes).is_err());
    }
}
