use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::work::Install;

/// Where a run of a peer takes place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    /// The user's install.
    pub(crate) install: &'a Install,
    /// The directory that this run writes to, and nothing else does.
    pub(crate) scratch: &'a Path,
    /// Free addresses, as many as the system said it needs.
    pub(crate) addresses: &'a [SocketAddr],
}

/// Everything that is written and started for one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Files to write: where, below the scratch directory, and what.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    /// Links to make: where, below the scratch directory, and to what.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// Programs that run to their end before the replicas start.
    pub(crate) prepare: Vec<Program>,
    /// The replicas, 0 first.
    pub(crate) replicas: Vec<Program>,
    /// The load generator.
    pub(crate) client: Program,
    /// Who is sent the datagram that begins the run.
    pub(crate) go: Vec<SocketAddr>,
}

/// A program to be started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    /// What errors call it.
    pub(crate) name: String,
    /// Its file.
    pub(crate) executable: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Its working directory, below the scratch directory.
    pub(crate) directory: PathBuf,
    /// Variables that it needs.
    pub(crate) environment: Vec<(String, String)>,
}

/// What an install must hold: one of these paths.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    /// The paths, below the install's directory. One that ends with `*` stands for any file that begins so.
    pub(crate) any_of: &'static [&'static str],
    /// What it is.
    pub(crate) what: &'static str,
}

impl Program {
    /// A Java program.
    pub(crate) fn java(
        name: String,
        java: &Path,
        directory: PathBuf,
        options: &[String],
        arguments: Vec<String>,
    ) -> Self {
        let arguments = options.iter().cloned().chain(arguments).collect();
        Self { name, executable: java.to_owned(), arguments, directory, environment: Vec::new() }
    }
}
