//! Merkle trees with the leaf and node hashing and the shape of RFC 6962, section 2.1.

use hypostyle_app_api::Digest;

use crate::digest::{Hasher, sha256};

/// The hash of a leaf: SHA-256 over 0x00 and `data`.
#[must_use]
pub fn leaf(data: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(&[0]).update(data);
    hasher.finish()
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    sha256(&[&bytes])
}

/// A tree over leaf hashes.
#[derive(Clone, Debug)]
pub struct Tree {
    /// From the leaves up to the root; an odd last node rises unchanged, which gives RFC 6962's shape.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// Over the hashes of at least one [`leaf`].
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn new(leaves: Vec<Digest>) -> Self {
        assert!(!leaves.is_empty(), "a Merkle tree has at least one leaf");
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            levels.push(below.chunks(2).map(parent).collect());
        }
        Self { levels }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.levels.last().expect("new() made at least one level")[0]
    }

    /// How many leaves it has.
    #[must_use]
    pub fn leaves(&self) -> usize {
        self.levels[0].len()
    }

    /// The leaf at `index`.
    ///
    /// # Panics
    /// When there is no such leaf.
    #[must_use]
    pub fn leaf(&self, index: usize) -> Digest {
        self.levels[0][index]
    }

    /// What leads from the leaf at `index` to the root: RFC 6962's audit path, lowest first.
    ///
    /// # Panics
    /// When there is no such leaf.
    #[must_use]
    pub fn path(&self, index: usize) -> Vec<Digest> {
        assert!(index < self.leaves(), "leaf {index} of {}", self.leaves());
        let siblings = self.levels.iter().enumerate().map(|(height, level)| level.get((index >> height) ^ 1));
        siblings.flatten().copied().collect()
    }
}

fn parent(children: &[Digest]) -> Digest {
    match children {
        [left, right] => node(left, right),
        lone => lone[0],
    }
}

/// The root that `path` leads to from the leaf hash at `index` of `leaves`; `None` when no tree of that size has
/// such a leaf with a path of that length. (RFC 9162, section 2.1.3.2.)
#[must_use]
pub fn root_from_path(leaf: Digest, index: usize, leaves: usize, path: &[Digest]) -> Option<Digest> {
    if index >= leaves {
        return None;
    }
    let mut path = path.iter();
    let (mut digest, mut index, mut last) = (leaf, index, leaves - 1);
    while last > 0 {
        if index % 2 == 1 {
            digest = node(path.next()?, &digest);
        } else if index < last {
            digest = node(&digest, path.next()?);
        }
        index /= 2;
        last /= 2;
    }
    path.next().is_none().then_some(digest)
}
