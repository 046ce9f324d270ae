//! What the trunk can survive so far. A fault is drawn only where the code has an answer to it; who lands one turns its
//! switch here.

/// What is there.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// Views change: any replica may fail, whatever it leads.
    pub view_change: bool,
    /// A replica that has fallen behind the others' windows is rescued.
    pub state_transfer: bool,
    /// A replica that has forgotten everything may start again.
    pub recovery: bool,
}

/// The trunk as it is.
pub const PRESENT: Abilities = Abilities { view_change: true, state_transfer: true, recovery: false };
