//! The task that keeps the device, and the rules of the exit with it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ipnet::{IpNet, Ipv4Net};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType};
use tokio::time::Instant;

use super::{Inner, Standing, Wanted};
use crate::exit::{ExitSpec, server_in};
use crate::wireguard::{DeviceError, DeviceSpec, TunnelDevice};

/// How often the device is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often, while nobody is wanted on it.
const IDLE_LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often, while there is to be none: whoever wants one says so.
const UNUSED_LOOK_EVERY: Duration = Duration::from_secs(60);

/// Pause before the device is opened again where that failed.
const OPEN_AGAIN: Duration = Duration::from_secs(5);

/// How often it is looked whether others have stopped forwarding, or there are other ways out. Rules are looked at each time
/// that the device is.
const FORWARDING_EVERY: Duration = Duration::from_secs(60);

/// Looks that may fail one after the other before the device is made anew.
const FAILED_LOOKS: u32 = 20;

/// A device that is open.
struct Open {
    device: Arc<dyn TunnelDevice>,
    /// Ends when the device is of no use any more.
    failed: BoxFuture<'static, ()>,
    /// Networks of buyers that it was opened for, besides that of today.
    earlier: Vec<Ipv4Net>,
    forwarding: Instant,
    failed_looks: u32,
}

impl Inner {
    /// Networks of those who bought before `vpn.subnet` was what it is: what was paid for is carried in them to its end.
    fn earlier(&self, wanted: &[Wanted]) -> Vec<Ipv4Net> {
        let others = wanted.iter().map(|peer| peer.network);
        let mut others: Vec<_> = others.filter(|network| *network != self.options.subnet).collect();
        others.sort_unstable();
        others.dedup();
        others
    }

    fn exit_spec(&self, earlier: &[Ipv4Net]) -> ExitSpec {
        let options = &self.options;
        ExitSpec {
            interface: options.interface.clone(),
            subnet: options.subnet,
            earlier: earlier.to_vec(),
            allowed: options.allowed.clone(),
            bytes_per_sec: options.bytes_per_sec,
        }
    }

    fn device_spec(&self, earlier: &[Ipv4Net]) -> DeviceSpec {
        let options = &self.options;
        let own = |network: Ipv4Net| Ipv4Net::new(server_in(network), network.prefix_len()).ok();
        let addresses = [options.subnet].into_iter().chain(earlier.iter().copied()).filter_map(own);
        DeviceSpec {
            name: options.interface.clone(),
            private_key: self.key.clone(),
            listen_port: options.server_port,
            addresses: addresses.map(IpNet::V4).collect(),
            mtu: options.mtu,
            fwmark: None,
        }
    }

    /// Opens the device: closed for everything first, then there, then open for what buyers may reach. An interface of
    /// another is left as it is, and so are its rules.
    async fn open(&self) -> Result<Open, String> {
        let Self { devices, exit, .. } = self;
        if let Some(missing) = devices.missing() {
            return Err(missing);
        }
        let earlier = self.earlier(&self.wanted().1);
        devices.check(&self.device_spec(&earlier)).await.map_err(|error| error.to_string())?;
        let exit_spec = self.exit_spec(&earlier);
        exit.prepare(&exit_spec).await.map_err(|error| error.to_string())?;
        let device = match devices.open(self.device_spec(&earlier)).await {
            Ok(device) => device,
            Err(error) => {
                if matches!(error, DeviceError::NameInUse { .. }) {
                    // Made by somebody since it was asked for, and not to have the rules that stand for this node's.
                    self.remove_rules().await;
                }
                return Err(error.to_string());
            }
        };
        if let Err(error) = exit.open(&exit_spec).await {
            device.close().await;
            return Err(error.to_string());
        }
        if !earlier.is_empty() {
            tracing::info!(
                interface = self.options.interface,
                ?earlier,
                "buyers from before vpn.subnet was changed keep their addresses"
            );
        }
        let watched = Arc::clone(&device);
        let failed = async move { watched.failed().await }.boxed();
        Ok(Open { device, failed, earlier, forwarding: Instant::now(), failed_looks: 0 })
    }

    /// Closes the device and takes away what was made for it.
    async fn close(&self, open: Option<Open>) {
        if let Some(open) = open {
            open.device.close().await;
        }
        self.saw(0, &[]);
        if !is_interface(&self.options.interface) {
            self.remove_rules().await;
        }
    }

    async fn remove_rules(&self) {
        let interface = &self.options.interface;
        if let Err(error) = self.exit.remove(interface).await {
            tracing::debug!(interface, "the exit's rules: {error}");
        }
    }

    /// Takes away what a killed run left, where nobody is to come in any more.
    async fn clean_up(&self) {
        if is_interface(&self.options.interface) {
            // The one that is opened has no peers, and stands in the place of the one that was left.
            match self.devices.open(self.device_spec(&[])).await {
                Ok(device) => device.close().await,
                Err(error) => tracing::debug!(interface = self.options.interface, "not taken away: {error}"),
            }
        }
        self.close(None).await;
    }

    /// Has the rules of the exit stand while the device does: a firewall that is loaded takes them away. Without them
    /// the device has to be closed.
    async fn keep_rules(&self, open: &mut Open) -> Result<(), String> {
        let interface = &self.options.interface;
        let spec = self.exit_spec(&open.earlier);
        if !self.exit.stands(&spec).await.unwrap_or(false) {
            tracing::warn!(interface, "somebody changed the exit's rules: they are put anew");
            self.exit.prepare(&spec).await.map_err(|error| error.to_string())?;
            open.forwarding = Instant::now();
            return self.exit.open(&spec).await.map_err(|error| error.to_string());
        }
        if open.forwarding.elapsed() >= FORWARDING_EVERY {
            open.forwarding = Instant::now();
            if let Err(error) = self.exit.open(&spec).await {
                tracing::warn!(interface, "buyers may reach nothing: {error}");
            }
        }
        Ok(())
    }

    /// Looks at the device and its rules, and repairs them. Fails where it has to be made anew, and says why.
    async fn look(&self, open: &mut Open) -> Result<(), String> {
        self.keep_rules(open).await?;
        match self.agree(&*open.device).await {
            Ok(()) => open.failed_looks = 0,
            Err(error) => {
                open.failed_looks += 1;
                let is_gone = matches!(error, DeviceError::Gone { .. }) || open.failed_looks >= FAILED_LOOKS;
                if open.failed_looks == 1 || is_gone {
                    tracing::warn!(interface = self.options.interface, "the VPN's device: {error}");
                }
                if is_gone {
                    return Err(error.to_string());
                }
            }
        }
        Ok(())
    }
}

/// Keeps the device until the node stops.
pub(super) async fn keep(inner: Arc<Inner>) {
    let stopped = inner.tasks.token();
    let mut open: Option<Open> = None;
    let mut is_clean = false;
    while !stopped.is_cancelled() {
        let (_, wanted) = inner.wanted();
        let is_needed = inner.options.sell || !wanted.is_empty();
        let pause = match &mut open {
            None if !is_needed => {
                if !std::mem::replace(&mut is_clean, true) {
                    inner.clean_up().await;
                }
                inner.stands(Standing::default());
                UNUSED_LOOK_EVERY
            }
            None => match inner.open().await {
                Ok(opened) => {
                    let kind = Some(opened.device.kind());
                    inner.stands(Standing { kind, problem: String::new() });
                    inner.tried.cancel();
                    is_clean = false;
                    open = Some(opened);
                    continue;
                }
                Err(problem) => {
                    inner.tried.cancel();
                    inner.stands(Standing { kind: None, problem });
                    OPEN_AGAIN
                }
            },
            Some(_) if !is_needed => {
                inner.stands(Standing::default());
                inner.close(open.take()).await;
                is_clean = true;
                continue;
            }
            Some(current)
                if !inner.earlier(&wanted).iter().all(|network| current.earlier.contains(network)) =>
            {
                // Somebody with such an address is back: the device needs its own in that network.
                let_go(&inner, &mut open).await;
                continue;
            }
            Some(current) => match inner.look(current).await {
                Ok(()) if wanted.is_empty() => IDLE_LOOK_EVERY,
                Ok(()) => LOOK_EVERY,
                Err(problem) => {
                    inner.stands(Standing { kind: None, problem });
                    let_go(&inner, &mut open).await;
                    continue;
                }
            },
        };
        let is_open = open.is_some();
        let failed = async {
            match &mut open {
                Some(open) => (&mut open.failed).await,
                None => std::future::pending().await,
            }
        };
        let is_gone = tokio::select! {
            () = stopped.cancelled() => false,
            () = inner.changed.notified(), if is_open || !inner.options.sell => false,
            () = tokio::time::sleep(pause) => false,
            () = failed => true,
        };
        if is_gone {
            let problem = format!("the interface {} is gone", inner.options.interface);
            inner.stands(Standing { kind: None, problem });
            let_go(&inner, &mut open).await;
        }
    }
    inner.stands(Standing { kind: None, problem: "the node is stopping".to_owned() });
    if open.is_some() || !is_clean {
        inner.close(open).await;
    }
}

/// Closes the device, whose rules stay: it is made again.
async fn let_go(inner: &Inner, open: &mut Option<Open>) {
    if let Some(gone) = open.take() {
        gone.device.close().await;
    }
    inner.saw(0, &[]);
}

/// Whether this machine has an interface of this name; also where that cannot be found out.
pub(super) fn is_interface(name: &str) -> bool {
    let found = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)
        .and_then(|socket| name_to_index(socket, name));
    !matches!(found, Err(Errno::NODEV))
}
