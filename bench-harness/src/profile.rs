use clap::ArgMatches;
use clap::parser::ValueSource;
use hypostyle::config::{self, Count, Profile};

use crate::cli::{Auto, ClientAuth, Executor, Replies, RunArgs};
use crate::error::Failure;

/// Whether a person wrote this flag.
#[must_use]
pub fn is_given(matches: &ArgMatches, flag: &str) -> bool {
    matches.value_source(flag) == Some(ValueSource::CommandLine)
}

/// Takes the workload and the settings of `flags.profile` over into those flags that aren't given in `matches`.
///
/// # Errors
/// A usage error when the profile can't be read, with its line.
pub fn take_over(flags: &mut RunArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    let Some(file) = &flags.profile else { return Ok(()) };
    let profile = Profile::load(file).map_err(|error| Failure::Usage(error.to_string()))?;
    apply(&profile, flags, &|flag| is_given(matches, flag));
    Ok(())
}

fn apply(profile: &Profile, flags: &mut RunArgs, given: &dyn Fn(&str) -> bool) {
    let Profile { workload, cluster, threads, .. } = profile;
    let threads = *threads;
    /// Sets a flag that isn't given, where the profile has a value.
    fn set<T>(flag: &mut T, value: Option<T>, given: bool) {
        if let Some(value) = value.filter(|_| !given) {
            *flag = value;
        }
    }
    set(&mut flags.n, workload.n.map(one), given("n"));
    set(&mut flags.auth, workload.auth.map(one), given("auth"));
    set(&mut flags.client_auth, workload.client_auth.map(client_auth), given("client_auth"));
    set(&mut flags.replies, workload.replies.map(replies), given("replies"));
    set(&mut flags.clients, workload.clients, given("clients"));
    set(&mut flags.outstanding, workload.outstanding.map(one), given("outstanding"));
    set(&mut flags.payload, workload.payload.map(|bytes| vec![bytes as usize]), given("payload"));
    set(&mut flags.reply_bytes, workload.reply_bytes.map(|bytes| bytes as usize), given("reply_bytes"));
    let presign = workload.presign.map(|count| (count > 0).then_some(u64::from(count)));
    set(&mut flags.presign, presign, given("presign"));
    set(&mut flags.pillars, cluster.pillars.map(one), given("pillars"));
    set(&mut flags.bundle, cluster.bundle.map(one), given("bundle"));
    set(&mut flags.batch_max, cluster.batch_max.map(one), given("batch_max"));
    set(&mut flags.pipeline, cluster.pipeline, given("pipeline"));
    set(&mut flags.workers, Some(count(threads.workers)), given("workers"));
    set(&mut flags.executor, Some(executor(threads.executor)), given("executor"));
    set(&mut flags.crypto_threads, Some(count(threads.crypto_threads)), given("crypto_threads"));
}

fn one<T>(value: T) -> Vec<T> {
    vec![value]
}

/// As a flag says it.
#[must_use]
pub fn count(value: Count) -> Auto {
    match value {
        Count::Auto => Auto::Auto,
        Count::Fixed(threads) => Auto::Fixed(threads),
    }
}

/// As a flag says it.
#[must_use]
pub fn executor(value: config::Executor) -> Executor {
    match value {
        config::Executor::Auto => Executor::Auto,
        config::Executor::Inline => Executor::Inline,
        config::Executor::Thread => Executor::Thread,
    }
}

fn client_auth(value: config::ClientAuth) -> ClientAuth {
    match value {
        config::ClientAuth::Signature => ClientAuth::Signature,
        config::ClientAuth::Mac => ClientAuth::Mac,
    }
}

fn replies(value: config::Replies) -> Replies {
    match value {
        config::Replies::Merkle => Replies::Merkle,
        config::Replies::Each => Replies::Each,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::{CommandFactory as _, FromArgMatches as _};
    use hypostyle::crypto::Suite;

    /// The flags of `hypostyle-bench run ...` with their profile.
    fn run(arguments: &str) -> anyhow::Result<RunArgs> {
        let words = ["hypostyle-bench", "run"].into_iter().chain(arguments.split_whitespace());
        let matches = Cli::command().try_get_matches_from(words)?;
        match Cli::from_arg_matches(&matches)?.command {
            Command::Run(mut flags) => {
                take_over(&mut flags, matches.subcommand_matches("run").expect("run"))?;
                Ok(*flags)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_profile_stands_where_no_flag_says_otherwise() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("t.toml");
        let profile = "[workload]\nauth = \"ed25519\"\nclient_auth = \"mac\"\nclients = 24\npresign = 0\n\
                       [cluster]\npillars = 2\nbatch_max = 100\n[replica]\nexecutor = \"thread\"\n";
        std::fs::write(&file, profile).expect("written");
        let flags = run(&format!("--clients 8 --pillars 1,4 --profile {}", file.display())).expect("read");
        assert_eq!((flags.auth, flags.client_auth), (vec![Suite::Ed25519], ClientAuth::Mac));
        assert_eq!((flags.clients, flags.pillars, flags.batch_max), (8, vec![1, 4], vec![100]));
        assert_eq!((flags.executor, flags.bundle, flags.presign), (Executor::Thread, vec![64], None));
    }

    #[test]
    fn a_wrong_profile_is_wrong_usage() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("t.toml");
        std::fs::write(&file, "[cluster]\npilars = 2\n").expect("written");
        for (file, words) in [(file, "t.toml:2:1"), (directory.path().join("none"), "cannot be read")] {
            let error = run(&format!("--profile {}", file.display())).expect_err("refused");
            assert_eq!(crate::error::exit_code(&error), 2);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
