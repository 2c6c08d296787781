//! Packets in batches, without an allocation or a copy that can be avoided.
//!
//! A call to the system costs more than anything a relay does with a packet. One call receives up to 32 *messages*, each of
//! one or, where the kernel joined them (GRO), of many packets of one length. What goes out to one destination in one length
//! goes out in one call again (GSO): a message as it came, or small ones joined in a buffer.

use std::array;
use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use imp_core::relay::Dropped;
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit};
use rustix::io::Errno;

use super::sockets::Socket;

/// No packet, and no message of many, is longer.
const MESSAGE_BYTES: usize = 65_536;

/// From one message's place to the next: not a power of two, or the beginnings of all of them would share the few places
/// that a cache has for such addresses.
const PLACE_BYTES: usize = MESSAGE_BYTES + 33 * 64;

/// The longest packet that is sent in one call with others: what Ethernet carries in one piece under IPv6. The system refuses
/// longer ones to a network that cannot carry them, and is then not asked again for this socket.
const LONGEST_JOINED_BYTES: usize = 1_452;

/// The most that goes out in one call: a little less than what a packet's length field can hold with any header.
const MOST_JOINED_BYTES: usize = 65_000;

thread_local! {
    /// The buffers of an engine's thread, for whichever relay has its turn.
    static BATCH: RefCell<Batch> = RefCell::new(Batch::new());
}

/// Buffers for a batch.
pub(super) struct Batch {
    pub(super) received: Received,
    pub(super) outgoing: Outgoing,
}

/// What one call received.
pub(super) struct Received {
    room: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    count: usize,
}

/// What is to be sent on of it.
pub(super) struct Outgoing {
    pieces: Vec<Piece>,
    joined: Vec<u8>,
}

/// One packet, or several of one source that the kernel joined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// Where it came from, in the form that the socket has.
    pub(super) source: SocketAddr,
    /// To which address of this host it came.
    pub(super) reached: Option<IpAddr>,
    pub(super) bytes: &'a [u8],
    /// The length of each packet but the last.
    pub(super) stride: usize,
    pub(super) ecn: Option<EcnCodepoint>,
    start: usize,
}

/// Packets that follow each other in the buffer and are to be sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    at: Range<usize>,
    stride: usize,
    ecn: Option<EcnCodepoint>,
}

/// Where to send, and from which address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route<'a> {
    pub(super) socket: &'a Socket,
    /// In any form.
    pub(super) to: SocketAddr,
    /// The address of this host that its user knows; nothing for what the system chooses.
    pub(super) from: Option<IpAddr>,
}

/// Packets that were not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsent {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) why: Dropped,
}

/// Runs with the buffers of this thread.
pub(super) fn with_batch<T>(work: impl FnOnce(&mut Batch) -> T) -> T {
    BATCH.with_borrow_mut(work)
}

impl Batch {
    fn new() -> Self {
        // Zeroed pages that nobody has touched take no memory.
        Self {
            received: Received {
                room: vec![0; BATCH_SIZE * PLACE_BYTES],
                metas: [RecvMeta::default(); BATCH_SIZE],
                count: 0,
            },
            outgoing: Outgoing { pieces: Vec::with_capacity(BATCH_SIZE), joined: vec![0; MOST_JOINED_BYTES] },
        }
    }
}

impl Received {
    /// Receives what waits, up to a full batch.
    pub(super) fn receive(&mut self, socket: &Socket) {
        let Self { room, metas, count } = self;
        let mut places = room.chunks_exact_mut(PLACE_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = array::from_fn(|_| {
            let place = places.next().expect("the room has a place for each message");
            IoSliceMut::new(&mut place[..MESSAGE_BYTES])
        });
        *count = socket.receive(&mut slices, metas);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.metas[..self.count].iter().zip(self.room.chunks_exact(PLACE_BYTES)).enumerate().map(
            |(index, (meta, place))| Message {
                source: meta.addr,
                reached: meta.dst_ip,
                bytes: &place[..meta.len.min(MESSAGE_BYTES)],
                stride: meta.stride,
                ecn: meta.ecn,
                start: index * PLACE_BYTES,
            },
        )
    }
}

impl Outgoing {
    /// Puts packets of a message down to be sent on.
    pub(super) fn put(&mut self, message: &Message<'_>, at: Range<usize>) {
        let stride = if message.stride == 0 { at.len() } else { message.stride };
        let at = message.start + at.start..message.start + at.end;
        self.pieces.push(Piece { at, stride, ecn: message.ecn });
    }

    /// Sends what was put down of what was received.
    pub(super) fn send(&mut self, received: &Received, route: Route<'_>, mut unsent: impl FnMut(Unsent)) {
        let Self { pieces, joined } = self;
        let room = &received.room;
        let most = route.socket.most_joined();
        let mut rest = pieces.as_slice();
        while let Some(first) = rest.first() {
            let count = joinable(rest, most);
            let (these, after) = rest.split_at(count);
            rest = after;
            if count == 1 {
                transmit(route, &room[first.at.clone()], first.stride, first.ecn, &mut unsent);
                continue;
            }
            let mut end = 0;
            for piece in these {
                let bytes = &room[piece.at.clone()];
                joined[end..end + bytes.len()].copy_from_slice(bytes);
                end += bytes.len();
            }
            transmit(route, &joined[..end], first.stride, first.ecn, &mut unsent);
        }
        pieces.clear();
    }
}

/// How many of the first pieces go out in one call; at least 1.
fn joinable(pieces: &[Piece], most: usize) -> usize {
    let Some((first, others)) = pieces.split_first() else { return 0 };
    if first.stride == 0 || first.stride > LONGEST_JOINED_BYTES {
        return 1;
    }
    let mut bytes = first.at.len();
    let mut count = 1;
    for piece in others {
        let total = bytes + piece.at.len();
        // Only the last packet of a call may be shorter than the others, and none may be empty.
        let fits = bytes.is_multiple_of(first.stride)
            && piece.ecn == first.ecn
            && !piece.at.is_empty()
            && (piece.stride == first.stride
                || piece.at.len() < first.stride && piece.at.len() <= piece.stride)
            && total <= MOST_JOINED_BYTES
            && total.div_ceil(first.stride) <= most;
        if !fits {
            break;
        }
        bytes = total;
        count += 1;
    }
    count
}

/// Sends packets of one length, all at once where the system can.
fn transmit(
    route: Route<'_>,
    bytes: &[u8],
    stride: usize,
    ecn: Option<EcnCodepoint>,
    unsent: &mut impl FnMut(Unsent),
) {
    let stride = stride.max(1);
    let most = route.socket.most_joined();
    let is_joined = bytes.len() > stride && stride <= LONGEST_JOINED_BYTES && most > 1;
    if is_joined && bytes.len() <= most * stride {
        match send(route, bytes, Some(stride), ecn) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let packets = bytes.len().div_ceil(stride) as u64;
                unsent(Unsent { packets, bytes: bytes.len() as u64, why: Dropped::Send });
                return;
            }
            // The network cannot take them in one go, or at all: each for itself tells.
            Err(_) => {}
        }
    }
    let mut one = |packet: &[u8]| {
        let Err(error) = send(route, packet, None, ecn) else { return };
        let why = if quinn_udp::is_msg_size_err(&error) { Dropped::TooLong } else { Dropped::Send };
        unsent(Unsent { packets: 1, bytes: packet.len() as u64, why });
    };
    if bytes.is_empty() {
        one(bytes);
    } else {
        bytes.chunks(stride).for_each(one);
    }
}

/// Sends in one call; once more where the failure was not this packet's.
pub(super) fn send(
    route: Route<'_>,
    contents: &[u8],
    segment_size: Option<usize>,
    ecn: Option<EcnCodepoint>,
) -> io::Result<()> {
    let Route { socket, to, from } = route;
    let transmit = Transmit { destination: socket.reaches(to), ecn, contents, segment_size, src_ip: from };
    let error = match socket.send(&transmit) {
        Err(error) => error,
        Ok(()) => return Ok(()),
    };
    // The address may be gone, or have been one that packets can only come to.
    let is_address = [Errno::INVAL, Errno::ADDRNOTAVAIL, Errno::NETUNREACH]
        .map(Errno::raw_os_error)
        .contains(&error.raw_os_error().unwrap_or(0));
    if is_address && from.is_some() {
        let sent = socket.send(&Transmit { src_ip: None, ..transmit });
        if sent.is_ok() {
            socket.lose_address();
        }
        return sent;
    }
    // An earlier packet met nobody, which is told to the next one.
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return socket.send(&transmit);
    }
    Err(error)
}

#[cfg(test)]
mod tests;
