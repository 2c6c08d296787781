//! WireGuard in this process: a TUN interface, and gotatun between it and a UDP socket.
//!
//! ```text
//!  programs <-> TUN <-> tun (joins and splits) <-> gotatun (encrypts) <-> socket (joins and splits) <-> peers
//! ```
//!
//! All of it runs in threads of its own, so that a tunnel that is full takes nothing from the API and from payments, and
//! ends with them.

mod control;
mod life;
mod peers;
mod socket;
mod tun;

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gotatun::device::{Device, DeviceBuilder};
use gotatun::x25519;
use imp_core::vpn::PublicKey;
use rustix::io::Errno;
use tokio::runtime::{Builder, Runtime};
use tun_rs::AsyncDevice;

use super::link;
use super::port::{DeviceError, DevicePeer, DeviceSpec, PeerStatus, TunnelDevice};
use super::rights;
use control::ControlSocket;
use life::Life;
use socket::Sockets;
use tun::{TunReader, TunWriter};

/// Threads of one interface: about one for what goes out and one for what comes in. With more, a packet is handed on between
/// them more often, in smaller batches, and with one nothing comes in while something goes out.
const THREADS: usize = 2;

/// How long the threads may take to let go of what they have.
const END_PATIENCE: Duration = Duration::from_secs(5);

type Wireguard = Device<(Sockets, TunWriter, TunReader)>;

/// An interface of this process.
pub(super) struct UserspaceDevice {
    name: String,
    listen_port: u16,
    life: Life,
    running: Mutex<Option<Running>>,
    /// Held while it is closed, so that whoever closes it meanwhile waits too.
    closing: tokio::sync::Mutex<()>,
}

struct Running {
    // First, so that the socket's file is gone before what it speaks for.
    _control: Option<ControlSocket>,
    wireguard: Arc<Wireguard>,
    threads: Threads,
}

/// Threads that end, some time, when this is dropped: a runtime itself may not be dropped where others are waited for.
struct Threads(Option<Runtime>);

impl Threads {
    fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name(format!("wireguard-{name}"))
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs work in the threads to its end, also if the caller gives up.
    fn run<A: Send + 'static>(
        &self,
        work: impl Future<Output = A> + Send + 'static,
    ) -> impl Future<Output = Option<A>> + Send + 'static {
        let task = self.0.as_ref().map(|runtime| runtime.spawn(work));
        async move { task?.await.ok() }
    }

    /// Ends the threads, with all that they hold.
    async fn end(mut self) {
        let Some(runtime) = self.0.take() else { return };
        // It has ended when the closure has, panic or not.
        let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(END_PATIENCE)).await;
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Whether there is no interface of this name: one of a killed run has gone with it.
pub(super) async fn check(name: &str) -> Result<(), DeviceError> {
    let there = link::index(name).await;
    match there.map_err(|error| DeviceError::system(name, "look for it", error))? {
        Some(_) => Err(DeviceError::NameInUse { name: name.to_owned() }),
        None => Ok(()),
    }
}

/// Makes an interface. One of its name that another process has, or that is no TUN, is left alone.
pub(super) async fn open(spec: DeviceSpec) -> Result<UserspaceDevice, DeviceError> {
    let name = spec.name.clone();
    check(&name).await?;
    let threads =
        Threads::start(&name).map_err(|error| DeviceError::system(&name, "start threads", error))?;
    let life = Life::new(&name);
    let made = threads.run(make(spec, life.clone())).await.unwrap_or_else(|| Err(DeviceError::gone(&name)));
    match made {
        Ok((wireguard, listen_port, control)) => Ok(UserspaceDevice {
            listen_port,
            life,
            running: Mutex::new(Some(Running { _control: control, wireguard: Arc::new(wireguard), threads })),
            closing: tokio::sync::Mutex::default(),
            name,
        }),
        Err(error) => {
            threads.end().await;
            Err(error)
        }
    }
}

/// Makes an interface in the runtime of the caller.
async fn make(spec: DeviceSpec, life: Life) -> Result<(Wireguard, u16, Option<ControlSocket>), DeviceError> {
    let name = &spec.name;
    let tun = tun_rs::DeviceBuilder::new().name(name).offload(true).enable(false).build_async();
    let tun: Arc<AsyncDevice> = Arc::new(tun.map_err(|error| not_made(name, error))?);
    let writer = TunWriter::start(Arc::clone(&tun), life.clone());
    let reader = TunReader::new(tun, spec.mtu, life.clone());
    let (server, control) = ControlSocket::open(name).unzip();
    let mut builder = DeviceBuilder::new()
        .with_udp(Sockets::new(life))
        .with_ip_pair(writer, reader)
        .with_listen_port(spec.listen_port);
    if let Some(mark) = spec.fwmark {
        builder = builder.with_fwmark(mark);
    }
    if let Some(server) = server {
        builder = builder.with_uapi(server);
    }
    let failed = |what| move |error| not_run(name, spec.listen_port, what, error);
    let wireguard = builder.build().await.map_err(failed("start it"))?;
    // With a key the socket is opened; without peers it would not be otherwise.
    let key = x25519::StaticSecret::from(*spec.private_key.as_bytes());
    wireguard.set_private_key(key).await.map_err(failed("start it"))?;
    let listen_port = wireguard.read(async |device| device.listen_port()).await;
    link::set_up(name, &spec.addresses, spec.mtu).await?;
    Ok((wireguard, listen_port, control))
}

/// Why there is no TUN interface.
fn not_made(name: &str, error: io::Error) -> DeviceError {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => DeviceError::Missing(rights::NO_RIGHT.to_owned()),
        Some(Errno::BUSY | Errno::INVAL | Errno::EXIST) => DeviceError::NameInUse { name: name.to_owned() },
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => {
            let missing = rights::missing_tun();
            missing.map_or_else(|| DeviceError::system(name, "make it", error), DeviceError::Missing)
        }
        _ => DeviceError::system(name, "make it", error),
    }
}

/// Why a device does not run.
fn not_run(name: &str, port: u16, what: &'static str, error: gotatun::device::Error) -> DeviceError {
    match error {
        gotatun::device::Error::Bind(error, _) if error.kind() == io::ErrorKind::AddrInUse => {
            DeviceError::PortInUse { port }
        }
        gotatun::device::Error::Bind(error, _) => DeviceError::system(name, "open its UDP socket", error),
        gotatun::device::Error::IoError(error) => DeviceError::system(name, what, error),
        other => DeviceError::system(name, what, io::Error::other(other.to_string())),
    }
}

impl UserspaceDevice {
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does some work with the device, in its own threads.
    async fn with<A, F>(
        &self,
        what: &'static str,
        work: impl FnOnce(Arc<Wireguard>) -> F,
    ) -> Result<A, DeviceError>
    where
        A: Send + 'static,
        F: Future<Output = Result<A, gotatun::device::Error>> + Send + 'static,
    {
        let gone = || DeviceError::gone(&self.name);
        if self.life.is_over() {
            return Err(gone());
        }
        let task = {
            let running = self.running();
            let Running { wireguard, threads, .. } = running.as_ref().ok_or_else(gone)?;
            threads.run(work(Arc::clone(wireguard)))
        };
        task.await.ok_or_else(gone)?.map_err(|error| not_run(&self.name, self.listen_port, what, error))
    }
}

impl fmt::Debug for UserspaceDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserspaceDevice").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl TunnelDevice for UserspaceDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "userspace"
    }

    fn listen_port(&self) -> u16 {
        self.listen_port
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, DeviceError> {
        self.with("read its peers", |wireguard| async move { Ok(peers::look(&wireguard).await) }).await
    }

    async fn put_peers(&self, wanted: &[DevicePeer]) -> Result<(), DeviceError> {
        let wanted = wanted.to_vec();
        self.with("add peers", |wireguard| async move { peers::put(&wireguard, wanted).await }).await
    }

    async fn remove_peers(&self, keys: &[PublicKey]) -> Result<(), DeviceError> {
        let keys = keys.to_vec();
        self.with("remove peers", |wireguard| async move { peers::remove(&wireguard, &keys).await }).await
    }

    async fn failed(&self) {
        self.life.over().await;
    }

    async fn close(&self) {
        let _alone = self.closing.lock().await;
        let running = self.running().take();
        if let Some(Running { _control, wireguard, threads }) = running {
            self.life.finish();
            drop(_control);
            // Where the runtime is its own: it starts a task to stop when it is dropped.
            threads.run(async move { drop(wireguard) }).await;
            threads.end().await;
        }
    }
}
