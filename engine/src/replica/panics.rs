use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::executor::is_calling_application;

/// Panics of the application between two that are logged.
const EACH: u64 = 1000;

static INSTALLED: Once = Once::new();
static PANICS: AtomicU64 = AtomicU64::new(0);

/// From now on a panic of the application is logged the first time and then every thousandth: clients choose how many
/// there are, and each is answered and counted. All others go to the hook that was there.
pub(super) fn quiet_the_application() {
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !is_calling_application() {
                return before(panic);
            }
            let count = PANICS.fetch_add(1, Ordering::Relaxed);
            if count.is_multiple_of(EACH) {
                tracing::error!(%panic, before = count, "the application panicked on an operation");
            }
        }));
    });
}
