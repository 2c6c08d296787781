//! The least that a relay can do with the same batching: two sockets, two known ends, nothing learned, counted or limited.

use std::io::{self, IoSliceMut, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};

use crate::load::readable;

/// The most that goes out in one call, as UDP over IPv4 allows it.
const MOST_JOINED_BYTES: usize = 65_507;

const MESSAGE_BYTES: usize = 65_536;

/// From one message to the next: a power of two would have all of them share few places of the cache.
const PLACE_BYTES: usize = MESSAGE_BYTES + 33 * 64;

/// How long a thread waits before it looks again.
const WAIT: Duration = Duration::from_secs(3600);

struct Side {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Side {
    fn bind() -> io::Result<Arc<Self>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let state = UdpSocketState::new((&socket).into())?;
        // As much as coturn asks for: less holds no flood for the time that others have the CPU.
        state.set_recv_buffer_size((&socket).into(), 2 << 20)?;
        Ok(Arc::new(Self { socket, state }))
    }

    fn send(&self, destination: SocketAddr, contents: &[u8], segment: usize) {
        let transmit =
            Transmit { destination, ecn: None, contents, segment_size: Some(segment), src_ip: None };
        // What cannot be sent is lost, as in any relay.
        let _ = self.state.try_send((&self.socket).into(), &transmit);
    }
}

/// Forwards between these ends until the input ends; says first where each of them sends to.
pub(crate) fn run(sender: SocketAddr, receiver: SocketAddr) -> io::Result<()> {
    let (left, right) = (Side::bind()?, Side::bind()?);
    println!("{} {}", left.socket.local_addr()?, right.socket.local_addr()?);
    io::stdout().flush()?;
    let (from, to) = (Arc::clone(&left), Arc::clone(&right));
    thread::spawn(move || forward(&from, &to, receiver));
    thread::spawn(move || forward(&right, &left, sender));
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

fn forward(from: &Side, to: &Side, destination: SocketAddr) {
    let mut room = vec![0; BATCH_SIZE * PLACE_BYTES];
    let mut slices: Vec<_> =
        room.chunks_mut(PLACE_BYTES).map(|place| IoSliceMut::new(&mut place[..MESSAGE_BYTES])).collect();
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    let mut joined = Vec::with_capacity(MOST_JOINED_BYTES);
    loop {
        let count = from.state.recv((&from.socket).into(), &mut slices, &mut metas).unwrap_or(0);
        let mut next = 0;
        while next < count {
            let (first, segment) = (next, metas[next].stride);
            next += 1;
            let mut bytes = metas[first].len;
            while next < count && fits(bytes, &metas[next], segment, to.state.max_gso_segments()) {
                bytes += metas[next].len;
                next += 1;
            }
            if next - first == 1 {
                to.send(destination, &slices[first][..bytes], segment);
            } else {
                joined.clear();
                for (slice, meta) in slices[first..next].iter().zip(&metas[first..next]) {
                    joined.extend_from_slice(&slice[..meta.len]);
                }
                to.send(destination, &joined, segment);
            }
        }
        if count < BATCH_SIZE {
            readable(&from.socket, WAIT);
        }
    }
}

/// Whether a message can follow so many bytes in the same call: all packets but the last are of one length.
fn fits(bytes: usize, meta: &RecvMeta, segment: usize, most: usize) -> bool {
    let total = bytes + meta.len;
    segment > 0
        && meta.stride == segment
        && bytes.is_multiple_of(segment)
        && total <= MOST_JOINED_BYTES
        && total.div_ceil(segment) <= most
}
