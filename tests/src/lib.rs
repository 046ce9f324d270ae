//! Scenario, process and layering tests of Hypostyle.
