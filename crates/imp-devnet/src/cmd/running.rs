//! Commands about a net that runs already.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::join_all;
use imp_api::client::Client;
use imp_api::proto::imp::node::v1::{
    GetNodeRequest, ListChannelsRequest, NewAddressRequest, SyncChainRequest,
};
use imp_devnet::devnet::{Control, NodeControl, Ready, ask_to_stop, is_running};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::rpc;

/// How long a node may take to say how it is.
const NODE_PATIENCE: Duration = Duration::from_secs(5);

/// How long a net may take to stop: each node 15 seconds, all at the same time, and some for the chain.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Blocks that are asked for at once.
const BLOCKS_PER_CALL: u32 = 500;

/// Shows the net; fails if none runs.
pub(crate) async fn status(dir: &Path) -> anyhow::Result<ExitCode> {
    let control = running(dir)?;
    let info = rpc::call(&control.chain, "getblockchaininfo", json!([])).await?;
    let ready =
        fs::read(&control.ready_file).ok().and_then(|bytes| serde_json::from_slice::<Ready>(&bytes).ok());
    let pids: HashMap<String, Option<u32>> =
        ready.iter().flat_map(|ready| &ready.nodes).map(|node| (node.name.clone(), node.pid)).collect();
    say(format!("net in {}, process {}", dir.display(), control.pid));
    say(format!("chain at {}, height {}", control.chain.rpc, info["blocks"]));
    match &ready {
        Some(_) => say(format!("usable, see {}", control.ready_file.display())),
        None => say("not usable yet"),
    }
    let nodes = join_all(control.nodes.iter().map(describe)).await;
    for (node, text) in control.nodes.iter().zip(nodes) {
        let pid = pids.get(&node.name).copied().flatten();
        let pid = pid.map_or_else(String::new, |pid| format!(", process {pid}"));
        say(format!(
            "\n{} at {}{pid}\n{}",
            node.name,
            node.grpc,
            text.unwrap_or_else(|error| format!("  {error:#}"))
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn describe(node: &NodeControl) -> anyhow::Result<String> {
    let asked = async {
        let client = Client::connect(&node.grpc.to_string()).await?;
        let info = client.get_node(GetNodeRequest {}).await?;
        let channels = client.list_channels(ListChannelsRequest {}).await?.channels;
        anyhow::Ok((info, channels))
    };
    let (info, channels) = timeout(NODE_PATIENCE, asked).await.context("it does not answer")??;
    let usable = channels.iter().filter(|channel| channel.usable).count();
    let synced = if info.synced { "synced" } else { "not synced" };
    Ok(format!(
        "  {}\n  height {} ({synced}), {usable} of {} channels usable, {} sat to send, {} sat in the wallet",
        info.pubkey,
        info.block_height,
        channels.len(),
        info.spendable_sat,
        info.onchain_sat
    ))
}

/// Mines blocks and shows them to the nodes.
pub(crate) async fn mine(dir: &Path, blocks: u32) -> anyhow::Result<ExitCode> {
    let control = running(dir)?;
    let mut left = blocks;
    while left > 0 {
        let now = left.min(BLOCKS_PER_CALL);
        rpc::call(&control.chain, "devchain_mine", json!([now])).await?;
        left -= now;
    }
    sync(&control.nodes).await;
    let info = rpc::call(&control.chain, "getblockchaininfo", json!([])).await?;
    say(format!("height {}", info["blocks"]));
    Ok(ExitCode::SUCCESS)
}

/// Pays a node and mines a block over it.
pub(crate) async fn fund(dir: &Path, name: &str, sats: u64) -> anyhow::Result<ExitCode> {
    let control = running(dir)?;
    let Some(node) = control.nodes.iter().find(|node| node.name == name) else {
        let names: Vec<&str> = control.nodes.iter().map(|node| node.name.as_str()).collect();
        bail!("there is no node {name}; there are {}", names.join(", "));
    };
    let client = Client::connect(&node.grpc.to_string()).await?;
    let address = client.new_address(NewAddressRequest {}).await?.address;
    let txid = rpc::call(&control.chain, "devchain_fund", json!([address, sats])).await?;
    rpc::call(&control.chain, "devchain_mine", json!([1])).await?;
    sync(&control.nodes).await;
    let has_sat = client.get_node(GetNodeRequest {}).await?.onchain_sat;
    let txid = txid.as_str().map_or_else(|| txid.to_string(), str::to_owned);
    say(format!("paid {sats} sat to {name} in {txid}; its wallet has {has_sat} sat"));
    Ok(ExitCode::SUCCESS)
}

/// Stops the net and waits until all of it has ended.
pub(crate) async fn stop(dir: &Path) -> anyhow::Result<ExitCode> {
    let control = running(dir)?;
    if !ask_to_stop(control.pid) {
        bail!("process {} cannot be told to stop", control.pid);
    }
    let until = Instant::now() + STOP_PATIENCE;
    while is_running(dir) {
        if Instant::now() > until {
            bail!("process {} has not stopped within {} s", control.pid, STOP_PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(25)).await;
    }
    say("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The net that runs in a directory.
fn running(dir: &Path) -> anyhow::Result<Control> {
    if !is_running(dir) {
        bail!(
            "no net runs in {}: start one with `imp-devnet up`, or name its directory with --dir",
            dir.display()
        );
    }
    Control::read(dir).context("the net is only just starting, or stopping")
}

/// Has the nodes look at the chain now; those that do not answer will do so later by themselves.
async fn sync(nodes: &[NodeControl]) {
    let look = |node: &NodeControl| {
        let addr = node.grpc.to_string();
        async move {
            let looked = async {
                let client = Client::connect(&addr).await?;
                client.sync_chain(SyncChainRequest {}).await
            };
            let _ = timeout(NODE_PATIENCE, looked).await;
        }
    };
    join_all(nodes.iter().map(look)).await;
}

fn say(line: impl AsRef<str>) {
    let _ = writeln!(io::stdout(), "{}", line.as_ref());
}
