//! The interface as the kernel's network sees it: its addresses, its MTU, and whether it is there (rtnetlink, RFC 3549).

use std::fs;
use std::io;

use ipnet::IpNet;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{Handle, LinkUnspec};

use super::port::DeviceError;
use crate::host::netlink::{index_of, to_io, with_kernel};

/// Whether there is an interface of this name.
pub(super) async fn exists(name: &str) -> io::Result<bool> {
    with_kernel(async |kernel| Ok(index_of(&kernel, name).await?.is_some())).await
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
