use hypostyle_app_api::Digest;
use hypostyle_crypto::merkle::{Tree, leaf, root_from_path};
use hypostyle_crypto::sha256;
use proptest::prelude::*;

/// The inputs and roots of the reference implementation's tests (google/certificate-transparency).
const INPUTS: [&[u8]; 8] = [
    b"",
    &[0x00],
    &[0x10],
    &[0x20, 0x21],
    &[0x30, 0x31],
    &[0x40, 0x41, 0x42, 0x43],
    &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
    &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const PATH_OF_5_IN_8: [&str; 3] = [
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
];

fn leaves(count: usize) -> Vec<Digest> {
    (0..count).map(|index| leaf(&index.to_le_bytes())).collect()
}

/// RFC 6962, section 2.1: MTH(D[n]).
fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [lone] => *lone,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            sha256(&[&[1], &naive_root(left).0, &naive_root(right).0])
        }
    }
}

/// RFC 6962, section 2.1.1: PATH(m, D[n]).
fn naive_path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, sibling) = if index < left.len() {
        (naive_path(index, left), right)
    } else {
        (naive_path(index - left.len(), right), left)
    };
    path.push(naive_root(sibling));
    path
}

/// The largest power of two below `count`.
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

#[test]
fn vectors_of_certificate_transparency() {
    for (index, root) in ROOTS.iter().enumerate() {
        let tree = Tree::new(INPUTS[..=index].iter().map(|input| leaf(input)).collect());
        assert_eq!(tree.root().to_string(), *root);
    }
    let tree = Tree::new(INPUTS.iter().map(|input| leaf(input)).collect());
    let path: Vec<String> = tree.path(5).iter().map(Digest::to_string).collect();
    assert_eq!(path, PATH_OF_5_IN_8);
}

#[test]
fn every_path_is_the_rfcs_and_leads_to_the_root() {
    for count in 1..=70 {
        let leaves = leaves(count);
        let tree = Tree::new(leaves.clone());
        assert_eq!((tree.root(), tree.leaves()), (naive_root(&leaves), count));
        for (index, leaf) in leaves.iter().enumerate() {
            let path = tree.path(index);
            assert_eq!(path, naive_path(index, &leaves));
            assert_eq!(root_from_path(*leaf, index, count, &path), Some(tree.root()));
            assert_wrong_shapes_fail(&tree, *leaf, index, &path);
        }
    }
}

fn assert_wrong_shapes_fail(tree: &Tree, leaf: Digest, index: usize, path: &[Digest]) {
    let count = tree.leaves();
    for wrong in (0..count + 3).filter(|wrong| *wrong != index) {
        assert_ne!(root_from_path(leaf, wrong, count, path), Some(tree.root()));
    }
    assert_eq!(root_from_path(leaf, index, count, &[path, &[leaf]].concat()), None);
    if let Some((_, shorter)) = path.split_last() {
        assert_eq!(root_from_path(leaf, index, count, shorter), None);
    }
    for swapped in 1..path.len() {
        let mut path = path.to_vec();
        path.swap(swapped - 1, swapped);
        assert_ne!(root_from_path(leaf, index, count, &path), Some(tree.root()));
    }
}

#[test]
fn extreme_shapes_end() {
    let digest = leaf(b"");
    assert_eq!(root_from_path(digest, 0, 0, &[]), None);
    assert_eq!(root_from_path(digest, 0, 1, &[]), Some(digest));
    assert_eq!(root_from_path(digest, usize::MAX, usize::MAX, &[]), None);
    assert_eq!(root_from_path(digest, usize::MAX - 1, usize::MAX, &[digest; 3]), None);
    assert!(root_from_path(digest, 0, usize::MAX, &vec![digest; usize::BITS as usize]).is_some());
}

#[test]
fn a_node_is_no_leaf() {
    let [left, right] = [leaf(b"left"), leaf(b"right")];
    let root = Tree::new(vec![left, right]).root();
    assert_ne!(leaf(&[left.0, right.0].concat()), root);
}

proptest! {
    #[test]
    fn a_changed_digest_never_leads_to_the_root(count in 1usize..200, at in any::<prop::sample::Index>(), bit in 0usize..256, node in any::<prop::sample::Index>()) {
        let leaves = leaves(count);
        let index = at.index(count);
        let tree = Tree::new(leaves.clone());
        let mut digests = [vec![leaves[index]], tree.path(index)].concat();
        let changed = node.index(digests.len());
        digests[changed].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(root_from_path(digests[0], index, count, &digests[1..]), Some(tree.root()));
    }
}
