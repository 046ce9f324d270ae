//! VIEW-CHANGE and NEW-VIEW: one encoding a message, one message an encoding, and nothing else decodes or panics.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId, ReplicaId, Round, Seq, View};
use hypostyle_crypto::Seal;
use hypostyle_pillars::Config;
use hypostyle_pillars::message::{
    Kind, Leave, Message, NewView, NewViewContent, PeerFrame, Prepared, SealedBundle, Statement, ViewChange,
    ViewChangeContent,
};
use proptest::prelude::*;

use crate::fixture::{Keys, config, frame};
use crate::forge::{change_frame, naming, new_view_frame, proof, view_change};

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::new(4));

fn settings() -> Config {
    config(4, 1)
}

/// The prepared slots above `stable`, and their certificates, each replica's statements in one bundle or one by one.
fn certified(
    stable: u64,
    slots: &[(u64, u64, [u8; 32])],
    together: bool,
) -> (Vec<Prepared>, Vec<Arc<SealedBundle>>) {
    let mut prepared: Vec<Prepared> = Vec::new();
    for (offset, view, digest) in slots {
        let seq = Seq(prepared.last().map_or(stable, |last| last.seq.0) + offset);
        if seq.0 <= stable + settings().window {
            prepared.push(Prepared { seq, view: View(*view), digest: Digest(*digest) });
        }
    }
    let of = |signer: u16| {
        let statement = |slot: &Prepared| {
            let leads = settings().primary(slot.view) == ReplicaId(signer);
            let kind = if leads { Kind::Propose } else { Kind::Prepare };
            let (view, seq, digest) = (slot.view, slot.seq, slot.digest);
            Statement { kind, pillar: PillarId(0), view, seq, digest }
        };
        prepared.iter().map(statement).collect::<Vec<_>>()
    };
    let bundle = |signer, said: &[Statement]| Arc::new(KEYS.bundle(ReplicaId(signer), PillarId(0), said));
    let all = (0..4).map(|signer| (signer, of(signer)));
    let bundles = match together {
        _ if prepared.is_empty() => Vec::new(),
        true => all.map(|(signer, said)| bundle(signer, &said)).collect(),
        false => all
            .flat_map(|(signer, said)| said.into_iter().map(move |one| (signer, one)))
            .map(|(signer, one)| bundle(signer, &[one]))
            .collect(),
    };
    (prepared, bundles)
}

fn a_view_change() -> impl Strategy<Value = Bytes> {
    let slot = (1u64..4, 0u64..9, any::<[u8; 32]>());
    let slots = prop::collection::vec(slot, 0..5);
    (0u16..4, any::<u64>(), 9..=u64::MAX, 0u64..3, slots, any::<bool>()).prop_map(
        |(signer, incarnation, view, checkpoint, slots, together)| {
            let stable = 4 * checkpoint;
            let stable_digest = if stable == 0 { Digest::ZERO } else { Digest([3; 32]) };
            let (prepared, mut bundles) = certified(stable, &slots, together);
            if stable > 0 {
                bundles.extend(proof(&KEYS, &[0, 2, 3], stable, stable_digest));
            }
            let leave = Leave {
                signer: ReplicaId(signer),
                incarnation,
                pillar: PillarId(0),
                view: View(view),
                stable: Round(stable),
                stable_digest,
                blocked: None,
            };
            change_frame(&view_change(&KEYS, &leave, &prepared, &bundles))
        },
    )
}

fn a_new_view() -> impl Strategy<Value = Bytes> {
    (1..=u64::MAX, any::<[[u8; 32]; 3]>(), 0u16..4).prop_map(|(view, digests, without)| {
        let replicas = (0..4).filter(|id| *id != without).map(ReplicaId);
        let names = replicas.zip(digests.map(Digest)).collect();
        new_view_frame(&naming(&KEYS, settings().primary(View(view)).0, view, names))
    })
}

fn a_frame() -> impl Strategy<Value = Bytes> {
    prop_oneof![a_view_change(), a_new_view()]
}

/// What a message means, encoded again.
fn encode(frame_bytes: &Bytes, message: &Message) -> Bytes {
    let seal = |content: usize| Seal::decode(&frame_bytes[1 + content..]).unwrap().0;
    match message {
        Message::ViewChange(change) => {
            let bundles: usize = change.bundles().iter().map(|bundle| 4 + bundle.bytes().len()).sum();
            let header = 2 + 2 + 8 + 8 + 4 + 8 + 32;
            let length = header + 2 + 48 * change.prepared().len() + 4 + bundles;
            let (stable, stable_digest) = change.stable();
            let leave = Leave {
                signer: change.signer(),
                incarnation: change.incarnation(),
                pillar: change.pillar(),
                view: change.view(),
                stable,
                stable_digest,
                blocked: change.blocked(),
            };
            let content =
                ViewChangeContent::new(&leave, change.prepared().to_vec(), change.bundles().to_vec());
            frame(PeerFrame::VIEW_CHANGE, content.seal(seal(length)).bytes())
        }
        Message::NewView(new_view) => {
            let length = 2 + 2 + 8 + 2 + 34 * new_view.changes().len();
            let (signer, pillar, view) = (new_view.signer(), new_view.pillar(), new_view.view());
            let content = NewViewContent::new(signer, pillar, view, new_view.changes().to_vec());
            frame(PeerFrame::NEW_VIEW, content.seal(seal(length)).bytes())
        }
        _ => panic!("not among the frames of this file"),
    }
}

fn decode(bytes: &Bytes) -> Option<Message> {
    match PeerFrame::decode(bytes, &settings().frame_limits()) {
        Ok(PeerFrame::Message(message @ (Message::ViewChange(_) | Message::NewView(_)))) => Some(message),
        _ => None,
    }
}

fn assert_canonical(bytes: &Bytes) {
    if let Some(message) = decode(bytes) {
        assert_eq!(encode(bytes, &message), *bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_declaration_decodes_encodes_to_the_same_bytes_and_verifies(bytes in a_frame()) {
        let message = decode(&bytes).unwrap();
        prop_assert_eq!(encode(&bytes, &message), bytes);
        prop_assert!(KEYS.keyring.verify(message).is_ok());
    }

    /// What still decodes says something else, and nobody signed that; but for the list of entries of a bundle's seal and
    /// its signature there is no byte that decodes and verifies otherwise.
    #[test]
    fn a_changed_byte_of_a_declaration_is_refused(bytes in a_frame(), flip in 1..=255u8) {
        for index in 1..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[index] ^= flip;
            let changed = Bytes::from(changed);
            if let Some(message) = decode(&changed) {
                assert_eq!(encode(&changed, &message), changed);
                assert!(KEYS.keyring.verify(message).is_err(), "byte {index}");
            }
        }
    }

    #[test]
    fn no_truncated_declaration_decodes(bytes in a_frame(), tail in prop::collection::vec(any::<u8>(), 1..5)) {
        for length in 0..bytes.len() {
            prop_assert!(decode(&bytes.slice(..length)).is_none(), "{} bytes", length);
        }
        let longer = Bytes::from([bytes.as_ref(), &tail].concat());
        prop_assert!(decode(&longer).is_none());
    }

    #[test]
    fn any_number_of_a_declaration_may_be_at_its_end(
        bytes in a_frame(), at in any::<prop::sample::Index>(), width in 1usize..9
    ) {
        for fill in [0, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.to_vec();
            let at = at.index(changed.len());
            let end = changed.len().min(at + width);
            changed[at..end].fill(fill);
            assert_canonical(&Bytes::from(changed));
        }
    }

    #[test]
    fn noise_is_no_declaration(kind in 5..=6u8, noise in prop::collection::vec(any::<u8>(), 0..300)) {
        assert_canonical(&frame(kind, &noise));
    }

    #[test]
    fn two_declarations_spliced_are_refused_or_canonical(
        one in a_frame(), two in a_frame(), at in any::<prop::sample::Index>(), from in any::<prop::sample::Index>()
    ) {
        let spliced = [&one[..at.index(one.len())], &two[from.index(two.len())..]].concat();
        assert_canonical(&Bytes::from(spliced));
    }
}

/// Counts at their largest with nothing behind them: refused before anything is set aside for them.
#[test]
fn counts_that_promise_more_than_follows_allocate_nothing() {
    let limits = settings().frame_limits();
    let header = [&[0; 12][..], &1u64.to_le_bytes(), &[0xff; 4], &[0; 40]].concat();
    let prepared = [&header[..], &[0xff, 0xff], &[0; 200]].concat();
    let verdict = ViewChange::decode(prepared.into(), &limits).unwrap_err();
    assert_eq!(verdict.what, "more prepared slots than the window");
    let prepared = [&header[..], &[16, 0], &[0; 200]].concat();
    let verdict = ViewChange::decode(prepared.into(), &limits).unwrap_err();
    assert_eq!(verdict.what, "more prepared slots than the window");
    let bundles = [&header[..], &[0, 0], &u32::MAX.to_le_bytes(), &[0; 200]].concat();
    let verdict = ViewChange::decode(bundles.into(), &limits).unwrap_err();
    assert_eq!(verdict.what, "more bundles than it can need");
    let bundle = [&header[..], &[0, 0], &1u32.to_le_bytes(), &u32::MAX.to_le_bytes()].concat();
    let verdict = ViewChange::decode(bundle.into(), &limits).unwrap_err();
    assert_eq!(verdict.what, "truncated");
    let new_view = [&[0; 12][..], &[0xff, 0xff]].concat();
    assert_eq!(NewView::decode(new_view.into(), &limits).unwrap_err().what, "truncated");
}
