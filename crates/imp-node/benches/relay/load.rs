//! The two ends of a relay, both in this process: one sender and one receiver, the same for whatever is between them.
//!
//! Each packet carries a mark, which the receiver looks for, and the time at which it was sent, on a clock that both
//! ends share.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::event::{PollFd, PollFlags, poll};

/// Packets of a batch: as many as fit into one datagram of 64 KiB at the largest size.
const BATCH: usize = 32;

/// No packet, and no batch, is longer.
const MESSAGE_BYTES: usize = 65_536;

/// From one message to the next: a power of two would have all of them share few places of the cache.
const PLACE_BYTES: usize = MESSAGE_BYTES + 33 * 64;

const MARK: [u8; 8] = *b"relaying";

/// Mark and time: the smallest packet that can be measured.
const HEAD_BYTES: usize = 16;

/// How long a relay may take until it forwards.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Flood before it is measured.
const WARM_UP: Duration = Duration::from_millis(30);

/// How long a queue that is worked off stays empty.
const QUIET: Duration = Duration::from_millis(30);

/// What packets' times are told by.
static CLOCK: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Sockets of both ends.
pub(crate) struct Ends {
    pub(crate) sender: End,
    pub(crate) receiver: End,
}

/// A socket with its abilities.
pub(crate) struct End {
    pub(crate) socket: UdpSocket,
    pub(crate) addr: SocketAddr,
    state: UdpSocketState,
}

/// How the sender reaches the receiver.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) to: SocketAddr,
    /// Where the receiver sends to, so that it reaches the sender, for relays that learn their ends from packets.
    pub(crate) back: Option<SocketAddr>,
    /// What stands before the payload on the sender's side: a TURN channel.
    pub(crate) channel: Option<u16>,
}

/// How the sender sends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sending {
    /// Batches, which the kernel cuts into packets (GSO).
    Batches,
    /// One packet a call.
    Singles,
}

/// What arrived of a flood.
#[derive(Clone, Copy)]
pub(crate) struct Flood {
    /// Packets a second, within the window.
    pub(crate) per_sec: f64,
    /// Packets in all, also before and after it.
    pub(crate) packets: u64,
}

impl End {
    fn bind() -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let state = UdpSocketState::new((&socket).into())?;
        state.set_recv_buffer_size((&socket).into(), 4 << 20)?;
        Ok(Self { addr: socket.local_addr()?, socket, state })
    }

    /// Whether something arrived within this time.
    pub(crate) fn is_readable(&self, within: Duration) -> bool {
        readable(&self.socket, within)
    }

    /// Hands over each packet that is there.
    fn receive(&self, room: &mut Room, mut each: impl FnMut(&[u8])) -> usize {
        let places = room.bytes.chunks_mut(PLACE_BYTES);
        let mut slices: Vec<_> = places.map(|place| IoSliceMut::new(&mut place[..MESSAGE_BYTES])).collect();
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let Ok(count) = self.state.recv((&self.socket).into(), &mut slices, &mut metas) else { return 0 };
        for (bytes, meta) in slices.iter().zip(&metas[..count]) {
            bytes[..meta.len].chunks(meta.stride.max(1)).for_each(&mut each);
        }
        count
    }

    /// Throws away what is there, and how much that was.
    fn drain(&self, room: &mut Room) -> usize {
        let mut packets = 0;
        while self.receive(room, |_| packets += 1) > 0 {}
        packets
    }
}

/// What a receiver reads into.
pub(crate) struct Room {
    bytes: Vec<u8>,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; BATCH_SIZE * PLACE_BYTES] }
    }
}

pub(crate) fn readable(socket: &UdpSocket, within: Duration) -> bool {
    let timeout = within.try_into().ok();
    poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref()).is_ok_and(|ready| ready > 0)
}

impl Ends {
    pub(crate) fn bind() -> io::Result<Self> {
        Ok(Self { sender: End::bind()?, receiver: End::bind()? })
    }

    /// Sends until packets pass: both ways where the relay learns its ends.
    pub(crate) fn prime(&self, route: &Route) -> io::Result<()> {
        let mut room = Room::new();
        let packet = packet(route, HEAD_BYTES);
        let begun = Instant::now();
        let (mut there, mut back) = (false, route.back.is_none());
        while !(there && back) {
            if begun.elapsed() > READY_WITHIN {
                return Err(io::Error::other("the relay does not forward"));
            }
            self.sender.socket.send_to(&packet, route.to)?;
            if let Some(addr) = route.back {
                self.receiver.socket.send_to(&MARK, addr)?;
            }
            there |=
                self.receiver.is_readable(Duration::from_millis(20)) && self.receiver.drain(&mut room) > 0;
            back |= self.sender.is_readable(Duration::from_millis(1)) && self.sender.drain(&mut room) > 0;
        }
        self.settle(&mut room);
        Ok(())
    }

    /// Waits until what is under way has arrived, and how much that was.
    fn settle(&self, room: &mut Room) -> usize {
        let mut packets = 0;
        while self.receiver.is_readable(QUIET) {
            packets += self.receiver.drain(room);
        }
        self.sender.drain(room);
        packets
    }

    /// What arrives while the sender sends as fast as it can.
    pub(crate) fn flood(&self, route: &Route, size: usize, sending: Sending, window: Duration) -> Flood {
        let (stop, arrived) = (AtomicBool::new(false), AtomicU64::new(0));
        let per_sec = thread::scope(|scope| {
            scope.spawn(|| self.count(size, &stop, &arrived));
            scope.spawn(|| self.send_all(route, size, sending, &stop));
            thread::sleep(WARM_UP);
            let (begun, before) = (Instant::now(), arrived.load(Ordering::Relaxed));
            thread::sleep(window);
            let packets = arrived.load(Ordering::Relaxed) - before;
            stop.store(true, Ordering::Relaxed);
            packets as f64 / begun.elapsed().as_secs_f64()
        });
        let late = self.settle(&mut Room::new());
        Flood { per_sec, packets: arrived.into_inner() + late as u64 }
    }

    /// Microseconds from the sender's call to the receiver's, for packets one at a time, shortest first.
    pub(crate) fn latencies(&self, route: &Route, size: usize, per_sec: u32, window: Duration) -> Vec<f64> {
        let (begun, stop) = (CLOCK.elapsed().as_nanos() as u64, AtomicBool::new(false));
        let mut latencies = thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let (mut room, mut latencies) = (Room::new(), Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    self.receiver.is_readable(QUIET);
                    self.receiver.receive(&mut room, |packet| {
                        check(packet, size);
                        let now = CLOCK.elapsed().as_nanos() as u64;
                        let sent = u64::from_le_bytes(packet[MARK.len()..HEAD_BYTES].try_into().unwrap());
                        // What is left of an earlier flood, which had no time, or run does not count.
                        if (begun..=now).contains(&sent) {
                            latencies.push((now - sent) as f64 / 1000.0);
                        }
                    });
                }
                latencies
            });
            self.pace(route, size, per_sec, window);
            thread::sleep(QUIET);
            stop.store(true, Ordering::Relaxed);
            receiver.join().unwrap()
        });
        latencies.sort_by(f64::total_cmp);
        latencies
    }

    /// Packets that arrive of those sent at this rate.
    pub(crate) fn arrivals(&self, route: &Route, size: usize, per_sec: u32, window: Duration) -> u64 {
        let (stop, arrived) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| self.count(size, &stop, &arrived));
            self.pace(route, size, per_sec, window);
            thread::sleep(QUIET);
            stop.store(true, Ordering::Relaxed);
        });
        arrived.into_inner()
    }

    fn count(&self, size: usize, stop: &AtomicBool, arrived: &AtomicU64) {
        let mut room = Room::new();
        while !stop.load(Ordering::Relaxed) {
            let mut packets = 0;
            let batches = self.receiver.receive(&mut room, |packet| {
                check(packet, size);
                packets += 1;
            });
            arrived.fetch_add(packets, Ordering::Relaxed);
            if batches < BATCH_SIZE {
                self.receiver.is_readable(QUIET);
            }
        }
    }

    fn send_all(&self, route: &Route, size: usize, sending: Sending, stop: &AtomicBool) {
        let packet = packet(route, size);
        let batch = packet.repeat(BATCH);
        let transmit = Transmit {
            destination: route.to,
            ecn: None,
            contents: &batch,
            segment_size: Some(packet.len()),
            src_ip: None,
        };
        let mut failed = 0;
        while !stop.load(Ordering::Relaxed) {
            let sent = match sending {
                Sending::Batches => self.sender.state.try_send((&self.sender.socket).into(), &transmit),
                Sending::Singles => self.sender.socket.send_to(&packet, route.to).map(drop),
            };
            match sent {
                Ok(()) => failed = 0,
                // The sender's own queue is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => {
                    failed += 1;
                    assert!(failed < 100, "the sender cannot send: {error}");
                }
            }
        }
    }

    /// Sends each packet when it is due, those that are late at once.
    fn pace(&self, route: &Route, size: usize, per_sec: u32, window: Duration) {
        // Only so does a sleep end when it should. What the kernel refuses makes the pace less even.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let mut packet = packet(route, size);
        let stamp = packet.len() - size + MARK.len()..packet.len() - size + HEAD_BYTES;
        let interval = Duration::from_secs(1) / per_sec;
        let (begun, mut due) = (Instant::now(), Duration::ZERO);
        while due < window {
            thread::sleep(due.saturating_sub(begun.elapsed()));
            while due <= begun.elapsed() {
                packet[stamp.clone()].copy_from_slice(&(CLOCK.elapsed().as_nanos() as u64).to_le_bytes());
                let _ = self.sender.socket.send_to(&packet, route.to);
                due += interval;
            }
        }
    }
}

/// A packet as the sender sends it.
fn packet(route: &Route, size: usize) -> Vec<u8> {
    let mut packet = Vec::with_capacity(4 + size);
    if let Some(channel) = route.channel {
        packet.extend(channel.to_be_bytes());
        packet.extend((size as u16).to_be_bytes());
    }
    packet.extend(MARK);
    packet.resize(packet.len() + size - MARK.len(), 0x5a);
    packet
}

/// What arrives is what was sent, or the benchmark measures something else.
fn check(packet: &[u8], size: usize) {
    assert!(packet.len() == size && packet.starts_with(&MARK), "a packet of {} bytes arrived", packet.len());
}
