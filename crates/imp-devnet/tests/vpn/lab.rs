//! Two buyers, a seller, and what is around them.
//!
//! ```text
//!   alice, bob ── core ── carol ─┬─ internet  192.0.2.1 and, for it alone, addresses that no buyer may reach
//!                                └─ lan       10.77.0.2, a machine at the seller's home
//! ```

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use imp_api::client::Client;
use imp_api::proto::imp::messaging::v1::ListMessagesRequest;
use imp_devnet::devnet::{Devnet, NodeInfo, Options, Ports, Report, Topology, built_program};
use imp_devnet::netns::{Namespace, cable};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::harness;
use crate::settings::Settings;

/// How long a state may take to come about.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The one that sells: the last of the net.
pub(crate) const SELLER: &str = "carol";

/// The interface by which buyers come in.
pub(crate) const DEVICE: &str = "imp0";

/// The seller's rules.
pub(crate) const TABLE: &str = "inet imp_imp0";

/// What one payment buys while nothing else is set: longer than all cases take.
pub(crate) const PRICE_SAT: i64 = 100;

/// The machine at the seller's home.
pub(crate) const LAN: &str = "10.77.0.2";

/// Addresses on the internet's host, which the seller's machine reaches and buyers must not.
pub(crate) const FORBIDDEN: [&str; 7] =
    ["10.99.0.1", "100.64.7.1", "172.16.5.1", "192.0.0.9", "192.168.44.1", "198.18.3.1", "198.19.255.1"];

/// The net, with the hosts around it.
pub(crate) struct Lab {
    pub(crate) net: Devnet,
    settings: Settings,
    _lan: Namespace,
    _dir: TempDir,
}

impl harness::Lab for Lab {
    type Ground = ();

    fn prepare() -> anyhow::Result<()> {
        Ok(())
    }

    fn enter<A: Send>((): &(), work: impl FnOnce() -> A + Send) -> io::Result<A> {
        Ok(work())
    }

    async fn start(_: Arc<()>) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let settings = Settings::new(dir.path());
        let options = Options {
            nodes: 3,
            dir: dir.path().join("net"),
            ports: Ports::Free,
            // So that whoever pays is not charged by a third node.
            topology: Topology::Full,
            vpn: true,
            impd: Some(settings.program(&program("impd"))?),
            launcher: Some(env!("CARGO_BIN_EXE_imp-devnet").into()),
            // Cases say themselves when a node that they killed comes back.
            restart: false,
            report: Report::to(|line| println!("  {line}")),
            ..Options::default()
        };
        let net = Devnet::start(options).await?;
        let lan = surround(&net)?;
        Ok(Self { net, settings, _lan: lan, _dir: dir })
    }

    async fn stop(self) {
        self.net.stop().await;
    }
}

/// Puts a machine beside the seller and addresses onto the internet.
fn surround(net: &Devnet) -> anyhow::Result<Namespace> {
    let (seller, internet) = (net.host(SELLER)?, net.internet());
    let (seller, internet) = seller.as_ref().zip(internet).context("a net with a VPN has hosts")?;
    let lan = Namespace::new("lan")?;
    cable((seller, "home"), (&lan, "home"))?;
    seller.ip("addr add 10.77.0.1/24 dev home")?;
    lan.ip(&format!("addr add {LAN}/24 dev home"))?;
    // It would answer whoever comes by the seller's machine.
    lan.ip("route add default via 10.77.0.1")?;
    for address in FORBIDDEN {
        internet.ip(&format!("addr add {address}/32 dev lo"))?;
    }
    // To buyers' own addresses too, so that it is not the way back that is missing.
    internet.ip("route add default via 198.51.100.1")?;
    Ok(lan)
}

/// A program of this workspace.
pub(crate) fn program(name: &str) -> PathBuf {
    built_program(name).unwrap_or_else(|| panic!("{name} is not built: run `cargo build` first"))
}

impl Lab {
    pub(crate) fn node(&self, name: &str) -> NodeInfo {
        self.net.node(name).unwrap()
    }

    pub(crate) fn host(&self, name: &str) -> Namespace {
        self.net.host(name).unwrap().expect("each node has a host")
    }

    pub(crate) fn internet(&self) -> &Namespace {
        self.net.internet().expect("there is an internet")
    }

    /// A node's interface, once it answers.
    pub(crate) async fn client(&self, name: &str) -> Client {
        wait_for("an answer", || async { self.net.client(name).await.ok() }).await
    }

    /// The output of a program on a node's host, which has to succeed.
    pub(crate) fn run(&self, host: &str, program: &str, args: &[&str]) -> String {
        let output = self.host(host).command(program).args(args).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{program} {args:?} on {host}: {} {out} {err}", output.status);
        out.into_owned()
    }

    /// Ends a node by a signal and waits until its process is gone.
    pub(crate) async fn end(&self, name: &str, signal: Signal) {
        let pid = self.node(name).pid.expect("a node that runs");
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
        self.wait_gone(name).await;
    }

    pub(crate) async fn wait_gone(&self, name: &str) {
        wait_for("the end of the process", || async { self.node(name).pid.is_none().then_some(()) }).await;
    }

    /// Starts a node that has ended, with these settings besides those of the net, and waits until it can pay.
    pub(crate) async fn start_node(&self, name: &str, settings: &[(&str, &str)]) {
        self.settings.write(name, settings).unwrap();
        self.net.start_node(name).await.unwrap();
        self.net.wait_usable(PATIENCE).await.unwrap();
    }

    /// Starts a node that has ended, with these settings besides those of the net. Tells whether it can pay, or has died
    /// before it could.
    pub(crate) async fn start_or_die(&self, name: &str, settings: &[(&str, &str)]) -> bool {
        self.settings.write(name, settings).unwrap();
        self.net.start_node(name).await.unwrap();
        let died = async {
            wait_for("a process", || async { self.node(name).pid.map(drop) }).await;
            self.wait_gone(name).await;
        };
        tokio::select! {
            usable = self.net.wait_usable(PATIENCE) => { usable.unwrap(); true }
            () = died => false,
        }
    }

    /// Waits until a node has nothing to send.
    pub(crate) async fn wait_calm(&self, name: &str) {
        let open = ListMessagesRequest { state: "queued,sending".to_owned(), ..Default::default() };
        let is_calm = || async {
            let open = self.client(name).await.list_messages(open.clone()).await.ok()?;
            open.messages.is_empty().then_some(())
        };
        wait_for(&format!("{name} has nothing to send"), is_calm).await;
    }

    /// Starts a node anew, with these settings besides those of the net.
    pub(crate) async fn restart(&self, name: &str, settings: &[(&str, &str)]) {
        self.end(name, Signal::TERM).await;
        self.start_node(name, settings).await;
    }
}

/// Waits until a question is answered.
pub(crate) async fn wait_for<A, F>(what: &str, question: impl FnMut() -> F) -> A
where
    F: Future<Output = Option<A>>,
{
    wait_within(PATIENCE, what, question).await
}

/// Waits for so long until a question is answered.
pub(crate) async fn wait_within<A, F>(patience: Duration, what: &str, mut question: impl FnMut() -> F) -> A
where
    F: Future<Output = Option<A>>,
{
    let until = Instant::now() + patience;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(Instant::now() < until, "not within {patience:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
