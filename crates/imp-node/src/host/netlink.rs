//! Talks to the kernel about links, routes and rules (rtnetlink, RFC 3549).

use std::future::Future;
use std::io;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::{Error, Handle, new_connection};

/// Does some work with a connection to the kernel, which is closed after it.
pub(crate) async fn with_kernel<A, F: Future<Output = io::Result<A>>>(
    work: impl FnOnce(Handle) -> F,
) -> io::Result<A> {
    let (connection, handle, _) = new_connection()?;
    let work = work(handle);
    tokio::select! {
        done = work => done,
        () = connection => Err(io::Error::other("the connection to the kernel is closed")),
    }
}

/// What the kernel said, as the error that it stands for.
pub(crate) fn to_io(error: Error) -> io::Error {
    match error {
        Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

/// The names of all interfaces by their index.
pub(crate) async fn interfaces(kernel: &Handle) -> io::Result<Vec<(u32, String)>> {
    let links: Vec<_> = kernel.link().get().execute().try_collect().await.map_err(to_io)?;
    let named = links.into_iter().filter_map(|link| {
        let name = link.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        })?;
        Some((link.header.index, name))
    });
    Ok(named.collect())
}

/// The index of an interface, if it is there.
pub(crate) async fn index_of(kernel: &Handle, name: &str) -> io::Result<Option<u32>> {
    Ok(interfaces(kernel).await?.into_iter().find(|(_, other)| other == name).map(|(index, _)| index))
}
