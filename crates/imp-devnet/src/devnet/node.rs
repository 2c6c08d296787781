//! One node of a net: what it is, how it is configured, and how it is asked.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use imp_api::client::{Client, ClientError};
use imp_api::proto::imp::node::v1::{
    Channel, GetNodeRequest, GetNodeResponse, ListChannelsRequest, SyncChainRequest,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::dir;
use super::hosts::TUNNEL_NETWORK;
use super::ports::NodePorts;
use super::supervise::Order;
use crate::netns::Namespace;

/// How often a state is looked at that is waited for.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// How long a node may take to say who it is, before it is asked over another connection.
const FIRST_ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// How long a node may take for an answer that needs no other node.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// Last lines of a file that are shown when a node has failed.
const LAST_LINES: usize = 12;

/// What a node is from the start to the end of the net.
#[derive(Clone, Debug)]
pub(super) struct NodeSpec {
    pub(super) name: String,
    pub(super) data_dir: PathBuf,
    pub(super) ports: NodePorts,
    /// Where it is, if that is not this machine as it is.
    pub(super) host: Option<Namespace>,
    /// The address by which buyers find the VPN that it sells.
    pub(super) sells_at: Option<IpAddr>,
}

/// What a node is at the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeState {
    /// The process, from its start until its end was seen.
    pub(super) pid: Option<u32>,
    /// It has answered since it was started, and has not ended.
    pub(super) up: bool,
    /// Its public key, once it has answered.
    pub(super) pubkey: String,
    /// Why it is not started again.
    pub(super) given_up: Option<String>,
}

/// A node, as the tasks that have to do with it see it. The one that supervises it owns the process.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) spec: NodeSpec,
    pub(super) state: watch::Receiver<NodeState>,
    pub(super) orders: mpsc::Sender<Order>,
}

impl NodeSpec {
    pub(super) fn config_file(&self) -> PathBuf {
        self.data_dir.join("config.yml")
    }

    pub(super) fn stderr_file(&self) -> PathBuf {
        self.data_dir.join("stderr.txt")
    }

    /// Writes the node's configuration file. A file and not the environment, so that the node can be run by hand in the
    /// same way; the chain's password stays in the chain's own file.
    pub(super) fn write_config(
        &self,
        chain_rpc: SocketAddr,
        cookie_file: &Path,
        allowed_origins: &[String],
    ) -> anyhow::Result<()> {
        if self.host.is_some() && !self.resolv_conf().exists() {
            dir::write_private(&self.resolv_conf(), b"nameserver 203.0.113.53\n")?;
        }
        let config = self.config(chain_rpc, cookie_file, allowed_origins)?;
        dir::write_private(&self.config_file(), config.as_bytes())
    }

    fn config(
        &self,
        chain_rpc: SocketAddr,
        cookie_file: &Path,
        allowed_origins: &[String],
    ) -> anyhow::Result<String> {
        // A JSON string is a YAML string.
        let quoted = |path: &Path| serde_json::to_string(path).context("a path is not UTF-8");
        let NodePorts { grpc, http, lightning } = self.ports;
        let (name, data_dir, cookie_file) = (&self.name, quoted(&self.data_dir)?, quoted(cookie_file)?);
        let allowed_origins = serde_json::to_string(allowed_origins)?;
        Ok(format!(
            "# Written by imp-devnet at each start.\n\
             data_dir: {data_dir}\n\
             server:\n  grpc_addr: {grpc}\n  http_addr: {http}\n  allowed_origins: {allowed_origins}\n\
             lightning:\n  backend: ldk\n  ldk:\n    network: regtest\n    \
             bitcoind_url: http://{chain_rpc}\n    bitcoind_cookie_file: {cookie_file}\n    \
             listen: [\"{lightning}\"]\n    alias: {name}\n{}",
            self.vpn_section()?
        ))
    }

    /// What a node on a host of its own is told of VPNs.
    fn vpn_section(&self) -> anyhow::Result<String> {
        if self.host.is_none() {
            return Ok(String::new());
        }
        // This machine's own file would be the same for all hosts.
        let resolv_conf = serde_json::to_string(&self.resolv_conf())?;
        let mut section = format!("vpn:\n  resolv_conf: {resolv_conf}\n");
        if let Some(address) = self.sells_at {
            section.push_str(&format!("  sell: true\n  server_ip: {address}\n  subnet: {TUNNEL_NETWORK}\n"));
        }
        Ok(section)
    }

    /// The file that names the DNS servers of the node's host.
    pub(super) fn resolv_conf(&self) -> PathBuf {
        self.data_dir.join("resolv.conf")
    }

    /// The end of what the node wrote to its standard error, or to its log if that is empty.
    pub(super) fn last_words(&self) -> String {
        let files = [self.stderr_file(), self.data_dir.join("log.txt")];
        for file in files {
            let bytes = std::fs::read(&file).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            if !lines.is_empty() {
                let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
                return format!("the end of {}:\n  {last}", file.display());
            }
        }
        format!("it wrote nothing to {}", self.stderr_file().display())
    }

    /// Connects to the node and asks who it is, again and again until it answers. Safe to cancel.
    pub(super) async fn answers(&self) -> GetNodeResponse {
        loop {
            let asked = async {
                let client = Client::connect(&self.ports.grpc.to_string()).await?;
                client.get_node(GetNodeRequest {}).await
            };
            // One that is taken by a forward before the node is there need not end by itself.
            if let Ok(Ok(node)) = timeout(FIRST_ANSWER_PATIENCE, asked).await {
                return node;
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

impl Node {
    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(super) fn now(&self) -> NodeState {
        self.state.borrow().clone()
    }

    pub(super) fn is_up(&self) -> bool {
        self.state.borrow().up
    }

    /// Its public key; empty before it has answered for the first time.
    pub(super) fn pubkey(&self) -> String {
        self.state.borrow().pubkey.clone()
    }

    /// Waits until the node answers.
    pub(super) async fn wait_up(&self, patience: Duration) -> anyhow::Result<()> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| state.up || state.given_up.is_some());
        let state = match tokio::time::timeout(patience, settled).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) => bail!("{} is being stopped", self.name()),
            Err(_) => bail!(
                "{} does not answer at {} within {} s; {}",
                self.name(),
                self.spec.ports.grpc,
                patience.as_secs(),
                self.spec.last_words()
            ),
        };
        state.given_up.map_or(Ok(()), |why| bail!("{why}"))
    }

    /// A connection of its own, since one that was made before the node was started again would have to notice that.
    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.spec.ports.grpc.to_string()).await?)
    }

    /// Asks the node something that needs no other node.
    pub(super) async fn ask<A, F>(&self, what: &str, question: impl FnOnce(Client) -> F) -> anyhow::Result<A>
    where
        F: Future<Output = Result<A, ClientError>>,
    {
        let asked = async { Ok::<A, anyhow::Error>(question(self.client().await?).await?) };
        match tokio::time::timeout(ANSWER_PATIENCE, asked).await {
            Ok(answer) => answer.with_context(|| format!("{what} of {} failed", self.name())),
            Err(_) => bail!("{what} of {} has no answer after {} s", self.name(), ANSWER_PATIENCE.as_secs()),
        }
    }

    pub(super) async fn info(&self) -> anyhow::Result<GetNodeResponse> {
        self.ask("GetNode", |node| async move { node.get_node(GetNodeRequest {}).await }).await
    }

    pub(super) async fn channels(&self) -> anyhow::Result<Vec<Channel>> {
        let list = |node: Client| async move { node.list_channels(ListChannelsRequest {}).await };
        Ok(self.ask("ListChannels", list).await?.channels)
    }

    /// Has the node look at the chain until it has seen the block at `height`.
    pub(super) async fn sync(&self, height: u32) -> anyhow::Result<()> {
        let until = Instant::now() + ANSWER_PATIENCE;
        loop {
            let look = |node: Client| async move { node.sync_chain(SyncChainRequest {}).await };
            let seen = self.ask("SyncChain", look).await?.block_height;
            if seen >= height {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("{} has seen block {seen}, not block {height}", self.name());
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_everything_and_no_password() {
        let addr = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let spec = NodeSpec {
            name: "alice".to_owned(),
            data_dir: "/tmp/a \"net\"/alice".into(),
            ports: NodePorts { grpc: addr(1), http: addr(2), lightning: addr(3) },
            host: None,
            sells_at: None,
        };
        let config =
            spec.config(addr(4), Path::new("/tmp/cookie"), &["http://localhost:8000".to_owned()]).unwrap();
        assert!(!config.contains("vpn:"), "nothing but what it needs");
        for line in [
            r#"data_dir: "/tmp/a \"net\"/alice""#,
            "  grpc_addr: 127.0.0.1:1",
            "  http_addr: 127.0.0.1:2",
            r#"  allowed_origins: ["http://localhost:8000"]"#,
            "    network: regtest",
            "    bitcoind_url: http://127.0.0.1:4",
            r#"    bitcoind_cookie_file: "/tmp/cookie""#,
            r#"    listen: ["127.0.0.1:3"]"#,
            "    alias: alice",
        ] {
            assert!(config.lines().any(|written| written == line), "{line} is not in\n{config}");
        }
    }

    #[test]
    fn on_a_host_of_its_own_a_node_has_dns_servers_of_its_own_and_the_last_one_sells() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut spec = NodeSpec {
            name: "bob".to_owned(),
            data_dir: "/tmp/bob".into(),
            ports: NodePorts { grpc: addr, http: addr, lightning: addr },
            host: Some(Namespace::here()),
            sells_at: None,
        };
        let section = |spec: &NodeSpec| spec.config(addr, Path::new("/tmp/cookie"), &[]).unwrap();
        let bought = section(&spec);
        assert!(bought.ends_with("vpn:\n  resolv_conf: \"/tmp/bob/resolv.conf\"\n"), "{bought}");
        spec.sells_at = Some([203, 0, 113, 2].into());
        let sold = section(&spec);
        assert!(
            sold.ends_with("  sell: true\n  server_ip: 203.0.113.2\n  subnet: 10.157.83.0/24\n"),
            "{sold}"
        );
    }

    #[test]
    fn last_words_come_from_the_log_if_there_are_no_others() {
        let temp = tempfile::tempdir().unwrap();
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let spec = NodeSpec {
            name: "alice".to_owned(),
            data_dir: temp.path().to_owned(),
            ports: NodePorts { grpc: addr, http: addr, lightning: addr },
            host: None,
            sells_at: None,
        };
        assert!(spec.last_words().contains("wrote nothing"));
        std::fs::write(temp.path().join("log.txt"), "logged\n").unwrap();
        std::fs::write(spec.stderr_file(), "\n").unwrap();
        assert!(spec.last_words().ends_with("log.txt:\n  logged"));
        let lines: String = (0..30).map(|line| format!("line {line}\n")).collect();
        std::fs::write(spec.stderr_file(), lines).unwrap();
        let words = spec.last_words();
        assert!(
            words.ends_with("line 29") && words.contains("line 18\n") && !words.contains("line 17\n"),
            "{words}"
        );
    }
}
