use std::path::Path;

use bytes::Bytes;
use hypostyle::client::{ClientSettings, encode_request};
use hypostyle::config::ClusterConfig;
use hypostyle::crypto::{Identity, Signer, read_key};
use hypostyle::{ClientId, Number};

use crate::keys::Keys;
use crate::presign::{Description, Presigned};
use crate::progress::{Progress, watch};
use crate::setting::Setting;
use crate::workload::Workload;

/// The number of every client's first operation: a measurement's cluster is always a fresh one.
pub(crate) const FIRST: Number = Number(1);

/// The client with this index.
pub(crate) fn client_id(index: usize) -> ClientId {
    ClientId(u32::try_from(index).expect("clients fit 32 bits"))
}

/// The setting's presigned requests, if it asks for any: from an earlier run in `directory`, or signed now and kept
/// there.
pub(crate) fn presigned(
    setting: &Setting,
    keys: &Keys,
    directory: &Path,
    progress: &Progress,
) -> anyhow::Result<Option<Presigned>> {
    let Some(requests_per_client) = setting.load.presigned_each else { return Ok(None) };
    let description = describe(setting, keys, requests_per_client);
    // A file that is missing, damaged or of another version is signed anew.
    if let Ok(presigned) = Presigned::load(&description, directory) {
        return Ok(Some(presigned));
    }
    let signer = Ahead::new(setting, keys)?;
    let what = format!("signing requests for P = {}", setting.cluster.pillars);
    let bar = progress.counted(&what, description.requests());
    let presigned = watch(&bar, |count| {
        Presigned::sign(&description, count, &|client, number| signer.sign(client, number))
    });
    presigned.store(&description, directory)?;
    Ok(Some(presigned))
}

fn describe(setting: &Setting, keys: &Keys, requests_per_client: u64) -> Description {
    Description {
        configuration: setting.cluster.hash().to_string(),
        clients: keys.clients().iter().map(|key| key.fingerprint().to_string()).collect(),
        requests_per_client,
        workload: setting.load.mix.name().to_owned(),
        records: setting.load.records(),
        payload: setting.load.payload,
        client_window: setting.cluster.client_window.into(),
    }
}

/// Signs requests ahead of their time.
struct Ahead {
    identities: Vec<Identity>,
    settings: ClientSettings,
    workload: Workload,
}

impl Ahead {
    fn new(setting: &Setting, keys: &Keys) -> anyhow::Result<Self> {
        let clients = 0..setting.load.clients as usize;
        let identities =
            clients.map(|index| identity(&setting.cluster, keys, index)).collect::<anyhow::Result<_>>()?;
        Ok(Self {
            identities,
            settings: ClientSettings::of(&setting.cluster),
            workload: setting.load.workload(setting.load.clients),
        })
    }

    fn sign(&self, client: usize, number: u64) -> Bytes {
        let floor = self.settings.floor_ahead(FIRST, Number(number));
        let operation = self.workload.operation(client, number);
        encode_request(&self.identities[client], client_id(client), Number(number), floor, &[&operation])
    }
}

fn identity(cluster: &ClusterConfig, keys: &Keys, index: usize) -> anyhow::Result<Identity> {
    let key = read_key(&keys.client_path(index))?;
    Ok(Identity::new(Signer::Client(client_id(index)), key, cluster.domain()))
}
