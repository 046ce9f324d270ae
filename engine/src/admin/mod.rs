//! The admin listener: `/status`, `/order-log`, `/metrics`, `/livez` and `/readyz`, on loopback, served by the control
//! thread. It asks the other threads through their mailboxes and touches nothing of theirs.

mod metrics;
mod source;

use std::fmt::Write;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::order_log::OrderEntry;
use crate::status::ReplicaStatus;

pub use source::{Ask, Query, Source, Unanswered};

/// Opens the listener, so that a port in use is known before any thread starts.
///
/// # Errors
/// When the address is not on loopback (whoever reaches the listener is not asked who he is) or not free.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{address} is not on loopback")));
    }
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until `stop`. Wants a tokio runtime with I/O and time.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    source: Source,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    axum::serve(listener, router(Arc::new(source))).with_graceful_shutdown(stop).await
}

fn router(source: Arc<Source>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/order-log", get(order_log))
        .route("/metrics", get(scrape))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(source)
}

async fn status(State(source): State<Arc<Source>>) -> Result<Response, Unanswered> {
    Ok(axum::Json(source.status().await?).into_response())
}

/// A JSON array with a line for each entry.
async fn order_log(State(source): State<Arc<Source>>) -> Result<Response, Unanswered> {
    let entries = source.order_log().await?;
    Ok(typed("application/json", json_lines(&entries)))
}

async fn scrape(State(source): State<Arc<Source>>) -> Result<Response, Unanswered> {
    let text = metrics::encode(&source.status().await?);
    Ok(typed("application/openmetrics-text; version=1.0.0; charset=utf-8", text))
}

/// Every thread answers.
async fn livez(State(source): State<Arc<Source>>) -> Result<&'static str, Unanswered> {
    source.status().await.map(|_| "ok\n")
}

/// Every pillar has links to a quorum. `?verbose` names each pillar's.
async fn readyz(
    State(source): State<Arc<Source>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Unanswered> {
    let status = source.status().await?;
    let code = if status.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
    Ok((code, readiness(&status, verbose)).into_response())
}

fn readiness(status: &ReplicaStatus, verbose: bool) -> String {
    let mut text = String::from(if status.ready() { "ok\n" } else { "not ready\n" });
    for pillar in status.pillars.iter().filter(|_| verbose) {
        let others = status.replicas.saturating_sub(1);
        writeln!(text, "pillar {}: {} of {others} links up", pillar.pillar, pillar.peers)
            .expect("a string grows");
    }
    text
}

fn json_lines(entries: &[Arc<OrderEntry>]) -> String {
    let lines: Vec<String> = entries
        .iter()
        .map(|entry| serde_json::to_string(&**entry).expect("an entry has string keys only"))
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
