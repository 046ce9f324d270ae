use std::sync::Arc;

use hypostyle_app_api::PillarId;
use hypostyle_crypto::{Identity, Tag};

use crate::counters::Refusal;
use crate::handshake::keys::{Direction, Exchange, Keys, Secret, Transcript, random};
use crate::handshake::messages::{Answer, Difference, FromResponder, Hello, Proof, Turned, Welcome};
use crate::handshake::summary::first_difference;
use crate::handshake::ticket::TICKET_LEN;
use crate::handshake::{Agreed, Failure, Local, Macs, Step, post, session};
use crate::peer::Peer;
use crate::write_buffer::WriteBuffer;

/// What an initiator keeps of a signed handshake: the responder's ticket and the secret it stands for.
#[derive(Clone)]
pub(crate) struct Resumption {
    ticket: [u8; TICKET_LEN],
    pub(super) secret: Secret,
}

/// The dialling side of one handshake.
pub(crate) struct Initiator {
    identity: Arc<Identity>,
    peer: Peer,
    hello: Hello,
    resumption: Option<Resumption>,
    stage: Stage,
}

enum Stage {
    AwaitAnswer(Exchange),
    AwaitWelcome(Box<(Transcript, Keys)>),
    Over,
}

impl Initiator {
    /// Opens a handshake with `peer`, about `pillar`.
    pub(crate) fn start(
        local: &Local,
        identity: Arc<Identity>,
        peer: Peer,
        pillar: PillarId,
        resumption: Option<Resumption>,
        out: &mut WriteBuffer,
    ) -> Self {
        let exchange = Exchange::generate();
        let hello = Hello {
            from: identity.signer().into(),
            pillar,
            nonce: random(),
            share: exchange.share,
            configuration: local.configuration(),
            ticket: resumption.as_ref().map(|resumption| resumption.ticket),
        };
        post(out, &hello.encode());
        Self { identity, peer, hello, resumption, stage: Stage::AwaitAnswer(exchange) }
    }

    /// Takes the responder's next message.
    pub(crate) fn step(
        &mut self,
        local: &Local,
        message: &[u8],
        out: &mut WriteBuffer,
    ) -> Result<Step, Failure> {
        let message = FromResponder::decode(message).ok_or(Refusal::Malformed)?;
        match (message, std::mem::replace(&mut self.stage, Stage::Over)) {
            (FromResponder::Answer(answer), Stage::AwaitAnswer(exchange)) => {
                self.answered(local, &answer, exchange, out)
            }
            (FromResponder::Welcome(welcome), Stage::AwaitWelcome(derived)) => {
                self.welcomed(local, welcome, &derived.0, &derived.1)
            }
            (FromResponder::Turned(turned), Stage::AwaitAnswer(_) | Stage::AwaitWelcome(_)) => {
                Err(self.turned(local, turned, out))
            }
            _ => Err(Refusal::Malformed.into()),
        }
    }

    fn answered(
        &mut self,
        local: &Local,
        answer: &Answer,
        exchange: Exchange,
        out: &mut WriteBuffer,
    ) -> Result<Step, Failure> {
        if answer.from != self.peer {
            let detail = format!("{} answers where {} was dialled", answer.from, self.peer);
            return Err(Failure::with(Refusal::UnexpectedIdentity, detail));
        }
        if answer.configuration != local.configuration() {
            return Err(Refusal::Configuration.into());
        }
        let fresh = exchange.agree(&answer.share).ok_or(Refusal::Malformed)?;
        let transcript = Transcript::new(&self.hello, answer);
        match (&answer.confirmation, &self.resumption) {
            (Some(confirmation), Some(resumption)) => {
                let keys = transcript.keys(&fresh, Some(&resumption.secret));
                if !keys.confirms(Direction::FromResponder, confirmation) {
                    return Err(Refusal::KeyConfirmation.into());
                }
                post(out, &Proof(&keys.confirmation(Direction::FromInitiator)).encode());
                Ok(self.agreed(&keys, None))
            }
            (Some(_), None) => Err(Refusal::Malformed.into()),
            (None, _) => {
                let signature = self.identity.sign(Tag::Handshake, &transcript.initiators());
                post(out, &Proof(&signature).encode());
                let keys = transcript.keys(&fresh, None);
                self.stage = Stage::AwaitWelcome(Box::new((transcript, keys)));
                Ok(Step::Continue)
            }
        }
    }

    fn welcomed(
        &self,
        local: &Local,
        welcome: Welcome<'_>,
        transcript: &Transcript,
        keys: &Keys,
    ) -> Result<Step, Failure> {
        if !local.holds(self.peer, transcript.responders(welcome.ticket), welcome.signature) {
            return Err(Refusal::Signature.into());
        }
        Ok(self.agreed(keys, Some(Resumption { ticket: *welcome.ticket, secret: keys.resumption() })))
    }

    fn agreed(&self, keys: &Keys, resumption: Option<Resumption>) -> Step {
        let me = self.hello.from;
        Step::Agreed(Box::new(Agreed {
            me,
            peer: self.peer,
            pillar: self.hello.pillar,
            resumed: resumption.is_none(),
            resumption,
            macs: Macs::derive(keys, me, self.peer, Direction::FromInitiator),
            session: session(keys, me, self.peer),
        }))
    }

    fn turned(&self, local: &Local, turned: Turned<'_>, out: &mut WriteBuffer) -> Failure {
        if turned.reason != Refusal::Configuration {
            return Failure::with(Refusal::ByPeer, turned.reason);
        }
        match first_difference(&local.summary, turned.summary) {
            Some(difference) => {
                post(out, &Difference(difference.line()).encode());
                Failure::with(Refusal::Configuration, difference.explain(self.peer))
            }
            None => Refusal::Configuration.into(),
        }
    }
}
