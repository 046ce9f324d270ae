//! Workloads whose instructions `cargo verify instructions` counts.
//!
//! `instructions --list` names them; `instructions NAME` runs one and prints how many operations it did inside
//! [`measured`]. Only there does callgrind count, so making and verifying signatures costs nothing here.
#![allow(clippy::print_stdout)]

mod codec;
mod execution;
mod fixture;
mod slots;

use std::hint::black_box;
use std::process::ExitCode;

/// A name and what runs under it; it returns the number of operations.
type Workload = (&'static str, fn() -> u64);

const WORKLOADS: &[Workload] = &[
    ("decode-request", codec::requests),
    ("decode-body-of-100", codec::bodies),
    ("decode-bundle-of-16", codec::bundles),
    ("decode-reply", execution::decode_replies),
    ("execute-and-answer", execution::execute_and_answer),
    ("slot-of-100-on-4-cores", || slots::run(100)),
    ("slot-of-1-on-4-cores", || slots::run(1)),
];

fn main() -> ExitCode {
    let asked = std::env::args().nth(1).unwrap_or_default();
    if asked == "--list" {
        WORKLOADS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let Some((_, workload)) = WORKLOADS.iter().find(|(name, _)| *name == asked) else {
        eprintln!("no workload `{asked}`: instructions --list names them");
        return ExitCode::from(2);
    };
    println!("operations {}", workload());
    ExitCode::SUCCESS
}

/// callgrind starts to count where this is entered and stops where it is left.
#[inline(never)]
fn measured<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}
