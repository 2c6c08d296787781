//! Two hosts that a cable joins, and devices on them.

use std::future::Future;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use imp_core::vpn::{PresharedKey, PrivateKey};
use imp_devnet::netns::{self, Namespace};
use imp_node::wireguard::fake::FakeDevices;
use imp_node::wireguard::{
    DeviceChoice, DeviceError, DeviceMaker, DevicePeer, DeviceSpec, Host, PeerStatus, TunnelDevice,
};
use ipnet::IpNet;
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// How long a state may take to come about.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Where a server listens.
pub(crate) const PORT: u16 = 51_820;

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fake,
    Userspace,
    Kernel,
}

/// The hosts: a server and a client.
pub(crate) struct Lab {
    pub(crate) server: Side,
    pub(crate) client: Side,
}

/// A host, with a runtime whose threads are on it.
pub(crate) struct Side {
    // Ends before the namespace does.
    runtime: Runtime,
    namespace: Option<Namespace>,
    pub(crate) maker: Arc<dyn DeviceMaker>,
    fakes: FakeDevices,
}

impl Lab {
    pub(crate) fn build(kind: Kind) -> anyhow::Result<Self> {
        let lab = Self { server: Side::build(kind, "server")?, client: Side::build(kind, "client")? };
        if let (Some(server), Some(client)) = (&lab.server.namespace, &lab.client.namespace) {
            netns::cable((server, "wan"), (client, "wan"))?;
            server.ip("addr add 192.0.2.1/24 dev wan")?;
            client.ip("addr add 192.0.2.2/24 dev wan")?;
        }
        Ok(lab)
    }
}

impl Side {
    fn build(kind: Kind, name: &str) -> anyhow::Result<Self> {
        let namespace = if kind == Kind::Fake { None } else { Some(Namespace::new(name)?) };
        let fakes = FakeDevices::new();
        let maker: Arc<dyn DeviceMaker> = match kind {
            Kind::Fake => Arc::new(fakes.clone()),
            Kind::Userspace => Arc::new(Host::new(DeviceChoice::Userspace)),
            Kind::Kernel => Arc::new(Host::new(DeviceChoice::Kernel)),
        };
        let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = match &namespace {
            Some(namespace) => namespace.enter(build)??,
            None => build()?,
        };
        Ok(Self { runtime, namespace, maker, fakes })
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        self.namespace.as_ref().expect("a case for devices that have one")
    }

    /// Runs something on this host to its end.
    pub(crate) fn run<A: Send>(&self, work: impl Future<Output = A> + Send) -> A {
        let in_time = async { tokio::time::timeout(PATIENCE, work).await.expect("it takes too long") };
        match &self.namespace {
            Some(namespace) => namespace.enter(|| self.runtime.block_on(in_time)).unwrap(),
            None => self.runtime.block_on(in_time),
        }
    }

    pub(crate) fn try_open(&self, spec: DeviceSpec) -> Result<Arc<dyn TunnelDevice>, DeviceError> {
        self.run(self.maker.open(spec))
    }

    /// Asks whether an interface could be made.
    pub(crate) fn check(&self, spec: &DeviceSpec) -> Result<(), DeviceError> {
        self.run(self.maker.check(spec))
    }

    pub(crate) fn open(&self, spec: DeviceSpec) -> Arc<dyn TunnelDevice> {
        self.try_open(spec).unwrap()
    }

    pub(crate) fn put(&self, device: &Arc<dyn TunnelDevice>, peers: &[DevicePeer]) {
        self.run(device.put_peers(peers)).unwrap();
    }

    pub(crate) fn peers(&self, device: &Arc<dyn TunnelDevice>) -> Vec<PeerStatus> {
        self.run(device.peers()).unwrap()
    }

    pub(crate) fn close(&self, device: &Arc<dyn TunnelDevice>) {
        self.run(device.close());
    }

    /// Deletes an interface as somebody at a terminal would.
    pub(crate) fn delete(&self, name: &str) {
        match &self.namespace {
            Some(namespace) => namespace.ip(&format!("link delete {name}")).unwrap(),
            None => assert!(self.fakes.kill(name)),
        }
    }

    /// Whether the system has an interface.
    pub(crate) fn has_interface(&self, name: &str) -> bool {
        match &self.namespace {
            Some(namespace) => namespace.ip(&format!("link show dev {name}")).is_ok(),
            None => self.fakes.interface(name).is_some(),
        }
    }

    /// What a command on this host prints.
    pub(crate) fn output(&self, program: &str, args: &str) -> String {
        let output = self.namespace().command(program).args(args.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "{program} {args}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A socket of a program on this host.
    pub(crate) fn socket(&self, at: &str) -> UdpSocket {
        let at: SocketAddr = at.parse().unwrap();
        let socket = self.namespace().enter(|| UdpSocket::bind(at)).unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        socket
    }
}

pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

pub(crate) fn new_key() -> PrivateKey {
    PrivateKey::from_random(random())
}

pub(crate) fn networks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// An interface with these addresses.
pub(crate) fn spec(name: &str, key: &PrivateKey, listen_port: u16, addresses: &[&str]) -> DeviceSpec {
    DeviceSpec {
        name: name.to_owned(),
        private_key: key.clone(),
        listen_port,
        addresses: networks(addresses),
        mtu: 1420,
        fwmark: None,
    }
}

/// A peer with these networks, that is waited for.
pub(crate) fn peer(key: &PrivateKey, allowed: &[&str]) -> DevicePeer {
    DevicePeer {
        key: key.public(),
        psk: PresharedKey::from_random([1; 32]),
        allowed: networks(allowed),
        endpoint: None,
        keepalive_secs: None,
    }
}

/// The server as its clients know it.
pub(crate) fn server(key: &PrivateKey, allowed: &[&str]) -> DevicePeer {
    DevicePeer { endpoint: Some(SocketAddr::new(IpAddr::from([192, 0, 2, 1]), PORT)), ..peer(key, allowed) }
}

/// Waits until something is so, for as long as anything may take.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a text until it arrives.
pub(crate) fn deliver(from: &UdpSocket, to: &UdpSocket, text: &str) {
    let address = to.local_addr().unwrap();
    let mut room = [0; 2048];
    wait_until(text, || {
        from.send_to(text.as_bytes(), address).unwrap();
        to.recv(&mut room).is_ok_and(|count| &room[..count] == text.as_bytes())
    });
}
