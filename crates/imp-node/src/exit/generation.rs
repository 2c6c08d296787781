//! The number of the firewall's rules, which is another one after each change of anybody's (linux/netfilter/nf_tables.h).

use std::io;

use rtnetlink::packet_core::{NLM_F_REQUEST, NLMSG_ERROR};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};

/// NFNL_SUBSYS_NFTABLES, and NFT_MSG_GETGEN in it.
const ASK: u16 = 10 << 8 | 16;

/// NFTA_GEN_ID.
const NUMBER: u16 = 1;

/// The kernel's header of a message, and netfilter's after it.
const HEADER_BYTES: usize = 16;
const HEADERS_BYTES: usize = HEADER_BYTES + 4;

/// Asks for the number, in the network namespace of this thread. The kernel answers at once.
pub(super) fn now() -> io::Result<u32> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    let mut ask = Vec::with_capacity(HEADERS_BYTES);
    ask.extend((HEADERS_BYTES as u32).to_ne_bytes());
    ask.extend(ASK.to_ne_bytes());
    ask.extend(NLM_F_REQUEST.to_ne_bytes());
    ask.resize(HEADERS_BYTES, 0);
    socket.send_to(&ask, &SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    read(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn read(answer: &[u8]) -> Option<u32> {
    if u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?) == NLMSG_ERROR {
        return None;
    }
    let mut attributes = answer.get(HEADERS_BYTES..)?;
    while let Some((head, rest)) = attributes.split_at_checked(4) {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = rest.get(..length.checked_sub(4)?)?;
        if u16::from_ne_bytes([head[2], head[3]]) == NUMBER {
            return Some(u32::from_be_bytes(value.try_into().ok()?));
        }
        // Each begins at a multiple of four bytes.
        attributes = rest.get(value.len().next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with these attributes.
    fn answer(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; HEADERS_BYTES];
        for (kind, value) in attributes {
            bytes.extend((value.len() as u16 + 4).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn the_number_is_found_among_other_attributes() {
        assert_eq!(read(&answer(&[(1, &[0, 0, 1, 2])])), Some(258));
        assert_eq!(read(&answer(&[(3, b"nft\0a"), (1, &[0, 0, 0, 7]), (2, &[0; 4])])), Some(7));
    }

    #[test]
    fn an_answer_without_a_number_is_none() {
        let mut error = answer(&[(1, &[0; 4])]);
        error[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        for bytes in [&[][..], &[0; 20], &answer(&[(2, &[0; 4])]), &answer(&[(1, &[0; 3])]), &error] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
    }
}
