//! The PBFT core of one pillar of Hypostyle: a pure step function.
