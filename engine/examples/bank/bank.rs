//! A bank with a fixed number of accounts. Whatever is moved, the sum of all balances stays the same.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::sync::Arc;

use hypostyle::crypto::{Hasher, sha256};
use hypostyle::{Application, ApplicationError, Context, Digest, Snapshot};

/// Accounts lie in pages: a checkpoint hashes only pages that changed, and a snapshot shares all pages until one is
/// written. A page is always as long, so that equal pages of two snapshots lie in the same place.
#[derive(Clone, Debug)]
pub(crate) struct Bank {
    pages: Vec<Page>,
}

/// A [`Bank`] at one moment.
#[derive(Clone, Debug)]
pub(crate) struct BankSnapshot(Vec<Arc<Balances>>);

/// Balances in one page.
const PAGE: usize = 512;
/// What every account begins with.
pub(crate) const DEPOSIT: u64 = 1000;

type Balances = [u64; PAGE];

#[derive(Clone, Debug)]
struct Page {
    balances: Arc<Balances>,
    /// Of `balances`, unless they changed since it was last asked for.
    digest: Cell<Option<Digest>>,
}

impl Bank {
    /// A bank of `pages` · 512 accounts.
    pub(crate) fn new(pages: usize) -> Self {
        let page = || Page { balances: Arc::new([DEPOSIT; PAGE]), digest: Cell::new(None) };
        Self { pages: std::iter::repeat_with(page).take(pages).collect() }
    }

    /// How many accounts there are.
    pub(crate) fn accounts(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// The balance of an account.
    pub(crate) fn balance(&self, account: usize) -> Option<u64> {
        Some(self.pages.get(account / PAGE)?.balances[account % PAGE])
    }

    /// Over all accounts: the invariant.
    pub(crate) fn sum(&self) -> u64 {
        self.pages.iter().flat_map(|page| page.balances.iter()).sum()
    }

    /// Replaces a balance; also what a broken memory does.
    pub(crate) fn set(&mut self, account: usize, balance: u64) {
        let page = &mut self.pages[account / PAGE];
        page.digest.set(None);
        Arc::make_mut(&mut page.balances)[account % PAGE] = balance;
    }

    fn transfer(&mut self, from: usize, to: usize, amount: u64) -> Option<&'static str> {
        let (source, target) = (self.balance(from)?, self.balance(to)?);
        let Some(left) = source.checked_sub(amount) else { return Some("ERR not enough") };
        if from != to {
            self.set(from, left);
            // The sum of all balances fits 64 bits.
            self.set(to, target + amount);
        }
        Some("OK")
    }

    fn run(&mut self, operation: &str) -> Option<String> {
        let mut words = operation.split(' ');
        let verb = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let reply = match verb {
            "move" => {
                let (from, to, amount) = (number()?, number()?, number()?);
                self.transfer(usize::try_from(from).ok()?, usize::try_from(to).ok()?, amount)?.to_owned()
            }
            "balance" => self.balance(usize::try_from(number()?).ok()?)?.to_string(),
            "sum" => self.sum().to_string(),
            _ => return None,
        };
        words.next().is_none().then_some(reply)
    }
}

impl Application for Bank {
    type Snapshot = BankSnapshot;

    /// `move FROM TO AMOUNT`, `balance ACCOUNT` or `sum`.
    fn execute(&mut self, _context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        let text = std::str::from_utf8(operation).ok();
        let result = text.and_then(|text| self.run(text));
        reply.extend_from_slice(result.as_deref().unwrap_or("ERR no such operation").as_bytes());
    }

    fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        self.pages.iter().for_each(|page| {
            hasher.update(&page.digest().0);
        });
        hasher.finish()
    }

    fn snapshot(&self) -> BankSnapshot {
        BankSnapshot(self.pages.iter().map(|page| Arc::clone(&page.balances)).collect())
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError> {
        let mut restored = Self::new(self.pages.len());
        for account in 0..restored.accounts() {
            let mut balance = [0; 8];
            from.read_exact(&mut balance)?;
            restored.set(account, u64::from_le_bytes(balance));
        }
        if from.read(&mut [0])? > 0 {
            return Err(ApplicationError::Malformed("more accounts than there are".to_owned()));
        }
        *self = restored;
        Ok(())
    }
}

impl Snapshot for BankSnapshot {
    fn write_to(&mut self, to: &mut dyn Write) -> io::Result<()> {
        for balance in self.0.iter().flat_map(|page| page.iter()) {
            to.write_all(&balance.to_le_bytes())?;
        }
        Ok(())
    }
}

impl Page {
    fn digest(&self) -> Digest {
        if let Some(digest) = self.digest.get() {
            return digest;
        }
        let bytes: Vec<u8> = self.balances.iter().flat_map(|balance| balance.to_le_bytes()).collect();
        let digest = sha256(&[&bytes]);
        self.digest.set(Some(digest));
        digest
    }
}
