//! The interface as the kernel's network sees it: its addresses, its MTU, and whether it is there (rtnetlink, RFC 3549).

use std::fs;
use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use ipnet::IpNet;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, LinkUnspec, LinkWireguard, MulticastGroup, new_multicast_connection};
use tokio::time::sleep;

use super::port::DeviceError;
use crate::host::netlink::{index_of, interfaces, to_io, with_kernel};

/// How long it takes until the kernel is asked again for word of an interface.
const RETRY: Duration = Duration::from_secs(1);

/// What became of a link that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is there, under this index.
    Made(u32),
    /// There is one of this name.
    NameInUse,
}

/// The index of an interface, if there is one of this name.
pub(super) async fn index(name: &str) -> io::Result<Option<u32>> {
    with_kernel(async |kernel| index_of(&kernel, name).await).await
}

/// Makes a link of the kernel's WireGuard.
pub(super) async fn add_wireguard(name: &str) -> io::Result<Added> {
    with_kernel(async |kernel| {
        let added = kernel.link().add(LinkWireguard::new(name).build()).execute().await.map_err(to_io);
        match added {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Added::NameInUse),
            added => added?,
        }
        let index = index_of(&kernel, name).await?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Added::Made(index))
    })
    .await
}

/// Deletes a link. It is gone when this returns.
pub(super) async fn delete(index: u32) -> io::Result<()> {
    with_kernel(async |kernel| kernel.link().del(index).execute().await.map_err(to_io)).await
}

/// Waits until a link is gone.
pub(super) async fn gone(index: u32) {
    while let Err(error) = hear_of_end(index).await {
        tracing::debug!(%error, "cannot hear of the end of an interface");
        sleep(RETRY).await;
    }
}

async fn hear_of_end(index: u32) -> io::Result<()> {
    let (connection, kernel, mut messages) = new_multicast_connection(&[MulticastGroup::Link])?;
    let is_there = async || {
        let there = interfaces(&kernel).await?;
        io::Result::Ok(there.iter().any(|(other, _)| *other == index))
    };
    let hear = async {
        // Only now: what happens from here on is told.
        if !is_there().await? {
            return Ok(());
        }
        while let Some((message, _)) = messages.next().await {
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                    // Bridges tell in the same way of links that leave them.
                    let is_link = link.header.interface_family == AddressFamily::Unspec;
                    if is_link && link.header.index == index {
                        return Ok(());
                    }
                }
                NetlinkPayload::Overrun(_) if !is_there().await? => return Ok(()),
                _ => {}
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    };
    tokio::select! {
        heard = hear => heard,
        () = connection => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Gives an interface its addresses and its MTU, and takes it up.
pub(super) async fn set_up(name: &str, addresses: &[IpNet], mtu: u16) -> Result<(), DeviceError> {
    if !addresses.iter().any(|address| matches!(address, IpNet::V6(_))) {
        switch_ipv6_off(name);
    }
    let mut refused = None;
    let done = with_kernel(async |kernel| {
        let index = index_of(&kernel, name).await?.ok_or(io::ErrorKind::NotFound)?;
        change(&kernel, LinkUnspec::new_with_index(index).mtu(mtu.into()).build()).await?;
        for address in addresses {
            let added = kernel.address().add(index, address.addr(), address.prefix_len()).execute().await;
            if let Err(error) = added.map_err(to_io) {
                refused = Some(address.addr());
                return Err(error);
            }
        }
        change(&kernel, LinkUnspec::new_with_index(index).up().build()).await
    })
    .await;
    done.map_err(|source| match refused {
        Some(address) => DeviceError::Address { name: name.to_owned(), address, source },
        None => DeviceError::system(name, "take it up", source),
    })
}

async fn change(kernel: &Handle, link: LinkMessage) -> io::Result<()> {
    kernel.link().change(link).execute().await.map_err(to_io)
}

/// Without an IPv6 address of its own an interface would get one for its link only, and speak about it to nobody.
fn switch_ipv6_off(name: &str) {
    let variable = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
    match fs::write(variable, "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!(interface = name, %error, "cannot switch IPv6 off");
        }
        _ => {}
    }
}
