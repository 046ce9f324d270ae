//! A panic inside a run is an outcome like any other: it is told with the seed, not when it happens.

use std::backtrace::Backtrace;
use std::panic;

/// Leaves panics to the runs that catch them; `RUST_BACKTRACE=1` shows where they came from all the same.
pub(crate) fn keep_quiet() {
    panic::set_hook(Box::new(|info| {
        let shown = std::env::var_os("RUST_BACKTRACE").is_some();
        if shown {
            eprintln!("{info}\n{}", Backtrace::capture());
        }
    }));
}
