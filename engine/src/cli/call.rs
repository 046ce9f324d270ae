use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hypostyle::client::Client;

/// Execute one operation and print its result.
#[derive(Args)]
#[command(after_help = "Examples:
  hypostyle call --cluster demo/cluster.toml 'set greeting hello'
  hypostyle call --cluster demo/cluster.toml --client 1 'get greeting'
  hypostyle call --cluster cluster.toml --key mine.pem - < operation.bin

`hypostyle replica` runs a key-value map: set KEY VALUE | get KEY | del KEY.
A client is used by one process at a time.")]
pub(super) struct Call {
    /// The operation; `-` reads it from standard input.
    operation: String,
    /// The cluster's configuration.
    #[arg(long, default_value = "cluster.toml", value_name = "FILE")]
    cluster: PathBuf,
    /// Take the key of this client that `init` wrote beside the configuration.
    #[arg(long, default_value_t = 0, value_name = "ID")]
    client: u32,
    /// The client's private key.
    #[arg(long, value_name = "FILE", conflicts_with = "client")]
    key: Option<PathBuf>,
    /// How long to wait for the result.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print one JSON object: the result as text and in hexadecimal.
    #[arg(long)]
    json: bool,
}

impl Call {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let beside = self.cluster.parent().unwrap_or(Path::new(""));
        let key = self.key.clone().unwrap_or_else(|| hypostyle::config::client_key(beside, self.client));
        let client = Client::open(&self.cluster, key)?.with_deadline(self.timeout);
        let result = client.call_blocking(self.operation()?)?;
        let mut out = std::io::stdout().lock();
        if self.json {
            let hex: String = result.iter().map(|byte| format!("{byte:02x}")).collect();
            let text = String::from_utf8_lossy(&result);
            writeln!(out, "{}", serde_json::json!({ "client": client.id().0, "text": text, "hex": hex }))?;
        } else {
            out.write_all(&result)?;
            if out.is_terminal() {
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    fn operation(&self) -> std::io::Result<Vec<u8>> {
        if self.operation != "-" {
            return Ok(self.operation.clone().into_bytes());
        }
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
