//! The UDP socket: packets of one peer go out in one call to the system (GSO), and what arrives is taken in many at a time.

use std::collections::HashSet;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;

use gotatun::packet::{Packet, PacketBufPool};
use gotatun::udp::socket::{UdpSocket, UdpSocketFactory};
use gotatun::udp::{UdpRecv, UdpSend, UdpTransportFactory, UdpTransportFactoryParams};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use tokio::io::Interest;

use super::life::Life;

/// What the kernel may keep for the socket each way, if the system allows so much: a program that sends fast fills it while
/// the device is at other things.
const KERNEL_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// No datagram, and no message that the kernel has joined of many, is longer.
const MESSAGE_BYTES: usize = 65_536;

/// Messages that one call takes in.
const MESSAGES: usize = if BATCH_SIZE < 16 { BATCH_SIZE } else { 16 };

/// Packets that are sent on at a time.
const MOST_PACKETS: usize = 128;

/// The most that goes out in one call: a little less than what a length field can hold with any header.
const MOST_JOINED_BYTES: usize = 65_000;

/// The most that the kernel joins or splits; what it really does is known with the first message.
const MOST_SEGMENTS: usize = 64;

/// Peers that are remembered to need their packets one by one.
const MOST_APART: usize = 1024;

/// Makes the device's sockets.
pub(super) struct Sockets {
    life: Life,
    /// Whether there was a socket before, which a change by hand has closed.
    is_bound: bool,
}

impl Sockets {
    pub(super) fn new(life: Life) -> Self {
        Self { life, is_bound: false }
    }

    async fn open(&self, params: &UdpTransportFactoryParams) -> io::Result<(Sender, Receiver)> {
        let mut factory = UdpSocketFactory {
            recv_buffer_size: Some(KERNEL_BUFFER_BYTES),
            send_buffer_size: Some(KERNEL_BUFFER_BYTES),
        };
        let (socket, _) = factory.bind(params).await?;
        let state = Arc::new(new_state(&socket)?);
        let sender = Sender { socket: socket.clone(), state: Arc::clone(&state) };
        Ok((sender, Receiver { socket, state, life: self.life.clone() }))
    }
}

/// Sends; clones are the same socket.
#[derive(Clone)]
pub(super) struct Sender {
    socket: UdpSocket,
    state: Arc<UdpSocketState>,
}

/// Receives.
pub(super) struct Receiver {
    socket: UdpSocket,
    state: Arc<UdpSocketState>,
    life: Life,
}

impl UdpTransportFactory for Sockets {
    type Send = Sender;
    type Recv = Receiver;

    async fn bind(&mut self, params: &UdpTransportFactoryParams) -> io::Result<(Sender, Receiver)> {
        let opened = self.open(params).await;
        match &opened {
            Ok(_) => self.is_bound = true,
            Err(error) if self.is_bound => self.life.end(error),
            Err(_) => {}
        }
        opened
    }
}

/// What the batching library knows of the socket.
///
/// WireGuard sends what the tunnel's MTU allows, and leaves it to the network to cut it where that is too long for the way
/// there. The library forbids that, for a protocol that looks for the longest packet itself; for IPv6 it stays forbidden.
fn new_state(socket: &UdpSocket) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(UdpSockRef::from(socket.socket()))?;
    sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT)?;
    if socket.local_addr()?.is_ipv6() {
        sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT)?;
    }
    Ok(state)
}

/// What joins packets, kept from one batch to the next.
#[derive(Default)]
pub(super) struct Joined {
    bytes: Vec<u8>,
    /// Its own, for the library gives up joining for all peers when it fails for one, and one can make it fail: by a way
    /// that carries shorter packets only.
    state: Option<UdpSocketState>,
    /// Peers whose packets go one by one.
    apart: HashSet<SocketAddr>,
}

impl Sender {
    /// Sends packets of one length, of which the last may be shorter, by one call.
    async fn send_message(
        &self,
        state: &UdpSocketState,
        message: &[u8],
        segment: usize,
        destination: SocketAddr,
    ) -> io::Result<()> {
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: message,
            segment_size: (message.len() > segment).then_some(segment),
            src_ip: None,
        };
        let socket = self.socket.socket();
        let send = || state.try_send(UdpSockRef::from(socket), &transmit);
        socket.async_io(Interest::WRITABLE, send).await
    }

    /// Sends packets of which all but the last have one length, to one peer.
    async fn send_run(&self, run: &[(Packet, SocketAddr)], joined: &mut Joined) -> io::Result<()> {
        let [(first, destination), rest @ ..] = run else { return Ok(()) };
        if rest.is_empty() {
            return self.send_message(&self.state, first, first.len(), *destination).await;
        }
        joined.bytes.clear();
        run.iter().for_each(|(packet, _)| joined.bytes.extend_from_slice(packet));
        let state = match joined.state.take() {
            Some(state) => state,
            None => new_state(&self.socket)?,
        };
        let sent = self.send_message(&state, &joined.bytes, first.len(), *destination).await;
        match sent {
            Err(error) if is_too_much(&error) => {}
            sent => {
                joined.state = Some(state);
                return sent;
            }
        }
        if joined.apart.len() == MOST_APART {
            joined.apart.clear();
        }
        joined.apart.insert(*destination);
        let mut sent = Ok(());
        for (packet, _) in run {
            sent = self.send_message(&self.state, packet, packet.len(), *destination).await;
        }
        sent
    }
}

/// Whether the way to a peer may not carry so long packets in one piece, or the network card not split them.
fn is_too_much(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::INVAL | Errno::IO | Errno::MSGSIZE))
}

/// How many packets from the first on can go out by one call.
fn run_length(packets: &[(Packet, SocketAddr)], most: usize) -> usize {
    let [(first, destination), rest @ ..] = packets else { return 0 };
    let (mut count, mut bytes) = (1, first.len());
    for (packet, to) in rest {
        bytes += packet.len();
        if count == most || to != destination || packet.len() > first.len() || bytes > MOST_JOINED_BYTES {
            break;
        }
        count += 1;
        // A shorter one ends the message.
        if packet.len() < first.len() {
            break;
        }
    }
    count
}

impl UdpSend for Sender {
    type SendManyBuf = Joined;

    async fn send_to(&self, packet: Packet, destination: SocketAddr) -> io::Result<()> {
        self.send_message(&self.state, &packet, packet.len(), destination).await
    }

    fn max_number_of_packets_to_send(&self) -> usize {
        MOST_PACKETS
    }

    async fn send_many_to(
        &self,
        joined: &mut Joined,
        packets: &mut Vec<(Packet, SocketAddr)>,
    ) -> io::Result<()> {
        let mut rest = packets.as_slice();
        while !rest.is_empty() {
            let most = match joined.apart.contains(&rest[0].1) {
                true => 1,
                false => joined.state.as_ref().map_or(MOST_SEGMENTS, UdpSocketState::max_gso_segments),
            };
            let (run, after) = rest.split_at(run_length(rest, most));
            // What cannot be sent to one peer does not keep others from theirs.
            if let Err(error) = self.send_run(run, joined).await {
                tracing::trace!(%error, "lost packets to a peer");
            }
            rest = after;
        }
        packets.clear();
        Ok(())
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        self.socket.local_addr().map(Some)
    }

    fn set_fwmark(&self, mark: u32) -> io::Result<()> {
        self.socket.set_fwmark(mark)
    }
}

/// Where messages are received.
pub(super) struct Received {
    room: Vec<u8>,
    metas: [RecvMeta; MESSAGES],
}

impl Default for Received {
    fn default() -> Self {
        Self { room: vec![0; MESSAGES * MESSAGE_BYTES], metas: [RecvMeta::default(); MESSAGES] }
    }
}

impl Receiver {
    async fn receive(&self, received: &mut Received) -> io::Result<usize> {
        let Received { room, metas } = received;
        let socket = self.socket.socket();
        let receive = || {
            let mut places = room.chunks_mut(MESSAGE_BYTES);
            let mut slices: [IoSliceMut<'_>; MESSAGES] =
                std::array::from_fn(|_| IoSliceMut::new(places.next().unwrap_or_default()));
            self.state.recv(UdpSockRef::from(socket), &mut slices, metas)
        };
        socket.async_io(Interest::READABLE, receive).await
    }
}

impl UdpRecv for Receiver {
    type RecvManyBuf = Received;

    async fn recv_from(&mut self, pool: &mut PacketBufPool) -> io::Result<(Packet, SocketAddr)> {
        self.socket.recv_from(pool).await
    }

    async fn recv_many_from(
        &mut self,
        received: &mut Received,
        // Its buffers come round so late that each is out of the cache by then, which costs more than to allocate.
        _pool: &mut PacketBufPool,
        packets: &mut Vec<(Packet, SocketAddr)>,
    ) -> io::Result<()> {
        let count = self.receive(received).await.inspect_err(|error| self.life.end(error))?;
        let places = received.room.chunks(MESSAGE_BYTES);
        for (place, meta) in places.zip(&received.metas[..count]) {
            let source = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
            // An empty datagram has no stride.
            for segment in place[..meta.len].chunks(meta.stride.max(1)) {
                let packet = Packet::from_bytes(segment.into());
                packets.push((packet, source));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of these lengths to ports of one host.
    fn packets(of: &[(usize, u16)]) -> Vec<(Packet, SocketAddr)> {
        let packet = |&(bytes, port): &(usize, u16)| {
            (Packet::from_bytes(vec![0; bytes].as_slice().into()), SocketAddr::from(([192, 0, 2, 1], port)))
        };
        of.iter().map(packet).collect()
    }

    #[test]
    fn packets_of_one_length_to_one_peer_go_together_and_a_shorter_one_ends_them() {
        for (of, most, expected) in [
            (&[(100, 1)][..], 64, 1),
            (&[(100, 1), (100, 1), (100, 1)], 64, 3),
            (&[(100, 1), (100, 1), (40, 1), (100, 1)], 64, 3),
            (&[(40, 1), (100, 1)], 64, 1),
            (&[(100, 1), (100, 2)], 64, 1),
            (&[(100, 1), (100, 1), (100, 1)], 2, 2),
            (&[(40_000, 1), (40_000, 1)], 64, 1),
            (&[(100, 1), (100, 1)], 1, 1),
            (&[], 64, 0),
        ] {
            assert_eq!(run_length(&packets(of), most), expected, "{of:?}");
        }
    }
}
