use clap::Args;
use hypostyle::crypto::Suite;

use super::{ClientAuth, OutputArgs};

const SCALING_EXAMPLE: &str = "Examples:
  hypostyle-bench pillar-scaling
  hypostyle-bench pillar-scaling --auth rsa-2048 --client-auth signature --operations 40000";

/// Flags of `pillar-scaling`.
#[derive(Clone, Debug, Args)]
#[command(after_help = SCALING_EXAMPLE)]
pub struct ScalingArgs {
    /// Signatures of replicas, and of clients unless they use tags.
    #[arg(long, default_value_t = Suite::Ed25519, value_name = "SUITE")]
    pub auth: Suite,
    /// How clients authenticate requests, and replicas replies.
    #[arg(long, value_enum, default_value_t = ClientAuth::Mac)]
    pub client_auth: ClientAuth,
    /// Operations of a recording at least. There are two, kept in memory, of at most 1 GiB each.
    #[arg(long, default_value_t = 800_000)]
    pub operations: u64,
    /// Operations a batch.
    #[arg(long, default_value_t = 100)]
    pub batch_max: u32,
    /// Statements under one signature; so many slots of a pillar are under way together.
    #[arg(long, default_value_t = 16)]
    pub bundle: u16,
    /// Clients; each asks one pillar.
    #[arg(long, default_value_t = 24)]
    pub clients: u16,
    /// Bytes of an operation.
    #[arg(long, default_value_t = 100, value_name = "BYTES")]
    pub payload: usize,
    /// Measurements of each way; one more is made first and not counted.
    #[arg(long, default_value_t = 5)]
    pub repeat: u32,
    /// What to print and where to leave files.
    #[command(flatten)]
    pub output: OutputArgs,
}
