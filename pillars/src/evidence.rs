use std::fmt;
use std::sync::Arc;

use hypostyle_app_api::{Digest, PillarId, ReplicaId};

use crate::message::{Message, NewView, PeerFrame, SealedBundle, Statement, ViewChange};

/// Two messages that a correct replica never both signs, whole and under their seals: whoever verifies both knows that
/// their signer is faulty, or was started again without its log.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// Statements of one kind, pillar, view and slot that name two digests: the second, and the bundles of both.
    Statements(Statement, [Arc<SealedBundle>; 2]),
    /// Two VIEW-CHANGEs of an incarnation for one view.
    ViewChanges([Arc<ViewChange>; 2]),
    /// Two NEW-VIEWs for one view.
    NewViews([Arc<NewView>; 2]),
}

impl Evidence {
    /// Whom it accuses.
    #[must_use]
    pub fn signer(&self) -> ReplicaId {
        match self {
            Self::Statements(_, [_, bundle]) => bundle.signer(),
            Self::ViewChanges([_, change]) => change.signer(),
            Self::NewViews([_, new_view]) => new_view.signer(),
        }
    }

    /// Where that happened.
    #[must_use]
    pub fn pillar(&self) -> PillarId {
        match self {
            Self::Statements(statement, _) => statement.pillar,
            Self::ViewChanges([_, change]) => change.pillar(),
            Self::NewViews([_, new_view]) => new_view.pillar(),
        }
    }

    /// Both messages, as their decoder leaves them: their signatures are still to be verified by who is to believe it.
    #[must_use]
    pub fn messages(&self) -> [Message; 2] {
        match self {
            Self::Statements(_, bundles) => {
                bundles.each_ref().map(|b| Message::Bundle(SealedBundle::clone(b)))
            }
            Self::ViewChanges(changes) => changes.clone().map(Message::ViewChange),
            Self::NewViews(new_views) => new_views.clone().map(Message::NewView),
        }
    }

    /// What each of the two names: of a body or state, or of the message itself.
    #[must_use]
    pub fn digests(&self) -> [Digest; 2] {
        match self {
            Self::Statements(second, [first, _]) => {
                let mut others = first.statements().iter().filter(|s| contradict(s, second));
                [others.next().map_or(Digest::ZERO, |s| s.digest), second.digest]
            }
            Self::ViewChanges(changes) => changes.each_ref().map(|change| change.digest()),
            Self::NewViews(new_views) => new_views.each_ref().map(|new_view| new_view.digest()),
        }
    }

    /// Both messages as they travel: type byte and message.
    #[must_use]
    pub fn frames(&self) -> [Vec<u8>; 2] {
        let frame = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
        match self {
            Self::Statements(_, bundles) => bundles.each_ref().map(|b| frame(PeerFrame::BUNDLE, b.bytes())),
            Self::ViewChanges(changes) => {
                changes.each_ref().map(|c| frame(PeerFrame::VIEW_CHANGE, c.bytes()))
            }
            Self::NewViews(new_views) => new_views.each_ref().map(|n| frame(PeerFrame::NEW_VIEW, n.bytes())),
        }
    }

    /// Whether the messages contradict each other, provided that their signatures hold.
    #[must_use]
    pub fn contradicts_itself(&self) -> bool {
        match self {
            Self::Statements(second, bundles) => {
                bundles[0].signer() == bundles[1].signer()
                    && bundles[0].statements().iter().any(|s| contradict(s, second))
                    && bundles[1].statements().contains(second)
            }
            Self::ViewChanges([first, second]) => view_changes_differ(first, second),
            Self::NewViews([first, second]) => new_views_differ(first, second),
        }
    }
}

fn contradict(first: &Statement, second: &Statement) -> bool {
    let place = |s: &Statement| (s.kind, s.pillar, s.view, s.seq);
    place(first) == place(second) && first.digest != second.digest
}

/// Whether a replica declares two different things of its leaving for one view.
pub(crate) fn view_changes_differ(first: &ViewChange, second: &ViewChange) -> bool {
    let about = |change: &ViewChange| (change.signer(), change.pillar(), change.view(), change.incarnation());
    about(first) == about(second) && first.digest() != second.digest()
}

/// Whether a primary begins one view in two ways.
pub(crate) fn new_views_differ(first: &NewView, second: &NewView) -> bool {
    let about = |new_view: &NewView| (new_view.signer(), new_view.pillar(), new_view.view());
    about(first) == about(second) && first.digest() != second.digest()
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Statements(Statement { kind, view, seq, digest, .. }, _) => {
                write!(f, "a second {kind:?} in view {view} for slot {seq}, of {digest}")
            }
            Self::ViewChanges([_, change]) => write!(f, "a second VIEW-CHANGE to view {}", change.view()),
            Self::NewViews([_, new_view]) => write!(f, "a second NEW-VIEW for view {}", new_view.view()),
        }
    }
}
