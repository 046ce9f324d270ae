//! `replica HOME`: a replica as its own process, for the tests of faults. It ends with the thread that started it.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use hypostyle::Replica;
use hypostyle::service::KeyValue;
use rustix::process::{Signal, set_parent_process_death_signal};

fn main() {
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let home = PathBuf::from(std::env::args_os().nth(1).expect("replica HOME"));
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false);
    log.with_max_level(tracing::Level::INFO).init();
    let running = Replica::open(&home).and_then(|replica| replica.start(KeyValue::default()));
    let ended = running.map_err(|error| error.to_string()).and_then(|r| r.wait().map_err(|e| e.to_string()));
    if let Err(error) = ended {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
