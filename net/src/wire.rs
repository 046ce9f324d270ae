use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::Instant;
use mio::Waker;

use crate::counters::Counters;
use crate::event::{Arrival, ConnectionId, Event, Payload, ReadOutcome, Reject};
use crate::transport::Transport;

/// What a worker thread reads from and writes to: the sockets of a [`Transport`], or a [`Replay`](crate::Replay) of what once
/// came over them. Each method is explained there.
pub trait Wire {
    /// See [`Transport::wake_handle`].
    fn wake_handle(&self) -> Arc<Waker>;

    /// See [`Transport::poll`].
    ///
    /// # Errors
    /// When `epoll` fails.
    fn poll(&mut self, now: Instant, timeout: Option<Duration>) -> io::Result<()>;

    /// See [`Transport::event`].
    fn event(&mut self) -> Option<Event>;

    /// See [`Transport::next_deadline`].
    fn next_deadline(&self) -> Option<Instant>;

    /// See [`Transport::read`].
    fn read(
        &mut self,
        id: ConnectionId,
        budget: usize,
        on_frame: &mut dyn FnMut(Payload<'_>) -> ControlFlow<Reject>,
    ) -> ReadOutcome;

    /// See [`Transport::send`].
    fn send(&mut self, id: ConnectionId, parts: &[&[u8]]) -> bool;

    /// See [`Transport::send_shared`].
    fn send_shared(&mut self, id: ConnectionId, head: &[u8], body: &Bytes) -> bool;

    /// See [`Transport::flush`].
    fn flush(&mut self);

    /// See [`Transport::close`].
    fn close(&mut self, id: ConnectionId, reason: &'static str);

    /// See [`Transport::adopt`].
    fn adopt(&mut self, arrival: Arrival);

    /// See [`Transport::counters`].
    fn counters(&self) -> &Counters;
}

impl Wire for Transport {
    fn wake_handle(&self) -> Arc<Waker> {
        self.wake_handle()
    }

    fn poll(&mut self, now: Instant, timeout: Option<Duration>) -> io::Result<()> {
        self.poll(now, timeout)
    }

    fn event(&mut self) -> Option<Event> {
        self.event()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline()
    }

    fn read(
        &mut self,
        id: ConnectionId,
        budget: usize,
        on_frame: &mut dyn FnMut(Payload<'_>) -> ControlFlow<Reject>,
    ) -> ReadOutcome {
        self.read(id, budget, on_frame)
    }

    fn send(&mut self, id: ConnectionId, parts: &[&[u8]]) -> bool {
        self.send(id, parts)
    }

    fn send_shared(&mut self, id: ConnectionId, head: &[u8], body: &Bytes) -> bool {
        self.send_shared(id, head, body)
    }

    fn flush(&mut self) {
        self.flush();
    }

    fn close(&mut self, id: ConnectionId, reason: &'static str) {
        self.close(id, reason);
    }

    fn adopt(&mut self, arrival: Arrival) {
        self.adopt(arrival);
    }

    fn counters(&self) -> &Counters {
        self.counters()
    }
}
