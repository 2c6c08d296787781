//! Sockets of relays: bound on all addresses, of both families where the host has both, with large buffers.

use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use imp_core::relay::{canonical, carried};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What the kernel may keep for a socket each way, if the system allows so much: bursts come in while a thread is with other
/// relays. It takes memory only while packets wait.
const KERNEL_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// Errors of earlier packets, which ICMP brought, that are passed over for what is received after them.
const MOST_ERRORS: usize = 8;

/// Which addresses sockets are bound on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `[::]`, for IPv4 too.
    Both,
    /// `0.0.0.0`.
    V4,
}

/// A socket that receives and sends in batches.
#[derive(Debug)]
pub(super) struct Socket {
    // Waits for packets only: what is sent frees room, and each time the thread would be woken to hear of it.
    io: AsyncFd<StdSocket>,
    state: UdpSocketState,
    is_v6: bool,
    has_lost_address: Cell<bool>,
}

/// A socket on a port that is taken note of as a relay's.
#[derive(Debug)]
pub(super) struct RelaySocket {
    // First, so that it is closed when the port is no longer taken note of.
    pub(super) socket: Socket,
    claim: Claim,
}

/// A port that is noted in [`OwnPorts`] while this is.
#[derive(Debug)]
pub(super) struct Claim {
    port: u16,
    own: Arc<OwnPorts>,
}

/// The ports of this node's relays, or of its ways to those of others.
#[derive(Debug)]
pub(super) struct OwnPorts {
    bits: Box<[AtomicU64]>,
    addresses: Vec<IpAddr>,
}

impl Family {
    pub(super) fn of_this_host() -> Self {
        if Self::Both.bind(0).is_ok() { Self::Both } else { Self::V4 }
    }

    fn bind(self, port: u16) -> io::Result<StdSocket> {
        let family = if self == Self::Both { AddressFamily::INET6 } else { AddressFamily::INET };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        let ip = match self {
            Self::Both => {
                // The system's default is a setting of the administrator (`net.ipv6.bindv6only`).
                sockopt::set_ipv6_v6only(&socket, false)?;
                IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            }
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        rustix::net::bind(&socket, &SocketAddr::new(ip, port))?;
        Ok(socket.into())
    }
}

impl Socket {
    /// Takes a bound socket into the runtime that is entered.
    pub(super) fn new(socket: StdSocket) -> io::Result<Self> {
        let is_v6 = socket.local_addr()?.is_ipv6();
        let state = state_of(&socket)?;
        // Best effort: the administrator's limit cuts them.
        let _ = sockopt::set_socket_recv_buffer_size(&socket, KERNEL_BUFFER_BYTES);
        let _ = sockopt::set_socket_send_buffer_size(&socket, KERNEL_BUFFER_BYTES);
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe, for the sake of types whose descriptor may change"
        )]
        let io = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self { io, state, is_v6, has_lost_address: Cell::new(false) })
    }

    /// Ready where packets may wait; an error says that the runtime ends.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_read_ready(cx).map_ok(|_| ())
    }

    /// Receives up to a full batch; how many messages. Where that may have been all, [`Self::poll_readable`] waits again.
    pub(super) fn receive(&self, into: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        let mut received = 0;
        // It is the error that has it wait again. A batch that is not full says that the socket is empty, which saves the
        // call that would say so; what comes meanwhile makes it ready once more.
        let _ = self.io.try_io(Interest::READABLE, |socket| {
            for _ in 0..MOST_ERRORS {
                match self.state.recv(socket.into(), into, metas) {
                    Ok(count) if count == into.len() => {
                        received = count;
                        return Ok(());
                    }
                    Ok(count) => {
                        received = count;
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // An earlier packet met nobody. That is no concern of those that wait here.
                    Err(_) => {}
                }
            }
            Err(io::ErrorKind::WouldBlock.into())
        });
        received
    }

    /// Sends in one call.
    pub(super) fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.state.try_send(self.io.get_ref().into(), transmit)
    }

    /// Takes note that an address was to be sent from that is not this host's any more.
    pub(super) fn lose_address(&self) {
        self.has_lost_address.set(true);
    }

    /// Whether there was such an address since this was asked last. To `UdpSocketState` it looks like a system that cannot
    /// send many packets in one call, nor ECN marks, which it then never asks for again: so that begins anew.
    pub(super) fn has_lost_address(&mut self) -> bool {
        let has_lost = self.has_lost_address.take();
        if has_lost && let Ok(state) = state_of(self.io.get_ref()) {
            self.state = state;
        }
        has_lost
    }

    /// How many packets may go out in one call.
    pub(super) fn most_joined(&self) -> usize {
        self.state.max_gso_segments()
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// An address in the form in which this socket sends to it.
    pub(super) fn reaches(&self, to: SocketAddr) -> SocketAddr {
        match to {
            SocketAddr::V4(v4) if self.is_v6 => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
            _ => to,
        }
    }
}

fn state_of(socket: &StdSocket) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(socket.into())?;
    // `UdpSocketState` forbids fragments, for a protocol that looks for the path's size. A relay does not know what its
    // programs need: where one of them sent a packet in fragments, it must go on in fragments. OMIT does so and takes no
    // forged "too big" for true. IPv6 stays without.
    let _ = sockopt::set_ip_mtu_discover(socket, sockopt::Ipv4PathMtuDiscovery::OMIT);
    Ok(state)
}

impl RelaySocket {
    /// Binds a port for a relay.
    pub(super) fn bind(family: Family, port: u16, own: &Arc<OwnPorts>) -> io::Result<Self> {
        let socket = family.bind(port)?;
        let port = socket.local_addr()?.port();
        let claim = Claim::new(port, Arc::clone(own));
        Ok(Self { socket: Socket::new(socket)?, claim })
    }

    pub(super) const fn port(&self) -> u16 {
        self.claim.port
    }
}

impl Claim {
    pub(super) fn new(port: u16, own: Arc<OwnPorts>) -> Self {
        let (word, bit) = OwnPorts::place(port);
        own.bits[word].fetch_or(bit, Ordering::Relaxed);
        Self { port, own }
    }

    /// Whether a source on this host has a port that is noted beside this one, or this one.
    pub(super) fn is_one_of_ours(&self, source: SocketAddr) -> bool {
        source.ip().is_loopback() && self.own.has(source.port())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (word, bit) = OwnPorts::place(self.port);
        self.own.bits[word].fetch_and(!bit, Ordering::Relaxed);
    }
}

impl OwnPorts {
    pub(super) fn new(addresses: Vec<IpAddr>) -> Self {
        let words = (usize::from(u16::MAX) + 1) / 64;
        Self { bits: (0..words).map(|_| AtomicU64::new(0)).collect(), addresses }
    }

    fn place(port: u16) -> (usize, u64) {
        (usize::from(port / 64), 1 << (port % 64))
    }

    pub(super) fn has(&self, port: u16) -> bool {
        let (word, bit) = Self::place(port);
        self.bits[word].load(Ordering::Relaxed) & bit != 0
    }

    /// Whether a source is a relay socket of this node.
    pub(super) fn is_relay(&self, source: SocketAddr) -> bool {
        // A source must have a port of ours to get any further, so that the system is asked seldom.
        self.has(source.port()) && self.is_own(source)
    }

    /// Whether an address is this host's, or one under which this node is reached.
    pub(super) fn is_own_address(&self, ip: IpAddr) -> bool {
        self.is_own(SocketAddr::new(ip, 0))
    }

    fn is_own(&self, address: SocketAddr) -> bool {
        let address = canonical(address);
        let stands_for = carried(address.ip());
        [address, SocketAddr::new(stands_for, 0)].into_iter().any(|address| {
            address.ip().is_loopback() || self.addresses.contains(&address.ip()) || is_of_this_host(address)
        })
    }
}

/// Whether an address, in [`canonical`] form, is this host's at this moment: they come and go.
pub(super) fn is_of_this_host(mut address: SocketAddr) -> bool {
    address.set_port(0);
    // Mostly the system lets a socket be bound on its own addresses only. With `net.ipv4.ip_nonlocal_bind`, which hosts that
    // take over each other's addresses have, it lets it be on any.
    StdSocket::bind(address).is_ok() && (!binds_anywhere(address.ip()) || leads_to_itself(address))
}

/// Whether the system binds an address of documentation (RFC 5737, RFC 3849), which is nobody's.
fn binds_anywhere(like: IpAddr) -> bool {
    let nobodys: IpAddr = match like {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    StdSocket::bind((nobodys, 0)).is_ok()
}

/// Whether packets to an address would leave from that address, as those to most own ones do: not those to a second one of
/// the same network, which the system sends from the first.
fn leads_to_itself(mut address: SocketAddr) -> bool {
    // For UDP, to connect is to look up the route; nothing is sent, to whatever port.
    address.set_port(9);
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = StdSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(address)?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_socket_is_known_by_its_port_on_any_address_of_this_host() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _in_runtime = runtime.enter();
        let elsewhere: IpAddr = "203.0.113.5".parse().unwrap();
        let own = Arc::new(OwnPorts::new(vec![elsewhere]));
        for family in [Family::of_this_host(), Family::V4] {
            let socket = RelaySocket::bind(family, 0, &own).unwrap();
            let port = socket.port();
            for ip in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "203.0.113.5"] {
                assert!(own.is_relay(SocketAddr::new(ip.parse().unwrap(), port)), "{ip}");
            }
            assert!(!own.is_relay(SocketAddr::new("203.0.113.6".parse().unwrap(), port)));
            assert!(!own.is_relay(SocketAddr::new(elsewhere, port ^ 1)));
            drop(socket);
            assert!(!own.is_relay(SocketAddr::new(elsewhere, port)));
        }
    }

    #[test]
    fn an_address_of_this_host_is_known_by_the_way_to_it() {
        assert!(leads_to_itself("127.0.0.1:0".parse().unwrap()));
        assert!(!leads_to_itself("203.0.113.6:0".parse().unwrap()));
        assert!(is_of_this_host("127.0.0.1:0".parse().unwrap()));
        assert!(!is_of_this_host("203.0.113.6:0".parse().unwrap()));
        assert!(!is_of_this_host("192.0.2.1:0".parse().unwrap()));
        assert!(!is_of_this_host("[2001:db8::1]:0".parse().unwrap()));
    }
}
