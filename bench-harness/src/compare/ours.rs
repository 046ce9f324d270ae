use clap::Parser as _;

use crate::bench::{Places, check_open_files};
use crate::choice::{Choice, check_usage};
use crate::cli::{Cli, Command, CompareArgs, RunArgs};
use crate::keys::Keys;
use crate::measure::{Measured, Meter, Task};
use crate::peers::Auth;
use crate::progress::Progress;
use crate::setting::Setting;

/// Our side of a comparison: one setting, measured as `run` does.
pub(super) struct Ours {
    meter: Meter,
    keys: Keys,
    setting: Setting,
}

/// The flags of `run` that measure ours beside these peers.
pub(super) fn run_flags(flags: &CompareArgs) -> RunArgs {
    let auth = match flags.setting {
        Auth::R => "--auth rsa-2048 --client-auth signature",
        Auth::T => "--auth rsa-2048 --client-auth mac",
        Auth::D => "--auth ed25519 --client-auth mac",
    };
    let words = ["hypostyle-bench", "run"].into_iter().chain(auth.split_whitespace());
    let Command::Run(run) = Cli::parse_from(words).command else { unreachable!("the words begin with run") };
    RunArgs {
        pillars: vec![flags.pillars],
        clients: flags.clients,
        outstanding: vec![flags.outstanding],
        payload: vec![flags.payload],
        batch_max: vec![flags.batch_max],
        warmup: flags.warmup,
        duration: flags.duration,
        repeat: flags.repeat,
        output: flags.output.clone(),
        ..*run
    }
}

/// Who signs what with these settings, in one sentence.
pub(super) fn signed(auth: Auth) -> &'static str {
    match auth {
        Auth::R => {
            "clients sign each request with RSA-2048 and every replica verifies it; bundles of protocol \
                    statements and groups of replies (Merkle) have one RSA-2048 signature each, all verified; links \
                    between replicas carry a MAC"
        }
        Auth::T => {
            "replicas sign bundles of protocol statements with RSA-2048; each request carries a BLAKE3 tag for \
                    every replica, each group of replies one"
        }
        Auth::D => {
            "replicas sign bundles of protocol statements with Ed25519; each request carries a BLAKE3 tag for \
                    every replica, each group of replies one"
        }
    }
}

impl Ours {
    /// Makes what is made once: keys and the configuration.
    ///
    /// # Errors
    /// A usage error, or what the system refuses.
    pub(super) fn prepare(
        flags: &CompareArgs,
        places: &Places,
        open_files: u64,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let flags = run_flags(flags);
        check_usage(&flags)?;
        let choice = Choice::all(&flags)[0];
        let keys = places.keys(choice.auth, choice.n.into(), flags.clients as usize, progress)?;
        let setting = Setting::new(&flags, &choice, &keys.replicas(), &keys.clients())?;
        check_open_files(std::slice::from_ref(&setting), open_files)?;
        let meter = Meter::new(&places.program, &places.cache.join("bench-run"))?;
        Ok(Self { meter, keys, setting })
    }

    pub(super) fn setting(&self) -> &Setting {
        &self.setting
    }

    pub(super) fn measure(&mut self, repeat: u32) -> anyhow::Result<Measured> {
        self.meter.measure(Task { setting: &self.setting, keys: &self.keys, presigned: None, repeat })
    }
}
