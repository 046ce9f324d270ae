use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use hypostyle::config::ClusterConfig;
use hypostyle_crypto::{PublicKey, SigningKey, Suite, VerifyingKey, read_key, write_key};

/// Make, show and check private keys (PKCS#8 PEM, mode 0600); the public key is one line.
#[derive(Subcommand)]
pub(super) enum Key {
    New(New),
    Show(Show),
    Check(Check),
}

/// Make a private key and print the public one, to stand in cluster.toml.
#[derive(Args)]
#[command(after_help = "Example:
  hypostyle key new client-9.pem --auth rsa-2048")]
pub(super) struct New {
    /// The file to write; it must not exist.
    file: PathBuf,
    /// The suite: rsa-2048, rsa-3072, rsa-4096, ed25519, ecdsa-p256.
    #[arg(long, default_value_t = Suite::default())]
    auth: Suite,
}

/// Print the public key of a private one.
#[derive(Args)]
#[command(after_help = "Example:
  hypostyle key show demo/clients/client-0.pem --json")]
pub(super) struct Show {
    /// The private key.
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Check that a private key can be used: mode, form, suite, a signature; and whose it is.
#[derive(Args)]
#[command(after_help = "Example:
  hypostyle key check demo/replica-2/key.pem --cluster demo/cluster.toml")]
pub(super) struct Check {
    /// The private key.
    file: PathBuf,
    /// The cluster to which it should belong.
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,
}

impl Key {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::New(arguments) => arguments.run(),
            Self::Show(arguments) => arguments.run(),
            Self::Check(arguments) => arguments.run(),
        }
    }
}

impl New {
    fn run(&self) -> anyhow::Result<()> {
        let key = SigningKey::generate(self.auth);
        write_key(&self.file, &key)?;
        println!("{}", key.public());
        Ok(())
    }
}

impl Show {
    fn run(&self) -> anyhow::Result<()> {
        let public = read_key(&self.file)?.public();
        if self.json {
            let fingerprint = public.fingerprint().to_string();
            let shown = serde_json::json!({
                "suite": public.suite().to_string(), "public": public.to_string(), "fingerprint": fingerprint,
            });
            println!("{shown}");
        } else {
            println!("{public}");
        }
        Ok(())
    }
}

impl Check {
    fn run(&self) -> anyhow::Result<()> {
        let (file, key) = (self.file.display(), read_key(&self.file)?);
        let public = key.public();
        let message = b"hypostyle key check";
        if !VerifyingKey::new(&public)?.verify(message, &key.sign(message)) {
            bail!(
                "{file}: its own signature does not verify\n  remedy: make another with `hypostyle key new`"
            );
        }
        let owner = self.cluster.as_ref().map(|cluster| owner(cluster, &public)).transpose()?;
        let owner = owner.map(|owner| format!(", {owner}")).unwrap_or_default();
        println!("{file}: usable, {}{owner}", public.suite());
        Ok(())
    }
}

fn owner(cluster: &Path, key: &PublicKey) -> anyhow::Result<String> {
    let config = ClusterConfig::load(cluster)?;
    let replica = config.replicas.iter().find(|replica| replica.key == *key);
    let replica = replica.map(|replica| format!("replica {} of cluster {}", replica.id, config.id));
    let client = || config.client_with(key).map(|client| format!("client {client} of cluster {}", config.id));
    replica.or_else(client).ok_or_else(|| {
        let name = cluster.display();
        anyhow!("the key belongs to nobody in {name}\n  remedy: take a key that `hypostyle init` wrote with that file, or add {key} there")
    })
}
