use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;

use hypostyle_crypto::sha256;

use crate::{Application, ApplicationError, Context, Digest, Position, Snapshot, Timestamp};

/// A ledger of hash-chained blocks, small enough for a device with little memory: account k belongs to client k, all
/// accounts begin with the same amount, and no payment makes or loses money.
///
/// Operations are text: `pay TO AMOUNT` from the client's own account, `balance ACCOUNT`, `head`, `block HEIGHT`. The payments
/// of one slot of the global order are a block; it ends when the next slot's first payment comes. Replies are `OK HEIGHT`,
/// the balance, a block as [`Block`] writes itself, or a line that begins with `ERR`. The last [`Ledger::KEPT`] blocks
/// are kept: who wants all of them asks in time.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<State>);

/// A [`Ledger`] at one moment.
#[derive(Clone, Debug)]
pub struct LedgerSnapshot(Arc<State>);

/// A finished block. As text: `HEIGHT PARENT PAYMENTS COUNT TIME HASH`, digests in hexadecimal, time in ns since the Unix
/// epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its place in the chain; the first has 1.
    pub height: u64,
    /// Hash of the block before; of the first one, zeros.
    pub parent: Digest,
    /// Digest of the payments, in order.
    pub payments: Digest,
    /// How many they are.
    pub count: u64,
    /// Agreed time of the slot.
    pub timestamp: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    balances: Vec<u64>,
    blocks: VecDeque<Block>,
    /// Of the last finished block.
    head: Digest,
    /// The block that payments are added to, and the slot they come from.
    open: Option<(Position, Block)>,
}

impl Ledger {
    /// Finished blocks that are kept.
    pub const KEPT: usize = 256;

    /// `accounts` of `amount` each, for clients 0 and up.
    ///
    /// # Panics
    /// When all the money exceeds 64 bits.
    #[must_use]
    pub fn new(accounts: u32, amount: u64) -> Self {
        assert!(u64::from(accounts).checked_mul(amount).is_some(), "more money than 64 bits hold");
        let balances = vec![amount; accounts as usize];
        let head = Digest([0; 32]);
        Self(Arc::new(State { balances, blocks: VecDeque::new(), head, open: None }))
    }
}

impl Block {
    /// What the next block names as its parent.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let numbers = [self.height, self.count, self.timestamp.0].map(u64::to_le_bytes);
        sha256(&[b"hypostyle ledger block", numbers.as_flattened(), &self.parent.0, &self.payments.0])
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { height, parent, payments, count, timestamp } = self;
        write!(f, "{height} {parent} {payments} {count} {} {}", timestamp.0, self.hash())
    }
}

impl Application for Ledger {
    type Snapshot = LedgerSnapshot;

    fn execute(&mut self, context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        let answer = std::str::from_utf8(operation).map_err(|_| USAGE.to_owned());
        let answer = answer.and_then(|operation| self.answer(context, operation));
        let text = answer.unwrap_or_else(|error| format!("ERR {error}"));
        reply.extend_from_slice(text.as_bytes());
    }

    fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        self.0.write_to(&mut bytes).expect("a vector takes all");
        sha256(&[&bytes])
    }

    fn snapshot(&self) -> LedgerSnapshot {
        LedgerSnapshot(Arc::clone(&self.0))
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError> {
        self.0 = Arc::new(State::read(from)?);
        Ok(())
    }
}

const USAGE: &str = "expected: pay TO AMOUNT | balance ACCOUNT | head | block HEIGHT";

impl Ledger {
    fn answer(&mut self, context: &Context, operation: &str) -> Result<String, String> {
        let words: Vec<&str> = operation.split(' ').collect();
        match words[..] {
            ["pay", to, amount] => self.pay(context, account(to)?, number(amount)?, operation),
            ["balance", account] => {
                let balance = self.0.balances.get(self::account(account)?);
                balance.map(u64::to_string).ok_or_else(|| "no such account".to_owned())
            }
            ["head"] => self.0.blocks.back().map(Block::to_string).ok_or_else(|| "no block yet".to_owned()),
            ["block", height] => {
                let height = number(height)?;
                let found = self.0.blocks.iter().find(|block| block.height == height);
                found.map(Block::to_string).ok_or_else(|| "no such block is kept".to_owned())
            }
            _ => Err(USAGE.to_owned()),
        }
    }

    fn pay(&mut self, context: &Context, to: usize, amount: u64, operation: &str) -> Result<String, String> {
        let from = usize::try_from(context.client.0).map_err(|_| "no such account")?;
        let accounts = self.0.balances.len();
        if from >= accounts || to >= accounts {
            return Err("no such account".to_owned());
        }
        let left = self.0.balances[from].checked_sub(amount).ok_or("the account holds less")?;
        let state = Arc::make_mut(&mut self.0);
        state.balances[from] = left;
        // The sum of all balances fits.
        state.balances[to] += amount;
        Ok(format!("OK {}", state.record(context, operation)))
    }
}

impl State {
    /// Adds a payment to the block of its slot. Returns the block's height.
    fn record(&mut self, context: &Context, operation: &str) -> u64 {
        if self.open.as_ref().is_some_and(|(position, _)| *position != context.position) {
            self.close();
        }
        let (_, block) = self.open.get_or_insert_with(|| {
            let height = self.blocks.back().map_or(1, |last| last.height + 1);
            let (parent, payments) = (self.head, Digest([0; 32]));
            let block = Block { height, parent, payments, count: 0, timestamp: context.timestamp };
            (context.position, block)
        });
        let payer = context.client.0.to_le_bytes();
        block.payments = sha256(&[&block.payments.0, &payer, operation.as_bytes()]);
        block.count += 1;
        block.height
    }

    fn close(&mut self) {
        let Some((_, block)) = self.open.take() else { return };
        self.head = block.hash();
        self.blocks.push_back(block);
        if self.blocks.len() > Ledger::KEPT {
            self.blocks.pop_front();
        }
    }

    fn write_to(&self, to: &mut dyn Write) -> io::Result<()> {
        let open = self.open.as_ref();
        let word = |value: u64| value.to_le_bytes();
        to.write_all(&word(self.balances.len() as u64))?;
        self.balances.iter().try_for_each(|balance| to.write_all(&word(*balance)))?;
        to.write_all(&self.head.0)?;
        to.write_all(&word(self.blocks.len() as u64))?;
        to.write_all(&word(open.map_or(NONE, |(position, _)| position.0)))?;
        for block in self.blocks.iter().chain(open.map(|(_, block)| block)) {
            let numbers = [block.height, block.count, block.timestamp.0].map(u64::to_le_bytes);
            to.write_all(numbers.as_flattened())?;
            to.write_all(&block.parent.0)?;
            to.write_all(&block.payments.0)?;
        }
        Ok(())
    }

    fn read(from: &mut dyn Read) -> Result<Self, ApplicationError> {
        let accounts = word(from)?;
        // Grows as bytes come, not as the length says.
        let balances = (0..accounts).map(|_| word(from)).collect::<io::Result<_>>()?;
        let head = digest(from)?;
        let kept = word(from)?;
        if kept > Ledger::KEPT as u64 {
            return Err(ApplicationError::Malformed(format!("{kept} blocks")));
        }
        let position = word(from)?;
        let blocks = (0..kept).map(|_| Block::read(from)).collect::<io::Result<_>>()?;
        let open = match position {
            NONE => None,
            position => Some((Position(position), Block::read(from)?)),
        };
        Ok(Self { balances, blocks, head, open })
    }
}

/// No position: there is no open block.
const NONE: u64 = u64::MAX;

impl Block {
    fn read(from: &mut dyn Read) -> io::Result<Self> {
        let (height, count, timestamp) = (word(from)?, word(from)?, Timestamp(word(from)?));
        Ok(Self { height, parent: digest(from)?, payments: digest(from)?, count, timestamp })
    }
}

impl Snapshot for LedgerSnapshot {
    fn write_to(&mut self, to: &mut dyn Write) -> io::Result<()> {
        self.0.write_to(to)
    }
}

fn word(from: &mut dyn Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn digest(from: &mut dyn Read) -> io::Result<Digest> {
    let mut bytes = [0; 32];
    from.read_exact(&mut bytes)?;
    Ok(Digest(bytes))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| USAGE.to_owned())
}

/// The same answer whatever a machine's word.
fn account(text: &str) -> Result<usize, String> {
    usize::try_from(number(text)?).map_err(|_| "no such account".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypostyle_app_api::{ClientId, Number};

    fn ask(ledger: &mut Ledger, client: u32, slot: u64, operation: &str) -> String {
        let context = Context {
            position: Position(slot),
            client: ClientId(client),
            number: Number(1),
            timestamp: Timestamp(1000 + slot),
        };
        let mut reply = Vec::new();
        ledger.execute(&context, operation.as_bytes(), &mut reply);
        String::from_utf8(reply).expect("text")
    }

    #[test]
    fn money_moves_and_is_neither_made_nor_lost() {
        let mut ledger = Ledger::new(3, 100);
        assert_eq!(ask(&mut ledger, 0, 0, "pay 1 70"), "OK 1");
        assert_eq!(ask(&mut ledger, 0, 0, "pay 1 31"), "ERR the account holds less");
        assert_eq!(ask(&mut ledger, 1, 1, "pay 1 170"), "OK 2", "to oneself");
        for (client, operation) in [(0, "pay 3 1"), (7, "pay 0 1"), (0, "balance 3")] {
            assert_eq!(ask(&mut ledger, client, 2, operation), "ERR no such account");
        }
        for wrong in ["", "pay", "pay 1 -1", "pay 1 1 1", "pay x 1", "block", "burn 1"] {
            assert!(ask(&mut ledger, 0, 2, wrong).starts_with("ERR expected"), "{wrong}");
        }
        let balances = [0, 1, 2].map(|account| ask(&mut ledger, 0, 2, &format!("balance {account}")));
        assert_eq!(balances, ["30", "170", "100"]);
    }

    #[test]
    fn blocks_hold_a_slot_s_payments_and_name_their_parent() {
        let mut ledger = Ledger::new(2, 1_000_000);
        assert_eq!(ask(&mut ledger, 0, 0, "head"), "ERR no block yet");
        let slots = Ledger::KEPT as u64 + 10;
        for slot in 0..slots {
            ask(&mut ledger, 0, slot * 2, "pay 1 1");
            ask(&mut ledger, 1, slot * 2, "pay 0 1");
        }
        let block = |ledger: &mut Ledger, height: u64| {
            let text = ask(ledger, 0, 0, &format!("block {height}"));
            text.split(' ').map(str::to_owned).collect::<Vec<_>>()
        };
        let last = slots - 1;
        for height in last - 20..last {
            let (one, next) = (block(&mut ledger, height), block(&mut ledger, height + 1));
            assert_eq!((&one[3], &one[5]), (&"2".to_owned(), &next[1]), "the next one names its hash");
        }
        assert_eq!(block(&mut ledger, last).join(" "), ask(&mut ledger, 0, 0, "head"));
        assert_eq!(block(&mut ledger, slots)[0], "ERR", "it isn't finished");
        assert_eq!(block(&mut ledger, 1)[0], "ERR", "it isn't kept any more");
    }

    #[test]
    fn a_snapshot_keeps_its_moment_and_restores() {
        let mut ledger = Ledger::new(2, 100);
        for slot in 0..5 {
            ask(&mut ledger, 0, slot, "pay 1 1");
        }
        let (mut snapshot, digest) = (ledger.snapshot(), ledger.digest());
        ask(&mut ledger, 0, 9, "pay 1 1");
        assert_ne!(ledger.digest(), digest);
        let mut bytes = Vec::new();
        snapshot.write_to(&mut bytes).expect("written");
        let mut other = Ledger::new(0, 0);
        other.restore(&mut bytes.as_slice()).expect("restored");
        assert_eq!(ask(&mut other, 0, 9, "pay 1 1"), "OK 6");
        assert_eq!(other.digest(), ledger.digest(), "it goes on as the other did");
        for cut in 0..bytes.len() {
            assert!(other.clone().restore(&mut &bytes[..cut]).is_err(), "{cut}");
        }
    }
}
