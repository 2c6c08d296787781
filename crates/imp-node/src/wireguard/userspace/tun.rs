//! The interface's packets: read and written many at a time.
//!
//! With offload on, the kernel hands over what a program on this machine sends by TCP as one packet of up to 64 KiB, and
//! takes such packets. Splitting and joining them here costs less than one call to the system for each packet, and is what
//! makes a tunnel in a process fast.

use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use gotatun::packet::{Ip, Packet, PacketBufPool};
use gotatun::tun::{IpRecv, IpSend, MtuWatcher};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tun_rs::{AsyncDevice, GROTable, VIRTIO_NET_HDR_LEN};

use super::life::Life;

/// The most that the kernel hands over at once: a packet of 64 KiB and the header before it.
const MOST_BYTES: usize = VIRTIO_NET_HDR_LEN + 65_535;

/// Packets that one of 64 KiB may be split into. Those of a connection with so small segments that it would be more are
/// lost, and sent again by fewer.
const MOST_SEGMENTS: usize = 256;

/// Packets that are joined and written in one go.
const MOST_JOINED: usize = 128;

/// Packets that wait to be written before whoever decrypts has to wait.
const MOST_WAITING: usize = 1024;

/// What encryption may add to the end of a packet.
const MOST_PADDING: usize = 16;

/// What programs on this machine send into the tunnel.
pub(super) struct TunReader {
    tun: Arc<AsyncDevice>,
    joined: Vec<u8>,
    slots: Vec<Vec<u8>>,
    sizes: Vec<usize>,
    mtu: u16,
    life: Life,
}

/// What goes to programs on this machine. Written by a task of its own, so that it can be joined.
pub(super) struct TunWriter(Arc<Waiting>);

/// Packets that are decrypted and not written.
#[derive(Default)]
struct Waiting {
    queue: Mutex<Queue>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Default)]
struct Queue {
    packets: Vec<Packet<Ip>>,
    /// Nobody adds packets any more.
    is_closed: bool,
    /// Nobody writes packets any more.
    is_broken: bool,
}

impl TunReader {
    pub(super) fn new(tun: Arc<AsyncDevice>, mtu: u16, life: Life) -> Self {
        let slots = vec![vec![0; usize::from(mtu)]; MOST_SEGMENTS];
        Self { tun, joined: vec![0; MOST_BYTES], slots, sizes: vec![0; MOST_SEGMENTS], mtu, life }
    }
}

impl IpRecv for TunReader {
    async fn recv<'a>(
        &'a mut self,
        // Its buffers come round so late that each is out of the cache by then, which costs more than to allocate.
        _pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + Send + 'a> {
        let count = loop {
            let received =
                self.tun.recv_multiple(&mut self.joined, &mut self.slots, &mut self.sizes, 0).await;
            match received {
                Ok(count) => break count,
                // A packet that cannot be split is one that is lost.
                Err(error) if error.raw_os_error().is_none() => {
                    tracing::debug!(%error, "lost a packet of a tunnel");
                }
                Err(error) => {
                    self.life.end(&error);
                    return Err(error);
                }
            }
        };
        let packets = self.slots.iter().zip(&self.sizes).take(count);
        Ok(packets.filter_map(|(slot, &size)| {
            let mut packet = BytesMut::with_capacity(size + MOST_PADDING);
            packet.extend_from_slice(&slot[..size]);
            Packet::from_bytes(packet).try_into_ip().ok()
        }))
    }

    fn mtu(&self) -> MtuWatcher {
        MtuWatcher::new(self.mtu)
    }
}

impl TunWriter {
    /// Starts the task that writes, in the runtime of the caller, with which it ends at the latest.
    pub(super) fn start(tun: Arc<AsyncDevice>, life: Life) -> Self {
        let waiting = Arc::new(Waiting::default());
        Handle::current().spawn(write(tun, Arc::clone(&waiting), life));
        Self(waiting)
    }
}

impl Drop for TunWriter {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.filled.notify_one();
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for packets and takes them all; nothing if there will be none.
    async fn take(&self, packets: &mut Vec<Packet<Ip>>) -> Option<()> {
        loop {
            {
                let mut queue = self.lock();
                if !queue.packets.is_empty() {
                    mem::swap(&mut queue.packets, packets);
                    self.emptied.notify_one();
                    return Some(());
                }
                if queue.is_closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }
}

impl IpSend for TunWriter {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        loop {
            {
                let mut queue = self.0.lock();
                if queue.is_broken {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                if queue.packets.len() < MOST_WAITING {
                    queue.packets.push(packet);
                    if queue.packets.len() == 1 {
                        self.0.filled.notify_one();
                    }
                    return Ok(());
                }
            }
            self.0.emptied.notified().await;
        }
    }
}

async fn write(tun: Arc<AsyncDevice>, waiting: Arc<Waiting>, life: Life) {
    let mut table = GROTable::default();
    let mut packets = Vec::with_capacity(MOST_WAITING);
    let mut buffers: Vec<Vec<u8>> = Vec::with_capacity(MOST_JOINED);
    while waiting.take(&mut packets).await.is_some() {
        let mut rest = packets.drain(..);
        while rest.len() > 0 {
            let count = fill(&mut buffers, rest.by_ref().take(MOST_JOINED));
            let written = tun.send_multiple(&mut table, &mut buffers[..count], VIRTIO_NET_HDR_LEN).await;
            if let Err(error) = written {
                if life.is_deadly(&error) {
                    life.end(&error);
                    waiting.lock().is_broken = true;
                    waiting.emptied.notify_one();
                    return;
                }
                tracing::debug!(%error, "lost packets of a tunnel");
            }
        }
    }
}

/// Puts packets into buffers, with room before and after them for what joining them needs.
fn fill(buffers: &mut Vec<Vec<u8>>, packets: impl Iterator<Item = Packet<Ip>>) -> usize {
    let mut count = 0;
    for packet in packets {
        if count == buffers.len() {
            buffers.push(Vec::with_capacity(MOST_BYTES));
        }
        let buffer = &mut buffers[count];
        buffer.clear();
        buffer.resize(VIRTIO_NET_HDR_LEN, 0);
        buffer.extend_from_slice(&packet.into_bytes());
        count += 1;
    }
    count
}
