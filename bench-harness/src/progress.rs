use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress of long work on standard error, on a terminal only.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
}

impl Progress {
    /// Shown when standard error is a terminal.
    #[must_use]
    pub fn on_terminal() -> Self {
        Self { shown: std::io::stderr().is_terminal() }
    }

    /// A step whose end is known: `total` units.
    #[must_use]
    pub fn counted(&self, what: &str, total: u64) -> ProgressBar {
        self.bar(what, ProgressBar::new(total), "{msg} {bar:30} {pos}/{len}, {eta} left")
    }

    /// A step that takes as long as it takes.
    #[must_use]
    pub fn spinner(&self, what: &str) -> ProgressBar {
        let bar = self.bar(what, ProgressBar::new_spinner(), "{spinner} {msg}");
        if self.shown {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        bar
    }

    fn bar(&self, what: &str, bar: ProgressBar, template: &str) -> ProgressBar {
        if !self.shown {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.set_style(ProgressStyle::with_template(template).expect("a constant template is well formed"));
        bar.set_message(what.to_owned());
        bar
    }
}

/// Runs `work`, which counts up its argument, while the bar shows the count.
pub(crate) fn watch<T: Send>(bar: &ProgressBar, work: impl FnOnce(&AtomicU64) -> T + Send) -> T {
    let count = AtomicU64::new(0);
    let watcher = std::thread::current();
    let result = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let result = work(&count);
            watcher.unpark();
            result
        });
        while !worker.is_finished() {
            bar.set_position(count.load(Relaxed));
            std::thread::park_timeout(Duration::from_millis(100));
        }
        worker.join()
    });
    bar.finish_and_clear();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
