use hypostyle_app_api::{Instant, PillarId};
use hypostyle_crypto::{Identity, Tag};

use crate::counters::Refusal;
use crate::frame;
use crate::handshake::keys::{Direction, Exchange, Keys, Transcript, random};
use crate::handshake::messages::{
    Answer, DIFFERENCE_MAX, Difference, HELLO_LEN, Hello, PROOF_MAX, Proof, Turned, Welcome,
};
use crate::handshake::summary::told_difference;
use crate::handshake::ticket::{Scope, Ticket};
use crate::handshake::{Agreed, Allowance, Failure, Local, Macs, Step, TICKET_LIFETIME, post, session};
use crate::peer::{Peer, Role};
use crate::write_buffer::WriteBuffer;

/// What a responder needs beside the message.
pub(crate) struct Gate<'a> {
    pub(crate) local: &'a Local,
    pub(crate) identity: &'a Identity,
    pub(crate) now: Instant,
    /// Whether this worker serves a pillar.
    pub(crate) serves: &'a dyn Fn(PillarId) -> bool,
    pub(crate) allowance: &'a mut Allowance,
}

/// The accepting side of one handshake. It is small: this is what an unauthenticated connection costs.
pub(crate) struct Responder {
    admits: Role,
    stage: Stage,
}

enum Stage {
    AwaitHello,
    AwaitSignature(Box<Opened>),
    AwaitConfirmation(Box<Resumed>),
    /// Refused for its configuration; it may tell which field.
    AwaitDifference(Peer),
    Over,
}

struct Opened {
    peer: Peer,
    pillar: PillarId,
    share: [u8; 32],
    exchange: Exchange,
    transcript: Transcript,
}

struct Resumed {
    peer: Peer,
    pillar: PillarId,
    keys: Keys,
}

impl Responder {
    /// At an address that serves `admits`.
    pub(crate) fn new(admits: Role) -> Self {
        Self { admits, stage: Stage::AwaitHello }
    }

    /// Who may connect here.
    pub(crate) fn admits(&self) -> Role {
        self.admits
    }

    /// Most bytes of the next message.
    pub(crate) fn message_max(&self) -> usize {
        match self.stage {
            Stage::AwaitHello => HELLO_LEN,
            Stage::AwaitSignature(_) | Stage::AwaitConfirmation(_) => PROOF_MAX,
            Stage::AwaitDifference(_) => DIFFERENCE_MAX,
            Stage::Over => 0,
        }
    }

    /// What the next message costs, in units of an X25519 operation or so.
    pub(crate) fn cost(&self) -> u32 {
        match self.stage {
            Stage::AwaitSignature(_) => 8,
            _ => 1,
        }
    }

    /// What to say when nothing more comes: `otherwise`, unless the refusal stands already.
    pub(crate) fn failure(&self, otherwise: Refusal) -> Failure {
        match self.stage {
            Stage::AwaitDifference(_) => Refusal::Configuration.into(),
            _ => otherwise.into(),
        }
    }

    /// Who it says it is, once it said so.
    pub(crate) fn claimed(&self) -> Option<Peer> {
        match &self.stage {
            Stage::AwaitSignature(opened) => Some(opened.peer),
            Stage::AwaitConfirmation(resumed) => Some(resumed.peer),
            Stage::AwaitDifference(peer) => Some(*peer),
            Stage::AwaitHello | Stage::Over => None,
        }
    }

    /// Takes the initiator's next message. On a failure that the initiator should hear of, `out` says so.
    pub(crate) fn step(
        &mut self,
        gate: &mut Gate<'_>,
        message: &[u8],
        out: &mut WriteBuffer,
    ) -> Result<Step, Failure> {
        let step = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::AwaitHello => self.hello(gate, message, out),
            Stage::AwaitSignature(opened) => signed(gate, &Proof::decode(message), *opened, out),
            Stage::AwaitConfirmation(resumed) => confirmed(gate, &Proof::decode(message), &resumed),
            Stage::AwaitDifference(peer) => return Err(differs(gate, message, peer)),
            Stage::Over => return Err(Refusal::Malformed.into()),
        };
        step.inspect_err(|failure| {
            if !matches!(failure.refusal, Refusal::NotHypostyle | Refusal::Malformed) {
                post(out, &Turned { reason: failure.refusal, summary: b"" }.encode());
            }
        })
    }

    fn hello(&mut self, gate: &Gate<'_>, message: &[u8], out: &mut WriteBuffer) -> Result<Step, Failure> {
        let hello = Hello::decode(message)?;
        if hello.configuration != gate.local.configuration() {
            self.stage = Stage::AwaitDifference(hello.from);
            tell_summary(gate.local, out);
            return Ok(Step::Continue);
        }
        self.admit(gate, &hello)?;
        if !(gate.serves)(hello.pillar) {
            self.stage = Stage::AwaitHello;
            return Ok(Step::Elsewhere { peer: hello.from, pillar: hello.pillar });
        }
        match resume(gate, &hello)? {
            Some(ticket) => self.resume(gate, &hello, &ticket, out),
            None => {
                self.open(gate, &hello, out);
                Ok(Step::Continue)
            }
        }
    }

    /// The cheap checks.
    fn admit(&self, gate: &Gate<'_>, hello: &Hello) -> Result<(), Failure> {
        let refuse = |refusal| Err(Failure::with(refusal, hello.from));
        if hello.from.role != self.admits {
            return refuse(Refusal::Role);
        }
        if hello.from == gate.identity.signer().into() || !hello.from.is_registered(&gate.local.keyring) {
            return refuse(Refusal::UnknownIdentity);
        }
        if hello.pillar.0 >= gate.local.pillars {
            return refuse(Refusal::Pillar);
        }
        Ok(())
    }

    fn open(&mut self, gate: &Gate<'_>, hello: &Hello, out: &mut WriteBuffer) {
        let exchange = Exchange::generate();
        let answer = answer(gate, &exchange, None);
        post(out, &answer.encode());
        let transcript = Transcript::new(hello, &answer);
        let (peer, pillar, share) = (hello.from, hello.pillar, hello.share);
        self.stage = Stage::AwaitSignature(Box::new(Opened { peer, pillar, share, exchange, transcript }));
    }

    fn resume(
        &mut self,
        gate: &Gate<'_>,
        hello: &Hello,
        ticket: &Ticket,
        out: &mut WriteBuffer,
    ) -> Result<Step, Failure> {
        let exchange = Exchange::generate();
        let mut answer = answer(gate, &exchange, Some([0; 32]));
        let fresh = exchange.agree(&hello.share).ok_or(Refusal::Malformed)?;
        let keys = Transcript::new(hello, &answer).keys(&fresh, Some(&ticket.secret));
        answer.confirmation = Some(keys.confirmation(Direction::FromResponder));
        post(out, &answer.encode());
        let (peer, pillar) = (hello.from, hello.pillar);
        self.stage = Stage::AwaitConfirmation(Box::new(Resumed { peer, pillar, keys }));
        Ok(Step::Continue)
    }
}

/// The ticket, if there is one that opens, has not expired and was not used too often; one of somebody else is an attack.
fn resume(gate: &Gate<'_>, hello: &Hello) -> Result<Option<Ticket>, Failure> {
    let scope = Scope::new(hello.configuration, gate.identity.signer().into());
    let ticket = hello.ticket.and_then(|sealed| gate.local.tickets.open(&scope, &sealed));
    match ticket {
        Some(ticket) if ticket.owner != hello.from => Err(Failure::with(Refusal::Ticket, hello.from)),
        Some(ticket) if ticket.expires <= gate.now => Ok(None),
        Some(ticket) if !gate.allowance.may_resume(ticket.owner, gate.now) => Ok(None),
        other => Ok(other),
    }
}

fn answer(gate: &Gate<'_>, exchange: &Exchange, confirmation: Option<[u8; 32]>) -> Answer {
    Answer {
        from: gate.identity.signer().into(),
        nonce: random(),
        share: exchange.share,
        configuration: gate.local.configuration(),
        confirmation,
    }
}

/// The initiator's signature first, only then our own: a signature costs twenty verifications.
fn signed(
    gate: &mut Gate<'_>,
    proof: &Option<Proof<'_>>,
    opened: Opened,
    out: &mut WriteBuffer,
) -> Result<Step, Failure> {
    let Opened { peer, pillar, share, exchange, transcript } = opened;
    let signature = proof.ok_or(Refusal::Malformed)?.0;
    if !gate.local.holds(peer, transcript.initiators(), signature) {
        return Err(Failure::with(Refusal::Signature, peer));
    }
    if !gate.allowance.spend(peer, gate.now) {
        return Err(Failure::with(Refusal::TooManyHandshakes, peer));
    }
    let keys = transcript.keys(&exchange.agree(&share).ok_or(Refusal::Malformed)?, None);
    let expires = gate.now + TICKET_LIFETIME;
    let scope = Scope::new(gate.local.configuration(), gate.identity.signer().into());
    let ticket = Ticket { owner: peer, expires, secret: keys.resumption() };
    let ticket = gate.local.tickets.seal(&scope, &ticket);
    let signature = gate.identity.sign(Tag::Handshake, &transcript.responders(&ticket));
    post(out, &Welcome { ticket: &ticket, signature: &signature }.encode());
    Ok(agreed(gate, peer, pillar, &keys, false))
}

fn confirmed(gate: &mut Gate<'_>, proof: &Option<Proof<'_>>, resumed: &Resumed) -> Result<Step, Failure> {
    let confirmation = proof.ok_or(Refusal::Malformed)?.0;
    if !resumed.keys.confirms(Direction::FromInitiator, confirmation) {
        return Err(Failure::with(Refusal::KeyConfirmation, resumed.peer));
    }
    gate.allowance.resumed(resumed.peer, gate.now);
    Ok(agreed(gate, resumed.peer, resumed.pillar, &resumed.keys, true))
}

fn agreed(gate: &Gate<'_>, peer: Peer, pillar: PillarId, keys: &Keys, resumed: bool) -> Step {
    let me = gate.identity.signer().into();
    let macs = Macs::derive(keys, me, peer, Direction::FromResponder);
    let session = session(keys, me, peer);
    Step::Agreed(Box::new(Agreed { me, peer, pillar, resumed, resumption: None, macs, session }))
}

/// The summary goes out as a shared slice, so that a refused connection holds no copy of it.
fn tell_summary(local: &Local, out: &mut WriteBuffer) {
    let head = Turned { reason: Refusal::Configuration, summary: b"" }.encode();
    out.push(&frame::header(head.len() + local.summary.len()).expect("the summary is short"));
    out.push(&head);
    out.push_shared(local.summary.clone());
}

fn differs(gate: &Gate<'_>, message: &[u8], peer: Peer) -> Failure {
    let told = Difference::decode(message).and_then(|line| told_difference(&gate.local.summary, line.0));
    match told {
        Some(difference) => Failure::with(Refusal::Configuration, difference.explain(peer)),
        None => Failure::with(Refusal::Configuration, peer),
    }
}
