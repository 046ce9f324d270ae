//! The admin listener: `/status`, `/evidence`, `/order-log`, `/metrics`, `/livez` and `/readyz`, on loopback, served by the control
//! thread. It asks the other threads through their mailboxes and touches nothing of theirs.

mod metrics;
mod source;

use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::runtime;
use tokio::sync::{Semaphore, oneshot};

use crate::order_log::OrderEntry;
use crate::status::ReplicaStatus;

pub use source::{Detail, Query, StatusSource, Unanswered};

/// The control thread with its listener. Dropping it ends both.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Requests answered at the same time: a scraper must not slow the workers down.
const ASKING: usize = 4;

impl AdminServer {
    /// Listens on `address` and serves what `source` tells.
    ///
    /// # Errors
    /// When the address is not on loopback (whoever reaches the listener is not asked who he is) or not free, or the
    /// system gives no thread.
    pub fn start<S: StatusSource>(address: SocketAddr, source: Arc<S>) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            let what = format!("{address} is not on loopback");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let router = router(source);
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    ended = async { axum::serve(listener, router).await } => {
                        tracing::error!(?ended, "the admin listener has ended");
                    }
                    // An error, too, means that the server is gone.
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new().name("control".to_owned()).spawn(serve)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// A replica's threads and how many questions may be open.
#[derive(Clone)]
struct Desk {
    source: Arc<dyn StatusSource>,
    asking: Arc<Semaphore>,
}

impl Desk {
    async fn status(&self, detail: Detail) -> Result<ReplicaStatus, Unanswered> {
        let _asking = self.asking.acquire().await.map_err(|_| Unanswered)?;
        source::status(&*self.source, detail).await
    }

    async fn order(&self) -> Result<Vec<OrderEntry>, Unanswered> {
        let _asking = self.asking.acquire().await.map_err(|_| Unanswered)?;
        source::order(&*self.source).await
    }
}

fn router(source: Arc<dyn StatusSource>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/evidence", get(evidence))
        .route("/order-log", get(order_log))
        .route("/metrics", get(scrape))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(Desk { source, asking: Arc::new(Semaphore::new(ASKING)) })
}

async fn status(State(desk): State<Desk>) -> Result<Response, Unanswered> {
    Ok(axum::Json(desk.status(Detail::State).await?).into_response())
}

/// A JSON array with a line for each pair of messages by which a replica has contradicted itself.
async fn evidence(State(desk): State<Desk>) -> Result<Response, Unanswered> {
    let evidence = desk.status(Detail::Evidence).await?.evidence;
    Ok(typed("application/json", json_lines(&evidence)))
}

/// A JSON array with a line for each entry.
async fn order_log(State(desk): State<Desk>) -> Result<Response, Unanswered> {
    let entries = desk.order().await?;
    Ok(typed("application/json", json_lines(&entries)))
}

async fn scrape(State(desk): State<Desk>) -> Result<Response, Unanswered> {
    let text = metrics::encode(&desk.status(Detail::Counters).await?);
    Ok(typed("application/openmetrics-text; version=1.0.0; charset=utf-8", text))
}

/// Every thread answers.
async fn livez(State(desk): State<Desk>) -> Result<&'static str, Unanswered> {
    desk.status(Detail::Counters).await.map(|_| "ok\n")
}

/// Every pillar has links to a quorum, and the replica isn't recovering. `?verbose` says so and names each pillar's.
async fn readyz(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Result<Response, Unanswered> {
    let status = desk.status(Detail::Counters).await?;
    let code = if status.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
    Ok((code, readiness(&status, verbose)).into_response())
}

fn readiness(status: &ReplicaStatus, verbose: bool) -> String {
    let mut text = String::from(if status.ready() { "ok\n" } else { "not ready\n" });
    if let Some(recovering) = status.recovering.as_ref().filter(|_| verbose) {
        writeln!(text, "recovering: waits for {recovering}").expect("a string grows");
    }
    for pillar in status.pillars.iter().filter(|_| verbose) {
        let others = status.replicas.saturating_sub(1);
        writeln!(text, "pillar {}: {} of {others} links up", pillar.pillar, pillar.peers)
            .expect("a string grows");
    }
    text
}

fn json_lines(entries: &[impl Serialize]) -> String {
    let lines: Vec<String> = entries
        .iter()
        .map(|entry| serde_json::to_string(entry).expect("an entry has string keys only"))
        .collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

fn typed(content_type: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

impl IntoResponse for Unanswered {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{self}\n")).into_response()
    }
}

#[cfg(test)]
mod tests;
