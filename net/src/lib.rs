//! Frames, handshake, link MACs and the mio event loop of Hypostyle.
