//! Mutators: one field of one message, changed in one way, and sealed again by the adversary where it is the signer.

use std::collections::BTreeMap;

use hypostyle_app_api::ReplicaId;
use hypostyle_crypto::Identity;

use super::fields::{FIELDS, Type};
use super::reseal::reseal;
use crate::sim::Random;

/// What is done to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// One more.
    Increment,
    /// One less.
    Decrement,
    /// All zero.
    Zero,
    /// All ones.
    Max,
    /// What an earlier message had there.
    Other,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Increment, Self::Decrement, Self::Zero, Self::Max, Self::Other];
}

/// A field and what is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mutator {
    /// Of which message.
    pub message: Type,
    /// Which field.
    pub field: &'static str,
    /// What is done.
    pub mutation: Mutation,
}

impl Mutator {
    /// Every mutator there is.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let fields = FIELDS.iter().flat_map(|(message, names)| names.iter().map(|field| (*message, *field)));
        fields
            .flat_map(|(message, field)| {
                Mutation::ALL.into_iter().map(move |mutation| Self { message, field, mutation })
            })
            .collect()
    }
}

/// Values that fields had in earlier messages, for [`Mutation::Other`].
#[derive(Default)]
pub(super) struct Seen(BTreeMap<(Type, &'static str), Vec<u8>>);

impl Mutator {
    /// The message changed, if it is of this kind and has the field.
    ///
    /// # Panics
    /// When a message that a core made has no layout: mutators would leave its kind out silently.
    pub(super) fn apply(
        self,
        kind: Type,
        payload: &[u8],
        seen: &mut Seen,
        random: &mut Random,
        (me, identity): (ReplicaId, &Identity),
    ) -> Option<Vec<u8>> {
        if kind != self.message {
            return None;
        }
        let fields = kind.fields(payload).unwrap_or_else(|| panic!("no layout fits a {kind:?}"));
        let places: Vec<_> = fields.iter().filter(|field| field.name == self.field).collect();
        if places.is_empty() {
            return None;
        }
        let at = places[random.index(places.len())].at.clone();
        let mut changed = payload.to_vec();
        let other = seen.0.insert((kind, self.field), payload[at.clone()].to_vec());
        change(&mut changed[at], self.mutation, other);
        if changed == payload {
            return None;
        }
        // A seal's own fields are changed as they are; all else is sealed anew.
        let of_seal = ["seal signer", "seal entries", "entry kind", "entry pillar", "entry digest"];
        let as_it_is = of_seal.contains(&self.field) || self.field.contains("signature");
        Some(if as_it_is { changed } else { reseal(kind, &changed, &fields, me, identity) })
    }
}

fn change(bytes: &mut [u8], mutation: Mutation, other: Option<Vec<u8>>) {
    match mutation {
        Mutation::Increment => add(bytes, 1),
        Mutation::Decrement => add(bytes, u8::MAX),
        Mutation::Zero => bytes.fill(0),
        Mutation::Max => bytes.fill(u8::MAX),
        Mutation::Other => {
            let other = other.unwrap_or_default();
            let length = other.len().min(bytes.len());
            bytes[..length].copy_from_slice(&other[..length]);
        }
    }
}

/// Adds 1, or subtracts it when `digit` is all ones.
fn add(bytes: &mut [u8], digit: u8) {
    for byte in bytes {
        let (sum, carries) = byte.overflowing_add(digit);
        *byte = sum;
        if carries == (digit == u8::MAX) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry() {
        let changed = |bytes: &[u8], mutation| {
            let mut bytes = bytes.to_vec();
            change(&mut bytes, mutation, Some(vec![7]));
            bytes
        };
        assert_eq!(changed(&[255, 1], Mutation::Increment), [0, 2]);
        assert_eq!(changed(&[0, 2], Mutation::Decrement), [255, 1]);
        assert_eq!(changed(&[0, 0], Mutation::Decrement), [255, 255]);
        assert_eq!(changed(&[5, 6], Mutation::Other), [7, 6]);
    }

    #[test]
    fn there_are_many_and_each_once() {
        let all: std::collections::BTreeSet<_> = Mutator::all().into_iter().collect();
        assert_eq!(all.len(), Mutator::all().len());
        assert!(all.len() >= 100, "{} mutators", all.len());
    }
}
