//! What strategies do to who has fallen behind, or has lost its memory: lies and silence of donors, questions without end.

use bytes::Bytes;
use hypostyle::transfer::{Telling, TransferMessage, Wanted};
use hypostyle_app_api::{Digest, PillarId, Position, Round};
use hypostyle_crypto::{Tag, sha256};
use hypostyle_pillars::message::{Nonce, PeerFrame, Recover};

use super::acts::now;
use super::{Byzantine, Sent};

impl Byzantine {
    /// Some chunks have another bit or path, or are said to be what the asker has.
    pub(super) fn wrong_chunk(&mut self, payload: &Bytes) -> Bytes {
        let Some(TransferMessage::Chunk { root, index, path, data }) = transfer(payload) else {
            return payload.clone();
        };
        let wrong = match self.random.below(4) {
            0 => return payload.clone(),
            1 => TransferMessage::Chunk { root, index, path, data: Bytes::new() },
            2 => TransferMessage::Chunk { root, index, path: [path, vec![root]].concat(), data },
            _ => TransferMessage::Chunk { root, index, path, data: self.flip(&data) },
        };
        frame(&wrong)
    }

    pub(super) fn wrong_telling(&mut self, payload: &Bytes) -> Bytes {
        let far = 1 << self.random.below(40);
        let wrong = match transfer(payload) {
            Some(TransferMessage::Tell { id, telling }) => {
                let telling = match self.random.below(4) {
                    0 => Telling { digest: sha256(&[&telling.digest.0]), ..telling },
                    1 => Telling { root: sha256(&[&telling.root.0]), ..telling },
                    2 => Telling { length: telling.length + far, ..telling },
                    _ => Telling { position: Position(telling.position.0.saturating_add(far)), ..telling },
                };
                TransferMessage::Tell { id, telling }
            }
            Some(TransferMessage::Standing { id, position, writing }) => {
                let position = Position(position.0.saturating_add(far));
                TransferMessage::Standing { id, position, writing: writing ^ self.random.chance(500) }
            }
            _ => return payload.clone(),
        };
        frame(&wrong)
    }

    pub(super) fn ask_often(&mut self, payload: &Bytes) -> Vec<Sent> {
        let mut sent = vec![now(payload.clone())];
        if self.random.chance(100) {
            let round = match self.random.below(3) {
                0 => Round(u64::MAX),
                1 => Round(0),
                _ => Round(self.limits.checkpoint_interval * self.random.skewed(64)),
            };
            sent.push(now(frame(&TransferMessage::Ask { id: self.acts, round })));
        }
        if self.random.chance(100) {
            let root = sha256(&[&self.random.number().to_le_bytes()]);
            let wanted = vec![Wanted { index: 0, have: Digest::ZERO }];
            sent.push(now(frame(&TransferMessage::Fetch { root, wanted })));
        }
        sent
    }

    pub(super) fn recover_often(&mut self, pillar: PillarId, payload: &Bytes) -> Vec<Sent> {
        let mut sent = vec![now(payload.clone())];
        if self.random.chance(50) && self.me.0 % self.pillars == pillar.0 {
            let incarnation = 1 + self.random.skewed(4);
            let mut nonce = Nonce::default();
            nonce.0[..8].copy_from_slice(&self.random.number().to_le_bytes());
            let content = Recover::content(self.me, incarnation, nonce);
            let recover =
                Recover::new(self.me, incarnation, nonce, &self.identity.sign(Tag::Recover, &content));
            sent.push(now([&[PeerFrame::RECOVER], &recover.bytes()[..]].concat().into()));
        }
        sent
    }
}

fn transfer(payload: &Bytes) -> Option<TransferMessage> {
    let about_transfer = payload.first() == Some(&PeerFrame::TRANSFER);
    about_transfer.then(|| TransferMessage::decode(&payload.slice(1..)).ok()).flatten()
}

fn frame(message: &TransferMessage) -> Bytes {
    [&[PeerFrame::TRANSFER], &message.encode()[..]].concat().into()
}
