//! A connection to the kernel's WireGuard. Its calls block, for as long as the kernel takes to do what it is asked for.

use std::io;

use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_packet_wireguard::WireguardMessage;
use rtnetlink::packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, ParseableParametrized,
};
use rtnetlink::sys::protocols::NETLINK_GENERIC;
use rtnetlink::sys::{Socket, SocketAddr};

use super::message::Message;

/// A connection. It is of the network namespace of the thread that made it, whoever uses it.
pub(super) struct Kernel {
    socket: Socket,
    /// The number by which the kernel calls WireGuard; others have others.
    family: u16,
    sequence: u32,
}

impl Kernel {
    /// Connects. Fails with `ENOENT` where the kernel has no WireGuard.
    pub(super) fn connect() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let mut kernel = Self { socket, family: 0, sequence: 0 };
        kernel.family = kernel.find_family()?;
        Ok(kernel)
    }

    fn find_family(&mut self) -> io::Result<u16> {
        let name = GenlCtrlAttrs::FamilyName(WireguardMessage::family_name().to_owned());
        let ask = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] });
        let answers = self.exchange(ask, NLM_F_ACK)?;
        let id = answers.into_iter().flat_map(|answer| answer.nlas).find_map(|attribute| match attribute {
            GenlCtrlAttrs::FamilyId(id) => Some(id),
            _ => None,
        });
        id.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Changes an interface.
    pub(super) fn set(&mut self, message: Message) -> io::Result<()> {
        self.exchange(self.addressed(message), NLM_F_ACK).map(|_| ())
    }

    /// Reads an interface.
    pub(super) fn get(&mut self, message: Message) -> io::Result<Vec<Message>> {
        self.exchange(self.addressed(message), NLM_F_DUMP)
    }

    fn addressed(&self, message: Message) -> GenlMessage<Message> {
        let mut message = GenlMessage::from_payload(message);
        message.set_resolved_family_id(self.family);
        message
    }

    /// Sends a request and receives what is said about it, to the end.
    fn exchange<M>(&mut self, request: GenlMessage<M>, flags: u16) -> io::Result<Vec<M>>
    where
        M: GenlFamily
            + Emitable
            + ParseableParametrized<[u8], GenlHeader>
            + Clone
            + std::fmt::Debug
            + PartialEq
            + Eq,
    {
        self.sequence += 1;
        let mut request = NetlinkMessage::from(request);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let answer = NetlinkMessage::<GenlMessage<M>>::deserialize(rest).map_err(io::Error::other)?;
                // Messages begin at multiples of four bytes.
                let length = (answer.header.length as usize).next_multiple_of(4).min(rest.len());
                rest = &rest[length..];
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => answers.push(message.payload),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                    _ => {}
                }
            }
        }
    }
}
