//! A replica that knows its state to be wrong answers nobody and votes for nothing until it has another.

use hypostyle::reply::HINT_FRAME;
use hypostyle::simulation::MemberOutput;
use hypostyle_app_api::ReplicaId;
use hypostyle_pillars::Target;
use hypostyle_pillars::message::PeerFrame;

use super::{Check, violated};

/// What a replica says that knew it before its turn and after.
pub(crate) fn says(replica: ReplicaId, output: &MemberOutput) -> Check {
    let what = match output {
        // Whether it takes a client's tags has nothing to do with its state.
        MemberOutput::ToClient { payload, .. } if payload.first() == Some(&HINT_FRAME) => return Ok(()),
        MemberOutput::ToClient { client, .. } => format!("answers client {client}"),
        MemberOutput::ToPeers { to: Target::Peers, payload, .. } => match payload.first() {
            Some(&PeerFrame::BUNDLE) => "votes".to_owned(),
            Some(&PeerFrame::VIEW_CHANGE | &PeerFrame::NEW_VIEW) => "changes views".to_owned(),
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    violated("diverged replicas are silent", format!("replica {replica} {what}, its state being wrong"))
}
