//! A frame in words, for `--trace`.

use bytes::Bytes;
use hypostyle::reply::Incoming;
use hypostyle_pillars::message::{FrameLimits, Message, PeerFrame, Request, Statement};

/// What a payload says.
pub(super) fn describe(
    payload: &Bytes,
    from: usize,
    to: usize,
    replicas: usize,
    limits: &FrameLimits,
) -> String {
    if payload.is_empty() {
        return "nothing".to_owned();
    }
    if from >= replicas {
        return match Request::decode(payload.slice(1..), &limits.request) {
            Ok(request) => request_text(&request),
            Err(malformed) => malformed.to_string(),
        };
    }
    if to >= replicas {
        return match Incoming::decode(payload) {
            Ok(Incoming::Hint(first)) => format!("hint to sign {first}"),
            Ok(Incoming::Reply(reply)) => {
                let numbers: Vec<_> = reply.records.iter().map(|record| record.number.0).collect();
                format!("reply of view {} to {numbers:?}", reply.view)
            }
            Err(malformed) => malformed.to_owned(),
        };
    }
    match PeerFrame::decode(payload, limits) {
        Ok(PeerFrame::Message(Message::Body(body))) => {
            let requests: Vec<_> = body.requests().iter().map(|r| (r.client.0, r.first.0)).collect();
            let recovers: Vec<_> = body.recovers().iter().map(|r| (r.replica().0, r.incarnation())).collect();
            format!("body {:?} {requests:?} recovers {recovers:?}", body.digest())
        }
        Ok(PeerFrame::Message(Message::Bundle(bundle))) => {
            let statements: Vec<_> = bundle.statements().iter().map(statement_text).collect();
            format!("of r{}: {}", bundle.signer(), statements.join(", "))
        }
        Ok(PeerFrame::Message(Message::Request(request))) => format!("passed on: {}", request_text(&request)),
        Ok(PeerFrame::Message(Message::ViewChange(change))) => {
            let prepared: Vec<_> =
                change.prepared().iter().map(|slot| (slot.seq.0, slot.view.0, slot.digest)).collect();
            format!(
                "VIEW-CHANGE of r{} to {} from {}: {prepared:?}",
                change.signer(),
                change.view(),
                change.stable().0
            )
        }
        Ok(PeerFrame::Message(Message::NewView(new_view))) => {
            let changes: Vec<_> =
                new_view.changes().iter().map(|(replica, digest)| (replica.0, *digest)).collect();
            format!("NEW-VIEW of r{} for {}: {changes:?}", new_view.signer(), new_view.view())
        }
        Ok(PeerFrame::Message(Message::Recover(recover))) => {
            format!("RECOVER of r{} as incarnation {}", recover.replica(), recover.incarnation())
        }
        Ok(PeerFrame::Transfer(bytes)) => format!("state transfer, {} bytes", bytes.len()),
        Ok(PeerFrame::Status(status)) => format!("{status:?}"),
        Err(malformed) => malformed.to_string(),
    }
}

fn request_text(request: &Request) -> String {
    let (first, count) = (request.first(), request.count());
    format!("request {first}+{count} of c{}, floor {}", request.client(), request.floor())
}

fn statement_text(statement: &Statement) -> String {
    let Statement { kind, view, seq, digest, .. } = statement;
    format!("{kind:?} v{view} s{seq} {digest:?}")
}
