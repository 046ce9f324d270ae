//! The table as it travels: its bytes are a function of the state alone.

use std::io::{self, Read, Write};

use bytes::Bytes;
use hypostyle_app_api::ClientId;

use super::{Client, ClientTable, Digests, TableLimits};
use crate::reply::Answer;

/// A table at one moment, to be written on another thread.
#[derive(Debug)]
pub struct TableImage(Vec<Client>);

/// Why bytes are no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// They end too early.
    #[error("the client table can't be read: {0}")]
    Io(#[from] io::Error),
    /// They describe no state that a table can be in.
    #[error("the client table is malformed: {0}")]
    Malformed(&'static str),
}

impl ClientTable {
    /// A handle on the present state. Answers are copied, large results shared.
    #[must_use]
    pub fn image(&self) -> TableImage {
        TableImage(self.clients.clone())
    }

    /// The table that a [`TableImage`] wrote, of as many clients and with the same limits.
    ///
    /// # Errors
    /// When the bytes end, or describe a state that no order leads to.
    pub fn read(from: &mut dyn Read, clients: u32, limits: TableLimits) -> Result<Self, TableError> {
        if u32::from_le_bytes(array(from)?) != clients {
            return Err(TableError::Malformed("another number of clients"));
        }
        let read = (0..clients).map(|_| Client::read(from, limits));
        Ok(Self {
            limits,
            clients: read.collect::<Result<_, _>>()?,
            changed: (0..clients).map(ClientId).collect(),
            digests: Digests::new(clients as usize),
            scratch: Vec::new(),
        })
    }
}

impl TableImage {
    /// Writes the table.
    ///
    /// # Errors
    /// Those of `to`.
    ///
    /// # Panics
    /// When there are more clients than ids.
    pub fn write_to(&self, to: &mut dyn Write) -> io::Result<()> {
        let clients = u32::try_from(self.0.len()).expect("as many clients as ids");
        to.write_all(&clients.to_le_bytes())?;
        self.0.iter().try_for_each(|client| client.write_to(to))
    }
}

impl Client {
    fn kept(&self) -> impl Iterator<Item = &Answer> {
        (self.forgotten.saturating_add(1)..=self.highest).filter_map(|number| self.answer(number))
    }

    fn write_to(&self, to: &mut dyn Write) -> io::Result<()> {
        let kept = u32::try_from(self.kept().count()).map_err(io::Error::other)?;
        to.write_all(&self.acknowledged.to_le_bytes())?;
        to.write_all(&self.floor.to_le_bytes())?;
        to.write_all(&kept.to_le_bytes())?;
        let mut record = Vec::new();
        for answer in self.kept() {
            let large = self.large.get(&answer.number().0);
            record.clear();
            answer.encode(&mut record);
            record.push(u8::from(large.is_some()));
            to.write_all(&record)?;
            large.map_or(Ok(()), |large| to.write_all(large))?;
        }
        Ok(())
    }

    fn read(from: &mut dyn Read, limits: TableLimits) -> Result<Self, TableError> {
        let ring = limits.window.next_power_of_two() as usize;
        let acknowledged = u64::from_le_bytes(array(from)?);
        let floor = u64::from_le_bytes(array(from)?);
        let kept = u32::from_le_bytes(array(from)?) as usize;
        if floor < acknowledged || kept > ring {
            return Err(TableError::Malformed("a floor below what is acknowledged, or too many answers"));
        }
        let mut answers = Vec::with_capacity(kept);
        let mut large = Vec::new();
        for _ in 0..kept {
            let answer = Answer::read(from)?.ok_or(TableError::Malformed("no answer"))?;
            let below = answers.last().map_or(acknowledged, |last: &Answer| last.number().0);
            if answer.number().0 <= below {
                return Err(TableError::Malformed("answers out of order"));
            }
            if let Some(result) = read_large(from, &answer, limits.result_bytes)? {
                large.push((answer.number().0, result));
            }
            answers.push(answer);
        }
        let highest = answers.last().map_or(0, |last| last.number().0);
        let forgotten = acknowledged.max(highest.saturating_sub(ring as u64));
        let lowest = answers.first().map_or(u64::MAX, |first| first.number().0);
        if lowest <= forgotten || highest.saturating_sub(floor) > u64::from(limits.window) {
            return Err(TableError::Malformed("an answer that can't be kept"));
        }
        let mut client = Self { acknowledged, floor, highest, forgotten, changed: true, ..Self::default() };
        for answer in answers {
            client.make_room(answer.number().0, ring);
            let place = client.place(answer.number().0);
            client.answers[place] = answer;
        }
        client.advance();
        client.large_bytes = large.iter().map(|(_, result)| result.len()).sum();
        client.large = large.into_iter().collect();
        if client.floor != floor || client.large_bytes > limits.result_bytes {
            return Err(TableError::Malformed("a floor below what is executed, or too many results"));
        }
        Ok(client)
    }
}

/// The whole result of an answer that holds its digest, when it is kept.
fn read_large(from: &mut dyn Read, answer: &Answer, most: usize) -> Result<Option<Bytes>, TableError> {
    match array(from)? {
        [0] => return Ok(None),
        [1] if answer.is_large() && answer.len() <= most => {}
        _ => return Err(TableError::Malformed("a result where none is kept")),
    }
    let mut result = vec![0; answer.len()];
    from.read_exact(&mut result)?;
    // The state's digest covers the answer only.
    if !answer.is_of(&result) {
        return Err(TableError::Malformed("a result that isn't its answer's"));
    }
    Ok(Some(result.into()))
}

fn array<const N: usize>(from: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hypostyle_app_api::{Digest, Number};
    use proptest::prelude::*;

    use super::super::Due;
    use super::*;

    const LIMITS: TableLimits = TableLimits { window: 6, result_bytes: 120 };

    /// Acknowledges now and then, and executes what is due.
    fn step(table: &mut ClientTable, (client, above, large, acknowledge): (u32, u64, bool, Option<u64>)) {
        let client = ClientId(client);
        if let Some(up) = acknowledge {
            let floor = table.floor(client).0.saturating_sub(4) + up;
            table.acknowledge(client, Number(floor));
        }
        let number = Number(table.floor(client).0 + above);
        if table.due(client, number) == Due::Now {
            let result = vec![7; if large { 33 + usize::try_from(above).unwrap() } else { 3 }];
            let answer = Answer::result(number, &Digest([9; 32]), &result);
            table.record(client, answer, large.then(|| Bytes::from(result)));
        }
    }

    fn steps() -> impl Strategy<Value = Vec<(u32, u64, bool, Option<u64>)>> {
        let step = (0u32..3, 0u64..10, any::<bool>(), prop::option::weighted(0.3, 0u64..9));
        prop::collection::vec(step, 0..80)
    }

    fn written(table: &ClientTable) -> Vec<u8> {
        let mut bytes = Vec::new();
        table.image().write_to(&mut bytes).unwrap();
        bytes
    }

    fn assert_equal(one: &mut ClientTable, other: &mut ClientTable) {
        assert_eq!(one.digest(), other.digest());
        assert_eq!(written(one), written(other));
        for client in (0..3).map(ClientId) {
            assert_eq!(one.floor(client), other.floor(client));
            for number in (0..one.floor(client).0 + 12).map(Number) {
                assert_eq!(one.due(client, number), other.due(client, number));
                assert_eq!(one.lookup(client, number), other.lookup(client, number));
            }
        }
    }

    proptest! {
        #[test]
        fn a_restored_table_behaves_as_the_one_it_was_taken_of(before in steps(), after in steps()) {
            let mut table = ClientTable::new(3, LIMITS);
            before.into_iter().for_each(|s| step(&mut table, s));
            let bytes = written(&table);
            let mut rest = &bytes[..];
            let mut restored = ClientTable::read(&mut rest, 3, LIMITS).unwrap();
            prop_assert!(rest.is_empty());
            assert_equal(&mut table, &mut restored);
            for s in after {
                step(&mut table, s);
                step(&mut restored, s);
                prop_assert_eq!(table.digest(), restored.digest());
            }
            assert_equal(&mut table, &mut restored);
        }

        /// Not one bit can be changed that neither the reader nor the state's digest notices.
        #[test]
        fn a_changed_table_is_refused_or_has_another_digest(
            before in steps(), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>(),
        ) {
            let mut table = ClientTable::new(3, LIMITS);
            before.into_iter().for_each(|s| step(&mut table, s));
            let mut bytes = written(&table);
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 1 << bit;
            }
            let mut rest = &bytes[..];
            if let Ok(mut read) = ClientTable::read(&mut rest, 3, LIMITS) {
                prop_assert!(read.digest() != table.digest() || !rest.is_empty());
            }
        }
    }
}
