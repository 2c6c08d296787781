//! A relay's task: receives from both sides in turn, asks the rules, sends on.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use imp_core::relay::{Dropped, End, Moment, Rules, Run, Side, Verdict, spans};
use imp_core::socket::Token;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use super::super::batch::{Batch, Message, Outgoing, Route, Unsent, send, with_batch};
use super::super::engine::{Place, Time};
use super::super::sockets::{OwnPorts, RelaySocket};
use super::Shared;

/// How far ahead the timer is set at most: a moment can be further away than a timer can wait.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

pub(super) struct Task {
    // Dropped in this order: who waits for the end finds the ports closed.
    sockets: [RelaySocket; 2],
    ending: Ending,
    rules: Rules,
    token: Token,
    /// To which address of this host the users of each side send.
    reached: [Option<IpAddr>; 2],
    shown: u64,
    own: Arc<OwnPorts>,
    time: Time,
    _place: Place,
}

/// Tells how the relay ended, also where its runtime ends under it.
struct Ending {
    shared: Arc<Shared>,
    end: End,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.end.send_replace(Some(self.end));
    }
}

impl Task {
    pub(super) fn new(
        sockets: [RelaySocket; 2],
        rules: Rules,
        reached: [Option<IpAddr>; 2],
        shared: Arc<Shared>,
        own: Arc<OwnPorts>,
        time: Time,
        place: Place,
    ) -> Self {
        shared.show_numbers(&rules);
        shared.show_pins(&rules, reached, time.now());
        let ending = Ending { shared, end: End::Stopped };
        let (shown, token) = (rules.revision(), rules.token().clone());
        Self { sockets, ending, rules, token, reached, shown, own, time, _place: place }
    }

    /// Runs until the relay ends or is stopped.
    pub(super) async fn run(mut self, stopped: oneshot::Receiver<()>) {
        let mut stopped = pin!(stopped);
        let mut timer = pin!(sleep_until(Instant::now()));
        self.ending.end = poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Stopped);
            }
            if let Poll::Ready(end) = self.poll_sockets(cx) {
                return Poll::Ready(end);
            }
            self.poll_timer(timer.as_mut(), cx)
        })
        .await;
    }

    /// One batch from each side. A side from which there is more has its turn again after other relays had theirs.
    fn poll_sockets(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut has_more = false;
        for side in Side::BOTH {
            let mut is_first = true;
            while let Poll::Ready(ready) = self.sockets[side.index()].socket.poll_readable(cx) {
                if ready.is_err() {
                    // The runtime ends.
                    return Poll::Ready(End::Stopped);
                }
                if !is_first {
                    has_more = true;
                    break;
                }
                is_first = false;
                if let Some(end) = with_batch(|batch| self.turn(side, batch)) {
                    return Poll::Ready(end);
                }
            }
        }
        if has_more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// The timer is not moved by packets: when it goes off, it is set again for what is then left.
    fn poll_timer(&self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<End> {
        let Some(deadline) = self.rules.deadline() else { return Poll::Pending };
        while timer.as_mut().poll(cx).is_ready() {
            let now = self.time.now();
            if let Some(end) = self.rules.end(now) {
                return Poll::Ready(end);
            }
            timer.as_mut().reset(Instant::now() + deadline.since(now).min(LONGEST_WAIT));
        }
        Poll::Pending
    }

    /// Receives a batch from a side and sends it on. Why the relay is over, if it is.
    fn turn(&mut self, side: Side, batch: &mut Batch) -> Option<End> {
        let Batch { received, outgoing } = batch;
        received.receive(&self.sockets[side.index()].socket);
        if received.is_empty() {
            return None;
        }
        let now = self.time.now();
        // For a whole batch it is the same one: only packets of the other side change who is known there.
        let mut to = None;
        for message in received.messages() {
            to = self.take(side, &message, outgoing, now).or(to);
        }
        if let Some(to) = to {
            let other = side.other().index();
            let route = Route { socket: &self.sockets[other].socket, to, from: self.reached[other] };
            let rules = &mut self.rules;
            outgoing.send(received, route, |Unsent { packets, bytes, why }| {
                rules.unsent(side, packets, bytes, why);
            });
        }
        for (socket, reached) in self.sockets.iter_mut().zip(&mut self.reached) {
            if socket.socket.has_lost_address() {
                *reached = None;
            }
        }
        self.ending.shared.show_numbers(&self.rules);
        if self.shown != self.rules.revision() {
            self.shown = self.rules.revision();
            self.ending.shared.show_pins(&self.rules, self.reached, now);
        }
        self.rules.end(now)
    }

    /// Asks the rules about a message and puts down what is to be sent on; to whom, if anything is.
    fn take(
        &mut self,
        side: Side,
        message: &Message<'_>,
        outgoing: &mut Outgoing,
        now: Moment,
    ) -> Option<SocketAddr> {
        let Self { rules, reached, token, own, sockets, .. } = self;
        let mut to = None;
        for span in spans(message.bytes, message.stride, token.as_bytes()) {
            let stride = if span.is_token { span.at.len() } else { message.stride };
            let run = Run::new(span.at.len() as u64, stride as u64);
            let verdict =
                rules.take(side, message.source, run, span.is_token, now, |source| own.is_relay(source));
            let is_known = match verdict {
                // It came from who is known here, and only goes no further.
                Verdict::Drop(why) => matches!(why, Dropped::NoPeer | Dropped::Rate),
                Verdict::Over => false,
                Verdict::Forward { .. } | Verdict::Echo | Verdict::Keep => true,
            };
            if is_known {
                reached[side.index()] = message.reached;
            }
            match verdict {
                Verdict::Forward { packets, to: peer } => {
                    to = Some(peer);
                    let end = span.at.start + run.bytes_of(packets) as usize;
                    outgoing.put(message, span.at.start..end);
                }
                Verdict::Echo => {
                    let socket = &sockets[side.index()].socket;
                    let route = Route { socket, to: message.source, from: message.reached };
                    // The next keep-alive asks again.
                    let _ = send(route, &message.bytes[span.at], None, message.ecn);
                }
                Verdict::Keep | Verdict::Drop(_) => {}
                Verdict::Over => break,
            }
        }
        to
    }
}
