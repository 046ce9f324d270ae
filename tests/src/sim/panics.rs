//! A panic inside a run is an outcome like any other: it is told with the seed, not when it happens.

use std::cell::RefCell;
use std::panic;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics of this process are kept for those who catch them.
pub fn keep_panics() {
    panic::set_hook(Box::new(|info| {
        if std::env::var_os("SIM_BACKTRACE").is_some() {
            eprintln!("{info}\n{}", std::backtrace::Backtrace::force_capture());
        }
        LAST.set(Some(info.to_string().replace('\n', " ")));
    }));
}

/// What the last panic of this thread said, if it was kept.
pub(super) fn last() -> Option<String> {
    LAST.take()
}
