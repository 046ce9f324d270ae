use hypostyle_app_api::{Digest, Round, Seq, View};

use super::{Malformed, Reader};

/// Where a replica's pillar stands and what it lacks. Sent on every (re)connect and while a pillar is stalled; the
/// receiver resends what helps. A hint under the link's MAC: it changes no vote.
///
/// Bytes: view u64 ‖ active u8 ‖ stable u64 ‖ frontier u64 ‖ accepted u64 ‖ count u8 ‖ count × (seq u64 ‖ digest) ‖
/// count u8 ‖ count × digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The sender's view of the pillar.
    pub view: View,
    /// Whether it is at work in that view; else it waits for its NEW-VIEW.
    pub active: bool,
    /// Its stable round.
    pub stable: Round,
    /// All its slots up to this one are decided.
    pub frontier: Seq,
    /// It accepted proposals up to this one: who has less lost some.
    pub accepted: Seq,
    /// Bodies it needs and doesn't hold, lowest slot first.
    pub wanted: Vec<WantedBody>,
    /// VIEW-CHANGEs that a NEW-VIEW names and it lacks, by digest.
    pub wanted_changes: Vec<Digest>,
}

/// A body that a replica has seen proposed or certified but doesn't hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedBody {
    /// For which slot.
    pub seq: Seq,
    /// The body's digest.
    pub digest: Digest,
}

/// Most bodies asked for in one [`Status`].
pub const STATUS_WANTED_MAX: usize = 64;

impl Status {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.view.0.to_le_bytes());
        out.push(u8::from(self.active));
        out.extend_from_slice(&self.stable.0.to_le_bytes());
        out.extend_from_slice(&self.frontier.0.to_le_bytes());
        out.extend_from_slice(&self.accepted.0.to_le_bytes());
        let wanted = &self.wanted[..self.wanted.len().min(STATUS_WANTED_MAX)];
        out.push(u8::try_from(wanted.len()).expect("at most 64"));
        for body in wanted {
            out.extend_from_slice(&body.seq.0.to_le_bytes());
            out.extend_from_slice(&body.digest.0);
        }
        let changes = &self.wanted_changes[..self.wanted_changes.len().min(STATUS_WANTED_MAX)];
        out.push(u8::try_from(changes.len()).expect("at most 64"));
        for digest in changes {
            out.extend_from_slice(&digest.0);
        }
    }

    /// Decodes a status.
    ///
    /// # Errors
    /// When the bytes are not exactly one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let status = read(&mut reader).ok_or(Malformed { message: "status", what: "truncated" })?;
        let most = status.wanted.len().max(status.wanted_changes.len());
        if most > STATUS_WANTED_MAX || !reader.is_empty() {
            return Err(Malformed { message: "status", what: "too long" });
        }
        Ok(status)
    }
}

fn read(reader: &mut Reader<'_>) -> Option<Status> {
    let view = View(reader.u64()?);
    let active = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let stable = Round(reader.u64()?);
    let (frontier, accepted) = (Seq(reader.u64()?), Seq(reader.u64()?));
    let count = reader.u8()?;
    let body = |_| Some(WantedBody { seq: Seq(reader.u64()?), digest: Digest(reader.array()?) });
    let wanted = (0..count).map(body).collect::<Option<_>>()?;
    let count = reader.u8()?;
    let wanted_changes = (0..count).map(|_| Some(Digest(reader.array()?))).collect::<Option<_>>()?;
    Some(Status { view, active, stable, frontier, accepted, wanted, wanted_changes })
}
