//! Plain UDP programs: they know an address and a port, and nothing of relays.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use imp_devnet::netns::Namespace;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::lab::PATIENCE;

/// The longest payload of a UDP packet over IPv4.
pub(crate) const LONGEST: usize = 65_507;

/// A program on a host.
#[derive(Debug)]
pub(crate) struct Program {
    socket: UdpSocket,
}

impl Program {
    /// One that sends from any port by IPv4.
    pub(crate) fn on(host: &Namespace) -> Self {
        Self::at(host, (Ipv4Addr::UNSPECIFIED, 0).into())
    }

    /// One that sends from any port by IPv6.
    pub(crate) fn on_v6(host: &Namespace) -> Self {
        Self::at(host, (Ipv6Addr::UNSPECIFIED, 0).into())
    }

    /// One that sends from this address.
    pub(crate) fn at(host: &Namespace, address: SocketAddr) -> Self {
        let socket = host.udp(address);
        Self { socket: socket.unwrap_or_else(|error| panic!("{address} on {}: {error}", host.name())) }
    }

    /// One that takes packets from nobody but this address, and is told when nobody listens there.
    pub(crate) async fn connected(host: &Namespace, to: SocketAddr) -> Self {
        let program = Self::on(host);
        program.socket.connect(to).await.unwrap();
        program
    }

    pub(crate) fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    pub(crate) async fn send(&self, payload: &[u8], to: SocketAddr) {
        let sent = match self.socket.peer_addr() {
            // What came of an earlier packet is told at the next: that is for `receive`.
            Ok(_) => match self.socket.send(payload).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.socket.send(payload).await
                }
                sent => sent,
            },
            Err(_) => self.socket.send_to(payload, to).await,
        };
        assert_eq!(sent.unwrap(), payload.len());
    }

    /// The next packet, if it comes within this time, and where it came from.
    pub(crate) async fn receive_within(&self, time: Duration) -> Option<io::Result<(Vec<u8>, SocketAddr)>> {
        let mut buffer = vec![0; LONGEST];
        match timeout(time, self.socket.recv_from(&mut buffer)).await {
            Ok(Ok((length, from))) => {
                buffer.truncate(length);
                Some(Ok((buffer, from)))
            }
            Ok(Err(error)) => Some(Err(error)),
            Err(_) => None,
        }
    }

    /// The next packet and where it came from.
    pub(crate) async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let received = self.receive_within(PATIENCE).await;
        received.unwrap_or_else(|| panic!("no packet within {PATIENCE:?}")).unwrap()
    }

    /// Waits for a packet, which must be this one, and gives where it came from.
    pub(crate) async fn expect(&self, payload: &[u8]) -> SocketAddr {
        let (received, from) = self.receive().await;
        assert!(
            received == payload,
            "{} bytes {:?} instead of {} bytes {:?}",
            received.len(),
            String::from_utf8_lossy(&received[..received.len().min(40)]),
            payload.len(),
            String::from_utf8_lossy(&payload[..payload.len().min(40)]),
        );
        from
    }

    /// Sends until the system says that nobody listens. What arrives meanwhile is an error.
    pub(crate) async fn expect_refusal(&self, to: SocketAddr) {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            self.send(b"is anybody there", to).await;
            match self.receive_within(Duration::from_millis(200)).await {
                Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return,
                Some(other) => panic!("{other:?} where nobody is to listen"),
                None => assert!(tokio::time::Instant::now() < until, "{to} is not refused"),
            }
        }
    }
}

/// An address of a relay.
pub(crate) fn to(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}
