//! What the replicas of an exploration have said: each message once, verified once, under a number.

use std::collections::HashMap;

use bytes::Bytes;
use hypostyle_app_api::{Digest, ReplicaId};
use hypostyle_crypto::Verified;
use hypostyle_pillars::message::{Kind, Message, PeerFrame, Statement, Status};
use hypostyle_pillars::{Config, Declaration, Declared};

use super::keys::Keys;

/// A message under way, for one replica or for all others.
pub(super) struct Mail {
    pub(super) from: ReplicaId,
    pub(super) to: Option<ReplicaId>,
    pub(super) letter: Letter,
}

#[derive(Clone, Debug)]
pub(super) enum Letter {
    Message(Verified<Message>),
    Status(Status),
}

/// All mail there ever was.
pub(super) struct Book {
    pub(super) keys: Keys,
    pub(super) config: Config,
    mails: Vec<Mail>,
    numbers: HashMap<(ReplicaId, Option<ReplicaId>, Bytes), u32>,
    declared: HashMap<String, Declared>,
    bodies: HashMap<Digest, u32>,
}

impl Book {
    pub(super) fn new(keys: Keys, config: Config) -> Self {
        let (numbers, declared, bodies) = Default::default();
        Self { keys, config, mails: Vec::new(), numbers, declared, bodies }
    }

    pub(super) fn mail(&self, number: u32) -> &Mail {
        &self.mails[number as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.mails.len()
    }

    /// The number of a frame: it is decoded and verified as if it came over a link.
    pub(super) fn number(&mut self, from: ReplicaId, to: Option<ReplicaId>, kind: u8, bytes: &[u8]) -> u32 {
        let frame = Bytes::from([&[kind], bytes].concat());
        let (mails, keys, config) = (&mut self.mails, &self.keys, &self.config);
        let bodies = &mut self.bodies;
        *self.numbers.entry((from, to, frame)).or_insert_with_key(|(_, _, frame)| {
            let letter = match PeerFrame::decode(frame, &config.frame_limits()).expect("well-formed") {
                PeerFrame::Message(message) => {
                    Letter::Message(keys.keyring.verify(message).expect("signed by its sender"))
                }
                PeerFrame::Status(status) => Letter::Status(status),
                PeerFrame::Transfer(_) => unreachable!("nobody falls so far behind"),
            };
            let number = u32::try_from(mails.len()).expect("few messages");
            if let Letter::Message(message) = &letter
                && let Message::Body(body) = &**message
            {
                bodies.entry(body.digest()).or_insert(number);
            }
            mails.push(Mail { from, to, letter });
            number
        })
    }

    /// Seals a declaration. Of VIEW-CHANGEs that differ only in the bundles that prove the same, the first stands for all.
    pub(super) fn declared(&mut self, signer: ReplicaId, declaration: Declaration) -> Declared {
        let declared = self.keys.declared(signer, declaration);
        let Declared::ViewChange(change) = &declared else {
            return declared;
        };
        let says = format!("{signer} {} {:?} {:?}", change.view(), change.stable(), change.prepared());
        self.declared.entry(says).or_insert(declared).clone()
    }

    /// A replica's statement, if it is one.
    pub(super) fn statement(&self, number: u32) -> Option<&Statement> {
        match &self.mail(number).letter {
            Letter::Message(message) => match &**message {
                Message::Bundle(bundle) => bundle.statements().first(),
                _ => None,
            },
            Letter::Status(_) => None,
        }
    }

    pub(super) fn is_body(&self, number: u32) -> bool {
        matches!(&self.mail(number).letter, Letter::Message(m) if matches!(**m, Message::Body(_)))
    }

    /// The body that a proposal names, as its proposer sent it.
    pub(super) fn body_of(&self, number: u32) -> Option<u32> {
        let proposal = self.statement(number).filter(|statement| statement.kind == Kind::Propose)?;
        self.bodies.get(&proposal.digest).copied()
    }

    /// One line for a schedule.
    pub(super) fn describe(&self, number: u32) -> String {
        let Mail { from, letter, .. } = self.mail(number);
        match letter {
            Letter::Message(message) => match &**message {
                Message::Request(request) => format!("{request:?} passed on by {from}"),
                Message::Recover(recover) => format!("{recover:?} passed on by {from}"),
                Message::Body(body) => format!("{body:?} from {from}"),
                Message::Bundle(bundle) => {
                    let said = bundle.statements().iter();
                    let said =
                        said.map(|s| format!("{:?} {:?} for {} in view {}", s.kind, s.digest, s.seq, s.view));
                    format!("{} of {}", said.collect::<Vec<_>>().join(", "), bundle.signer())
                }
                Message::ViewChange(change) => format!("{change:?}"),
                Message::NewView(new_view) => format!("{new_view:?}"),
            },
            Letter::Status(status) => format!("status of {from}: {status:?}"),
        }
    }
}
