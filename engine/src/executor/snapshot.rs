//! The replicated state as a whole: taken, written, and taken over.

use std::io::{self, Read, Write};

use bytes::Bytes;
use hypostyle_app_api::{
    Application, ApplicationError, ClientId, Digest, Number, Position, Round, Snapshot, Timestamp,
};

use super::executor::{Halt, state_digest};
use super::{ClientTable, Executor, ExecutorOutbox, Incarnations, TableError, TableImage};
use hypostyle_pillars::message::Reader;

use crate::transfer::{Image, ImageReader, ImageWriter};

/// The state at one moment, to be written on whatever thread.
#[derive(Debug)]
pub struct Captured<S> {
    position: Position,
    timestamp: Timestamp,
    incarnations: Incarnations,
    table: TableImage,
    application: S,
}

/// Why a snapshot was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// What comes before the application's part can't be read.
    #[error("the snapshot can't be read: {0}")]
    Io(#[from] io::Error),
    /// It is none, or of another position.
    #[error("the snapshot is malformed: {0}")]
    Malformed(&'static str),
    /// The client table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The application.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// All was read, but the state isn't the one that was told.
    #[error("the restored state has another digest: {actual} instead of {told}")]
    Digest {
        /// What replicas told.
        told: Digest,
        /// What came out.
        actual: Digest,
    },
}

const MAGIC: &[u8; 16] = b"hypostyle snap1\n";

impl<S: Snapshot> Captured<S> {
    /// The snapshot's bytes: a function of the state alone. The application's part begins with a chunk of its own.
    ///
    /// # Errors
    /// Those of the application's part.
    pub fn write(mut self) -> io::Result<Image> {
        let mut incarnations = Vec::new();
        self.incarnations.encode(&mut incarnations);
        let mut writer = ImageWriter::default();
        writer.write_all(MAGIC)?;
        writer.write_all(&self.position.0.to_le_bytes())?;
        writer.write_all(&self.timestamp.0.to_le_bytes())?;
        writer.write_all(&incarnations)?;
        self.table.write_to(&mut writer)?;
        writer.align();
        self.application.write_to(&mut writer)?;
        Ok(writer.finish())
    }
}

impl<A: Application> Executor<A> {
    /// A handle on the present state.
    pub fn capture(&mut self) -> Captured<A::Snapshot> {
        Captured {
            position: self.position(),
            timestamp: self.timestamp,
            incarnations: self.incarnations.clone(),
            table: self.table.image(),
            application: self.service.application.snapshot(),
        }
    }

    /// Takes over the state at `position` whose digest is `digest`: merge, client table, agreed time and application at
    /// once. What comes of it lies in `out`: a checkpoint, if the position has one.
    ///
    /// # Errors
    /// When the state isn't that one. If the application had begun to restore, nothing is executed or answered until
    /// another state is installed; the rest is as before.
    pub fn install(
        &mut self,
        (position, digest): (Position, Digest),
        chunks: &[Bytes],
        out: &mut ExecutorOutbox,
    ) -> Result<(), InstallError> {
        let mut reader = ImageReader::new(chunks);
        if array(&mut reader)? != *MAGIC || u64::from_le_bytes(array(&mut reader)?) != position.0 {
            return Err(InstallError::Malformed("not a snapshot of this position"));
        }
        let timestamp = Timestamp(u64::from_le_bytes(array(&mut reader)?));
        let mut encoded = vec![0; Incarnations::encoded_len(self.settings.replicas)];
        reader.read_exact(&mut encoded)?;
        let incarnations = Incarnations::decode(&mut Reader::new(&encoded), self.settings.replicas)
            .ok_or(InstallError::Malformed("incarnations"))?;
        let mut table = ClientTable::read(&mut reader, self.settings.clients, self.settings.table_limits())?;
        reader.align().map_err(|_| InstallError::Malformed("something between the parts"))?;
        self.halt.get_or_insert(Halt::Torn);
        self.service.application.restore(&mut reader)?;
        let application = self.service.application.digest();
        let actual = state_digest(position, timestamp, table.digest(), &incarnations, application);
        if actual != digest {
            return Err(InstallError::Digest { told: digest, actual });
        }
        self.merge.install(position);
        (self.table, self.timestamp, self.halt) = (table, timestamp, None);
        self.last_checkpoint = None;
        self.set_incarnations(incarnations, out);
        let round = Round(position.0 / u64::from(self.settings.pillars));
        self.voids.forget(round.0);
        self.checkpoints.installed(round, &mut out.outputs);
        if position.0 > 0 {
            self.end_round(out);
        }
        Ok(())
    }

    /// The floors of all clients that have one.
    pub fn floors(&self) -> impl Iterator<Item = (ClientId, Number)> {
        let floors =
            (0..self.settings.clients).map(|client| (ClientId(client), self.table.floor(ClientId(client))));
        floors.filter(|(_, floor)| floor.0 > 0)
    }
}

fn array<const N: usize>(from: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
