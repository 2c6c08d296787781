//! As much of a TURN client (RFC 8656) as makes a server relay: an allocation, a permission and a channel.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use crate::load::readable;

/// The first channel of the range for clients.
pub(crate) const CHANNEL: u16 = 0x4000;

const ALLOCATE: u16 = 0x0003;
const CREATE_PERMISSION: u16 = 0x0008;
const CHANNEL_BIND: u16 = 0x0009;
/// Set in the type of an answer that grants what was asked for.
const SUCCESS: u16 = 0x0100;

const CHANNEL_NUMBER: u16 = 0x000c;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_TRANSPORT: u16 = 0x0019;

const MAGIC_COOKIE: u32 = 0x2112_a442;
const HEAD_BYTES: usize = 20;
const UDP: u8 = 17;
const IPV4: u8 = 1;

/// A request is repeated so often, until it is given up.
const REPEAT: Duration = Duration::from_millis(200);
const GIVE_UP: Duration = Duration::from_secs(10);

/// Asks for a relayed address.
pub(crate) fn allocate(socket: &UdpSocket, server: SocketAddr) -> io::Result<SocketAddr> {
    let answer = ask(socket, server, ALLOCATE, &[(REQUESTED_TRANSPORT, &[UDP, 0, 0, 0])])?;
    attributes(&answer)
        .find(|(kind, _)| *kind == XOR_RELAYED_ADDRESS)
        .and_then(|(_, value)| decode_addr(value))
        .ok_or_else(|| io::Error::other("the TURN server told no relayed address"))
}

/// Lets this peer in and gives it [`CHANNEL`].
pub(crate) fn bind_channel(socket: &UdpSocket, server: SocketAddr, peer: SocketAddr) -> io::Result<()> {
    let peer = encode_addr(peer)?;
    ask(socket, server, CREATE_PERMISSION, &[(XOR_PEER_ADDRESS, &peer)])?;
    let [high, low] = CHANNEL.to_be_bytes();
    let number = [high, low, 0, 0];
    ask(socket, server, CHANNEL_BIND, &[(CHANNEL_NUMBER, &number), (XOR_PEER_ADDRESS, &peer)]).map(drop)
}

/// The attributes of the answer.
fn ask(
    socket: &UdpSocket,
    server: SocketAddr,
    method: u16,
    attributes: &[(u16, &[u8])],
) -> io::Result<Vec<u8>> {
    let transaction = uuid::Uuid::new_v4().into_bytes()[..12].to_vec();
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend((value.len() as u16).to_be_bytes());
        body.extend(*value);
    }
    let mut request = method.to_be_bytes().to_vec();
    request.extend((body.len() as u16).to_be_bytes());
    request.extend(MAGIC_COOKIE.to_be_bytes());
    request.extend(&transaction);
    request.extend(body);

    let begun = Instant::now();
    let mut answer = [0; 2048];
    while begun.elapsed() < GIVE_UP {
        socket.send_to(&request, server)?;
        while readable(socket, REPEAT) {
            let Ok((length, _)) = socket.recv_from(&mut answer) else { continue };
            if length < HEAD_BYTES || answer[8..HEAD_BYTES] != transaction[..] {
                continue;
            }
            let kind = u16::from_be_bytes([answer[0], answer[1]]);
            if kind != method | SUCCESS {
                return Err(io::Error::other(format!(
                    "the TURN server answers {method:#06x} with {kind:#06x}"
                )));
            }
            return Ok(answer[HEAD_BYTES..length].to_vec());
        }
    }
    Err(io::Error::other("the TURN server does not answer"))
}

fn attributes(mut body: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = body.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..length)?;
        body = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_be_bytes([head[0], head[1]]), value))
    })
}

fn encode_addr(addr: SocketAddr) -> io::Result<[u8; 8]> {
    let SocketAddr::V4(addr) = addr else { return Err(io::Error::other("the benchmark speaks IPv4")) };
    let port = (addr.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes();
    let ip = (u32::from(*addr.ip()) ^ MAGIC_COOKIE).to_be_bytes();
    Ok([0, IPV4, port[0], port[1], ip[0], ip[1], ip[2], ip[3]])
}

fn decode_addr(value: &[u8]) -> Option<SocketAddr> {
    let &[_, IPV4, high, low, a, b, c, d] = value else { return None };
    let port = u16::from_be_bytes([high, low]) ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = Ipv4Addr::from(u32::from_be_bytes([a, b, c, d]) ^ MAGIC_COOKIE);
    Some(SocketAddrV4::new(ip, port).into())
}
