use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId, ReplicaId};
use hypostyle_crypto::{Entry, SEAL_ENTRIES_MAX, Seal, Suite, Tag};
use proptest::prelude::*;

use crate::cluster::{identity, keyring, replica};

fn signed(signer: u16, entries: Vec<Entry>) -> Seal {
    let content = Seal::content(ReplicaId(signer), &entries);
    let signature = identity(Suite::Ed25519, replica(signer)).sign(Tag::Seal, &content);
    Seal { signer: ReplicaId(signer), entries, signature }
}

fn encoded(seal: &Seal) -> Vec<u8> {
    let mut bytes = Vec::new();
    seal.encode(&mut bytes);
    bytes
}

fn bundle(pillar: u16, byte: u8) -> Entry {
    Entry::Bundle { pillar: PillarId(pillar), digest: Digest([byte; 32]) }
}

fn replies(byte: u8) -> Entry {
    Entry::Replies { root: Digest([byte; 32]) }
}

#[test]
fn any_flipped_bit_is_refused() {
    let keyring = keyring(Suite::Ed25519);
    let bytes = encoded(&signed(1, vec![bundle(3, 5), replies(7)]));
    assert!(keyring.verify(Seal::decode(&bytes).unwrap().0).is_ok());
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let accepted = Seal::decode(&changed).is_some_and(|(seal, _)| keyring.verify(seal).is_ok());
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = encoded(&signed(0, vec![bundle(3, 5), replies(7), bundle(0, 1)]));
    for length in 0..bytes.len() {
        assert_eq!(Seal::decode(&bytes[..length]), None, "{length} bytes");
    }
}

#[test]
fn length_bombs_are_refused() {
    let most = encoded(&signed(0, vec![bundle(3, 5); SEAL_ENTRIES_MAX]));
    assert!(Seal::decode(&most).is_some());
    for count in [0, 65, 255] {
        let mut bytes = most.clone();
        bytes[2] = count;
        bytes.resize(1 << 16, 0);
        assert_eq!(Seal::decode(&bytes), None, "{count} entries");
    }
    let one = encoded(&signed(0, vec![replies(5)]));
    for length in [513, u16::MAX] {
        let mut bytes = one.clone();
        bytes[36..38].copy_from_slice(&length.to_le_bytes());
        bytes.resize(1 << 17, 0);
        assert_eq!(Seal::decode(&bytes), None, "a signature of {length} bytes");
    }
    for kind in 2..=255 {
        let mut bytes = one.clone();
        bytes[3] = kind;
        bytes.resize(1 << 10, 0);
        assert_eq!(Seal::decode(&bytes), None, "kind {kind}");
    }
}

#[test]
fn a_digest_serves_under_its_type_and_pillar_only() {
    let seal = signed(0, vec![bundle(3, 5), replies(7)]);
    assert!(seal.contains(&bundle(3, 5)) && seal.contains(&replies(7)));
    for other in [bundle(2, 5), replies(5), bundle(3, 7), bundle(0, 7)] {
        assert!(!seal.contains(&other));
        assert_ne!(Seal::content(ReplicaId(0), &[other]), Seal::content(ReplicaId(0), &[bundle(3, 5)]));
    }
    assert_ne!(Seal::content(ReplicaId(0), &[replies(7)]), Seal::content(ReplicaId(1), &[replies(7)]));
}

#[test]
#[should_panic(expected = "a seal of 65 entries")]
fn too_many_entries_are_our_own_mistake() {
    encoded(&signed(0, vec![replies(0); SEAL_ENTRIES_MAX + 1]));
}

fn any_entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        (any::<u16>(), any::<[u8; 32]>())
            .prop_map(|(pillar, digest)| Entry::Bundle { pillar: PillarId(pillar), digest: Digest(digest) }),
        any::<[u8; 32]>().prop_map(|root| Entry::Replies { root: Digest(root) }),
    ]
}

fn any_seal() -> impl Strategy<Value = Seal> {
    let entries = prop::collection::vec(any_entry(), 1..=SEAL_ENTRIES_MAX);
    let signature = prop::collection::vec(any::<u8>(), 0..=512);
    (any::<u16>(), entries, signature).prop_map(|(signer, entries, signature)| Seal {
        signer: ReplicaId(signer),
        entries,
        signature: Bytes::from(signature),
    })
}

proptest! {
    #[test]
    fn decode_is_the_inverse_of_encode(seal in any_seal(), rest in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut bytes = encoded(&seal);
        prop_assert_eq!(bytes.len(), seal.encoded_len());
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(Seal::decode(&bytes), Some((seal.clone(), seal.encoded_len())));
    }

    #[test]
    fn what_decodes_has_one_encoding(start in prop::collection::vec(0u8..3, 0..6), rest in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [start, rest].concat();
        if let Some((seal, used)) = Seal::decode(&bytes) {
            prop_assert_eq!(encoded(&seal), &bytes[..used]);
        }
    }

    #[test]
    fn two_lists_never_share_a_content(a in prop::collection::vec(any_entry(), 1..5), b in prop::collection::vec(any_entry(), 1..5)) {
        let [first, second] = [&a, &b].map(|entries| Seal::content(ReplicaId(0), entries));
        prop_assert_eq!(first == second, a == b);
    }
}
