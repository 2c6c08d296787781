//! WireGuard in the kernel: the link is made over rtnetlink, its key and peers are put over generic netlink
//! (linux/wireguard.h).

mod message;
mod socket;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use imp_core::vpn::PublicKey;
use rustix::io::Errno;

use super::link::{self, Added};
use super::port::{DeviceError, DevicePeer, DeviceSpec, PeerStatus, TunnelDevice};
use super::rights;
use crate::runtime::clock::{Clock, SystemClock};
use message::Interface;
use socket::Kernel;

/// An interface of the kernel.
pub(super) struct KernelDevice {
    name: String,
    index: u32,
    listen_port: u16,
    kernel: Arc<Mutex<Kernel>>,
}

/// Whether this kernel has WireGuard. Asking loads its module.
pub(super) fn is_there() -> bool {
    Kernel::connect().is_ok()
}

/// Whether there is no interface of this name, or one with this key.
pub(super) async fn check(spec: &DeviceSpec) -> Result<(), DeviceError> {
    let name = &spec.name;
    let failed = |error: io::Error| DeviceError::system(name, "look for it", error);
    if link::index(name).await.map_err(failed)?.is_none() {
        return Ok(());
    }
    let kernel = tokio::task::spawn_blocking(Kernel::connect).await.map_err(io::Error::other);
    let kernel = Arc::new(Mutex::new(kernel.and_then(|connected| connected).map_err(failed)?));
    let is_ours = key_of(&kernel, name).await == Some(spec.private_key.public());
    if is_ours { Ok(()) } else { Err(DeviceError::NameInUse { name: name.clone() }) }
}

/// The key of an interface; nothing if it is no WireGuard interface.
async fn key_of(kernel: &Arc<Mutex<Kernel>>, name: &str) -> Option<PublicKey> {
    look(kernel, name).await.ok().and_then(|interface| interface.key)
}

/// Makes an interface. One with this key is what a killed run has left, and replaced.
pub(super) async fn open(spec: DeviceSpec) -> Result<KernelDevice, DeviceError> {
    let name = spec.name.clone();
    let kernel = tokio::task::spawn_blocking(Kernel::connect).await;
    let kernel = kernel.map_err(|error| DeviceError::system(&name, "ask for WireGuard", error))?;
    let kernel = kernel.map_err(|error| match errno(&error) {
        Some(Errno::NOENT) => DeviceError::NoKernelWireGuard,
        _ => DeviceError::system(&name, "ask for WireGuard", error),
    })?;
    let kernel = Arc::new(Mutex::new(kernel));
    let index = add(&kernel, &spec).await?;
    match configure(&kernel, &spec).await {
        Ok(listen_port) => Ok(KernelDevice { name, index, listen_port, kernel }),
        Err(error) => {
            if let Err(left) = link::delete(index).await {
                tracing::warn!(interface = %name, error = %left, "cannot delete an interface");
            }
            Err(error)
        }
    }
}

/// Makes the link, in the place of one of ours.
async fn add(kernel: &Arc<Mutex<Kernel>>, spec: &DeviceSpec) -> Result<u32, DeviceError> {
    let name = &spec.name;
    let failed = |error: io::Error| match errno(&error) {
        Some(Errno::OPNOTSUPP) => DeviceError::NoKernelWireGuard,
        Some(Errno::PERM | Errno::ACCESS) => DeviceError::Missing(rights::NO_RIGHT.to_owned()),
        _ => DeviceError::system(name, "make it", error),
    };
    if let Added::Made(index) = link::add_wireguard(name).await.map_err(failed)? {
        return Ok(index);
    }
    let there = key_of(kernel, name).await;
    let index = link::index(name).await.map_err(failed)?;
    match (there, index) {
        (Some(key), Some(index)) if key == spec.private_key.public() => {
            link::delete(index).await.map_err(failed)?;
        }
        _ => return Err(DeviceError::NameInUse { name: name.clone() }),
    }
    match link::add_wireguard(name).await.map_err(failed)? {
        Added::Made(index) => Ok(index),
        Added::NameInUse => Err(DeviceError::NameInUse { name: name.clone() }),
    }
}

/// Gives the link its key, port and addresses, and takes it up. Answers with its port.
async fn configure(kernel: &Arc<Mutex<Kernel>>, spec: &DeviceSpec) -> Result<u16, DeviceError> {
    let name = &spec.name;
    let set = message::set_up(spec);
    talk(kernel, move |kernel| kernel.set(set))
        .await
        .map_err(|error| DeviceError::system(name, "set its key", error))?;
    // The kernel takes the port when the link goes up.
    link::set_up(name, &spec.addresses, spec.mtu).await.map_err(|error| match error {
        DeviceError::System { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            DeviceError::PortInUse { port: spec.listen_port }
        }
        other => other,
    })?;
    let interface = look(kernel, name).await;
    Ok(interface.map_err(|error| DeviceError::system(name, "read its port", error))?.listen_port)
}

async fn look(kernel: &Arc<Mutex<Kernel>>, name: &str) -> io::Result<Interface> {
    let get = message::get(name);
    let answers = talk(kernel, move |kernel| kernel.get(get)).await?;
    Ok(message::read(answers, SystemClock.now()))
}

/// Talks to the kernel where it may block.
async fn talk<A: Send + 'static>(
    kernel: &Arc<Mutex<Kernel>>,
    talk: impl FnOnce(&mut MutexGuard<'_, Kernel>) -> io::Result<A> + Send + 'static,
) -> io::Result<A> {
    let kernel = Arc::clone(kernel);
    let talk = move || talk(&mut kernel.lock().unwrap_or_else(PoisonError::into_inner));
    tokio::task::spawn_blocking(talk).await.map_err(io::Error::other)?
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

impl KernelDevice {
    fn failed_to(&self, what: &'static str) -> impl Fn(io::Error) -> DeviceError {
        move |error| match errno(&error) {
            Some(Errno::NODEV) => DeviceError::gone(&self.name),
            _ => DeviceError::system(&self.name, what, error),
        }
    }

    /// Sends changes of peers, in as many messages as they need.
    async fn change(&self, what: &'static str, messages: Vec<message::Message>) -> Result<(), DeviceError> {
        let send = move |kernel: &mut MutexGuard<'_, Kernel>| {
            messages.into_iter().try_for_each(|message| kernel.set(message))
        };
        talk(&self.kernel, send).await.map_err(self.failed_to(what))
    }
}

impl fmt::Debug for KernelDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelDevice").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl TunnelDevice for KernelDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "kernel"
    }

    fn listen_port(&self) -> u16 {
        self.listen_port
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, DeviceError> {
        let interface = look(&self.kernel, &self.name).await;
        Ok(interface.map_err(self.failed_to("read its peers"))?.peers)
    }

    async fn put_peers(&self, peers: &[DevicePeer]) -> Result<(), DeviceError> {
        self.change("add peers", message::put(&self.name, peers)).await
    }

    async fn remove_peers(&self, keys: &[PublicKey]) -> Result<(), DeviceError> {
        self.change("remove peers", message::remove(&self.name, keys)).await
    }

    async fn failed(&self) {
        link::gone(self.index).await;
    }

    async fn close(&self) {
        if let Err(error) = link::delete(self.index).await
            && errno(&error) != Some(Errno::NODEV)
        {
            tracing::warn!(interface = %self.name, %error, "cannot delete an interface");
        }
    }
}
