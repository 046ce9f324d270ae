//! Load generation and measurement for Hypostyle.
