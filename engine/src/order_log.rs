//! The executed order, for people and checkers: the recent part in memory, the whole as a file when configured.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded};
use hypostyle_app_api::Position;
use serde::{Deserialize, Serialize};

/// Entries the file's writer may lie behind before the executor waits for it.
const QUEUE: usize = 1024;

/// One executed slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEntry {
    /// Its place in the global order.
    pub position: u64,
    /// The pillar that decided it.
    pub pillar: u16,
    /// The view in which it was decided here; replicas may differ in this alone.
    pub view: u64,
    /// Its sequence number.
    pub seq: u64,
    /// The body's digest.
    #[serde(with = "hex")]
    pub digest: hypostyle_app_api::Digest,
    /// The body's requests in order; none in the empty body.
    pub requests: Vec<OrderedRequest>,
}

/// A request of an executed slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedRequest {
    /// Whose.
    pub client: u32,
    /// The number of its first operation.
    pub number: u64,
    /// Its operations.
    pub count: u16,
    /// Its digest.
    #[serde(with = "hex")]
    pub digest: hypostyle_app_api::Digest,
}

/// The executed order as the executor keeps it.
#[derive(Debug)]
pub struct OrderLog {
    recent: VecDeque<Arc<OrderEntry>>,
    requests: usize,
    requests_max: usize,
    entries_max: usize,
    file: Option<OrderFile>,
}

/// A file that gets every entry as a line of JSON, written by a thread of its own.
#[derive(Debug)]
pub struct OrderFile {
    queue: Option<Sender<Arc<OrderEntry>>>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl OrderLog {
    /// Remembers the latest entries, up to `entries_max` of them and `requests_max` requests (and always the latest
    /// entry), and passes all on to the file.
    #[must_use]
    pub fn new(entries_max: usize, requests_max: usize, file: Option<OrderFile>) -> Self {
        Self { recent: VecDeque::new(), requests: 0, requests_max, entries_max, file }
    }

    /// Adds the slot executed next.
    pub fn push(&mut self, entry: OrderEntry) {
        let entry = Arc::new(entry);
        if let Some(file) = &mut self.file {
            file.push(Arc::clone(&entry));
        }
        self.requests += entry.requests.len();
        self.recent.push_back(entry);
        while self.recent.len() > 1 && self.over() {
            let oldest = self.recent.pop_front();
            self.requests -= oldest.map_or(0, |oldest| oldest.requests.len());
        }
    }

    /// The entries remembered, oldest first.
    #[must_use]
    pub fn recent(&self) -> Vec<OrderEntry> {
        self.recent.iter().map(|entry| OrderEntry::clone(entry)).collect()
    }

    /// The entries remembered from this position on, oldest first.
    pub fn from(&self, position: Position) -> impl Iterator<Item = &OrderEntry> {
        let first = self.recent.partition_point(|entry| entry.position < position.0);
        self.recent.range(first..).map(|entry| &**entry)
    }

    fn over(&self) -> bool {
        self.recent.len() > self.entries_max || self.requests > self.requests_max
    }
}

impl OrderFile {
    /// Appends to the file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened, or no thread started.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let (queue, entries) = bounded(QUEUE);
        let path = path.to_owned();
        let writer = std::thread::Builder::new().name("order-log".to_owned()).spawn(move || {
            write(file, &entries).inspect_err(|error| {
                tracing::error!(path = %path.display(), %error, "the order log is not written any more");
            })
        })?;
        Ok(Self { queue: Some(queue), writer: Some(writer) })
    }

    /// Waits only when the writer lies far behind; after it has failed, nothing is written.
    fn push(&mut self, entry: Arc<OrderEntry>) {
        if let Some(queue) = &self.queue
            && queue.send(entry).is_err()
        {
            self.queue = None;
        }
    }
}

impl Drop for OrderFile {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // What went wrong was logged where it happened.
            let _ = writer.join();
        }
    }
}

fn write(file: File, entries: &Receiver<Arc<OrderEntry>>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, file);
    while let Ok(first) = entries.recv() {
        for entry in std::iter::once(first).chain(entries.try_iter().take(QUEUE)) {
            serde_json::to_writer(&mut out, &*entry)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
    Ok(())
}

mod hex {
    use hypostyle_app_api::Digest;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Digest::from_hex(&text).ok_or_else(|| D::Error::custom("no digest of 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hypostyle_app_api::Digest;

    use super::*;

    fn entry(position: u64, requests: u64) -> OrderEntry {
        let request = |number| OrderedRequest { client: 3, number, count: 1, digest: Digest([7; 32]) };
        let requests = (0..requests).map(request).collect();
        OrderEntry { position, pillar: 1, view: 0, seq: position + 1, digest: Digest([9; 32]), requests }
    }

    fn positions(log: &OrderLog) -> Vec<u64> {
        log.recent().iter().map(|entry| entry.position).collect()
    }

    #[test]
    fn remembers_the_latest_within_both_bounds() {
        let mut log = OrderLog::new(3, 10, None);
        (0..5).for_each(|position| log.push(entry(position, 1)));
        assert_eq!(positions(&log), [2, 3, 4]);
        log.push(entry(5, 9));
        assert_eq!(positions(&log), [4, 5]);
        log.push(entry(6, 99));
        assert_eq!(positions(&log), [6]);
    }

    #[test]
    fn the_file_holds_every_entry() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("order.jsonl");
        let entries: Vec<_> = (0..2 * QUEUE as u64).map(|position| entry(position, 2)).collect();
        let mut log = OrderLog::new(1, 1, Some(OrderFile::open(&path).unwrap()));
        entries.iter().for_each(|entry| log.push(entry.clone()));
        drop(log);
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<OrderEntry> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, entries);
    }
}
