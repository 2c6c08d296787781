//! A connection's task: packets both ways, and keep-alives.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use imp_core::relay::{Due, KeepAlive, Run, canonical, spans};
use imp_core::socket::Token;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use super::super::batch::{Batch, Message, Outgoing, Route, send, with_batch};
use super::super::engine::{Engine, Place, Time};
use super::super::sockets::{Claim, Socket};
use super::{Ends, Shared};

pub(super) struct Task {
    // Dropped in this order: who waits for the end finds the ports closed.
    local: Socket,
    far: Far,
    ending: Ending,
    token: Option<Token>,
    keep_alive: KeepAlive,
    program: Option<SocketAddr>,
    packets_out: u64,
    packets_in: u64,
    time: Time,
    _place: Place,
}

/// The socket that leads to the relay.
pub(super) struct Far {
    socket: Socket,
    claim: Claim,
}

impl Far {
    /// Takes a bound socket into the runtime that is entered.
    pub(super) fn new(socket: StdSocket, engine: &Engine) -> io::Result<Self> {
        let claim = Claim::new(socket.local_addr()?.port(), Arc::clone(engine.ways_out()));
        Ok(Self { socket: Socket::new(socket)?, claim })
    }
}

/// Tells that the connection is closed, also where its runtime ends under it.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.is_closed.send_replace(true);
    }
}

impl Task {
    pub(super) fn new(
        local: Socket,
        far: Far,
        token: Option<Token>,
        keep_alive: KeepAlive,
        shared: Arc<Shared>,
        time: Time,
        place: Place,
    ) -> Self {
        Self {
            local,
            far,
            ending: Ending(shared),
            token,
            keep_alive,
            program: None,
            packets_out: 0,
            packets_in: 0,
            time,
            _place: place,
        }
    }

    /// Runs until it is stopped.
    pub(super) async fn run(mut self, stopped: oneshot::Receiver<()>) {
        let mut stopped = pin!(stopped);
        let mut timer = pin!(sleep_until(Instant::now()));
        poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if self.poll_sockets(cx).is_ready() {
                return Poll::Ready(());
            }
            self.poll_timer(timer.as_mut(), cx);
            Poll::Pending
        })
        .await;
    }

    /// One batch each way; ready if the runtime ends.
    fn poll_sockets(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut has_more = false;
        for is_out in [true, false] {
            let mut is_first = true;
            loop {
                let socket = if is_out { &self.local } else { &self.far.socket };
                match socket.poll_readable(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(())) if !is_first => {
                        has_more = true;
                        break;
                    }
                    Poll::Ready(Ok(())) => {}
                }
                is_first = false;
                with_batch(|batch| if is_out { self.turn_out(batch) } else { self.turn_in(batch) });
            }
        }
        if has_more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Sends the keep-alives that are due, and sets the timer to the next one, if there is to be one.
    fn poll_timer(&mut self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) {
        loop {
            let now = self.time.now();
            match self.keep_alive.due(now) {
                Due::Send => self.send_keep_alive(),
                Due::Never => return,
                Due::At(moment) => {
                    let at = Instant::now() + moment.since(now);
                    // What comes from the program or the relay moves the time, so it is looked at after each batch.
                    if timer.deadline() < at || timer.is_elapsed() {
                        timer.as_mut().reset(at);
                    }
                    if timer.as_mut().poll(cx).is_pending() {
                        return;
                    }
                }
            }
        }
    }

    fn send_keep_alive(&self) {
        let bytes = self.token.as_ref().map_or(&[][..], Token::as_bytes);
        // One that is lost is followed by another.
        let _ = send(self.to_relay(), bytes, None, None);
        self.show();
    }

    fn to_relay(&self) -> Route<'_> {
        Route { socket: &self.far.socket, to: self.ending.0.remote, from: None }
    }

    /// From the program to the relay.
    fn turn_out(&mut self, batch: &mut Batch) {
        let Batch { received, outgoing } = batch;
        received.receive(&self.local);
        let now = self.time.now();
        let mut is_sent = false;
        // What comes from a connection's own way out goes round for ever: its relay is gone, and a port of ours in its place.
        for message in received.messages().filter(|message| !self.far.claim.is_one_of_ours(message.source)) {
            is_sent = true;
            self.program = Some(message.source);
            outgoing.put(&message, 0..message.bytes.len());
            self.packets_out += Run::new(message.bytes.len() as u64, message.stride as u64).packets;
        }
        if !is_sent {
            return;
        }
        if self.keep_alive.program_sends(now) && self.keep_alive.due(now) == Due::Send {
            self.send_keep_alive();
        }
        let mut lost = 0;
        outgoing.send(received, self.to_relay(), |unsent| lost += unsent.packets);
        self.packets_out -= lost;
        self.show();
    }

    /// From the relay to the program.
    fn turn_in(&mut self, batch: &mut Batch) {
        let Batch { received, outgoing } = batch;
        received.receive(&self.far.socket);
        let now = self.time.now();
        let remote = self.ending.0.remote;
        let mut is_heard = false;
        for message in received.messages().filter(|message| canonical(message.source) == remote) {
            is_heard = true;
            self.take(&message, outgoing);
        }
        if !is_heard {
            return;
        }
        self.keep_alive.heard(now);
        if let Some(program) = self.program {
            let mut lost = 0;
            let route = Route { socket: &self.local, to: program, from: None };
            outgoing.send(received, route, |unsent| lost += unsent.packets);
            self.packets_in -= lost;
        }
        self.show();
    }

    /// Puts down what the program is to get: all but the token, which is the relay's answer to a keep-alive.
    fn take(&mut self, message: &Message<'_>, outgoing: &mut Outgoing) {
        if self.program.is_none() {
            return;
        }
        let token = self.token.as_ref().map_or(&[][..], Token::as_bytes);
        for span in spans(message.bytes, message.stride, token).filter(|span| !span.is_token) {
            self.packets_in += Run::new(span.at.len() as u64, message.stride as u64).packets;
            outgoing.put(message, span.at);
        }
    }

    fn show(&self) {
        let shared = &self.ending.0;
        shared.packets_out.store(self.packets_out, Ordering::Relaxed);
        shared.packets_in.store(self.packets_in, Ordering::Relaxed);
        let ends = Ends { keep_alive: self.keep_alive, program: self.program };
        *shared.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
    }
}
