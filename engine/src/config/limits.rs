//! What the configuration bounds: the largest frames. The memory of a replica is bounded in `memory`.

use hypostyle_crypto::SEAL_ENTRIES_MAX;
use hypostyle_pillars::message::BUNDLE_MAX;

use super::cluster::ClusterConfig;
use crate::transfer;

/// A statement on the wire: kind, pillar, view, seq, digest.
pub(super) const STATEMENT: usize = 1 + 2 + 8 + 8 + 32;
/// A seal's largest entry: type, pillar, digest.
pub(super) const SEAL_ENTRY: usize = 1 + 2 + 32;
/// A prepared slot in a VIEW-CHANGE: seq, view, digest.
pub(super) const PREPARED: usize = 8 + 8 + 32;
/// A length before a part of a message.
pub(super) const LENGTH: usize = 4;
/// A Recover without its signature: replica, incarnation, nonce, length.
pub(super) const RECOVER: usize = 2 + 8 + 16 + 2;
/// What surrounds one message: kind, ids, counts and lengths.
pub(super) const MESSAGE_HEADER: usize = 128;
/// What surrounds a request inside a body or a frame: lengths, ids, floor, flags.
const REQUEST_HEADER: usize = 64;
/// A reply's record: number, request digest, kind, length, result or its digest.
const RECORD: usize = 8 + 16 + 1 + 4 + 32;
/// What surrounds a result sent whole: record index and length.
const ATTACHMENT_HEADER: usize = 2 + 4;
/// A Merkle path: as many digests as a tree of 2^32 leaves has levels.
const PATH: usize = 32 * 32;

impl ClusterConfig {
    /// The largest seal: its entries and one signature.
    #[must_use]
    pub fn seal_max(&self) -> usize {
        MESSAGE_HEADER + SEAL_ENTRIES_MAX * SEAL_ENTRY + self.auth.signature_len()
    }

    /// The largest bundle with its seal: 5.9 KB at `bundle` 64 and rsa-2048.
    #[must_use]
    pub fn sealed_bundle_max(&self) -> usize {
        usize::from(self.bundle) * STATEMENT + self.seal_max()
    }

    /// The largest body: a full batch, what frames each of its requests (at most `batch_max`, one operation each), and a
    /// Recover of every replica.
    #[must_use]
    pub fn body_max(&self) -> usize {
        let recovers = self.n() * (RECOVER + self.auth.signature_len());
        MESSAGE_HEADER + self.batch_bytes + self.batch_max as usize * REQUEST_HEADER + recovers
    }

    /// The worst VIEW-CHANGE: for every slot of the window a prepared certificate of 2f+1 bundles, and the stable
    /// checkpoint's 2f+1, no bundle shared by two: (2f+1)·(L+1) sealed bundles, as large as a faulty replica can make
    /// them, and the own seal.
    #[must_use]
    pub fn view_change_max(&self) -> usize {
        let window = self.window as usize;
        let bundle = LENGTH + BUNDLE_MAX * STATEMENT + self.seal_max();
        MESSAGE_HEADER + window * PREPARED + self.quorum() * (window + 1) * bundle + self.seal_max()
    }

    /// A NEW-VIEW: 2f+1 VIEW-CHANGEs named by digest.
    #[must_use]
    pub fn new_view_max(&self) -> usize {
        MESSAGE_HEADER + self.quorum() * (2 + 32) + self.seal_max()
    }

    /// The largest frame between replicas: no setting, but the largest message that a correct replica can send.
    #[must_use]
    pub fn frame_max_replica(&self) -> usize {
        // A forwarded request and a commit certificate are smaller than a body and a VIEW-CHANGE.
        self.body_max().max(self.view_change_max()).max(self.new_view_max()).max(1 + transfer::MESSAGE_MAX)
    }

    /// The bytes of whole results after which a reply message to one client is closed.
    #[must_use]
    pub fn reply_attachments_max(&self) -> usize {
        self.client_result_bytes
    }

    /// The largest frame between replica and client: a request, or a reply with a record for every number of the
    /// client's window and whole results up to [`reply_attachments_max`](Self::reply_attachments_max), the last of
    /// which may begin just below that.
    #[must_use]
    pub fn frame_max_client(&self) -> usize {
        let request = MESSAGE_HEADER + self.request_max + REQUEST_HEADER;
        let records = self.client_window as usize * (RECORD + ATTACHMENT_HEADER);
        let attachments = self.reply_attachments_max() + self.reply_max;
        let reply = MESSAGE_HEADER + records + attachments + PATH + self.seal_max();
        request.max(reply)
    }
}
