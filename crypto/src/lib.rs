//! Signature suites, key files, digests, Merkle trees, seals and the verification pool of Hypostyle.
