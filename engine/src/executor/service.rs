use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hypostyle_app_api::{Application, Context};

use crate::reply::Failure;

/// The application, and how its panics and long results are answered.
///
/// **Panics.** An operation comes from a client, so a panic on it must not take the replicas down one after the other
/// (a poison request). It is caught, what was written is dropped, and the client gets a deterministic error. What the
/// operation had changed until then stays. That is `AssertUnwindSafe`'s promise: the application's state after a
/// panic may be inconsistent, but execution is deterministic, so it is the same on every correct replica; if it is
/// not, the next checkpoint tells. Nothing of the executor's own is borrowed by the call but the result buffer, which
/// is emptied. A panic in `digest` is not caught, nor is one with `panic = "abort"`: the process stops.
#[derive(Debug)]
pub(super) struct Service<A> {
    pub(super) application: A,
    result: Vec<u8>,
    reply_max: usize,
}

thread_local! {
    static CALLING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside the application: a panic there is answered, not fatal.
pub(crate) fn is_calling_application() -> bool {
    CALLING.get()
}

impl<A: Application> Service<A> {
    pub(super) fn new(application: A, reply_max: usize) -> Self {
        Self { application, result: Vec::new(), reply_max }
    }

    /// Executes an operation and returns its result.
    pub(super) fn call(&mut self, context: &Context, operation: &[u8]) -> Result<&[u8], Failure> {
        self.result.clear();
        let (application, result) = (&mut self.application, &mut self.result);
        let call = AssertUnwindSafe(|| application.execute(context, operation, result));
        CALLING.set(true);
        let called = catch_unwind(call);
        CALLING.set(false);
        if called.is_err() {
            return Err(Failure::Panicked);
        }
        if self.result.len() > self.reply_max {
            self.result = Vec::new();
            return Err(Failure::ResultTooLarge);
        }
        Ok(&self.result)
    }
}
