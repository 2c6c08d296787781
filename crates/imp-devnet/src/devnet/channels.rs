//! The channels of a net: which there are, and what it takes until all of them can be used.
//!
//! [`Net::connect`] brings about what is missing, whatever that is, and so serves the first start, later starts and the
//! time after a crash alike.

use std::collections::HashSet;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bitcoin::{Address, Amount, Network, OutPoint};
use futures_util::future::{join_all, try_join_all};
use imp_api::client::Client;
use imp_api::proto::imp::node::v1::{Channel, ConnectPeerRequest, NewAddressRequest, OpenChannelRequest};
use tokio::time::{Instant, sleep};

use super::Net;
use super::node::{LOOK_INTERVAL, Node};
use super::options::Edge;

/// What is in a channel; half of it is pushed to the other side.
const CAPACITY_SAT: u64 = 1_000_000;

/// Blocks until a channel is announced (BOLT 7: six confirmations).
pub(super) const CONFIRMATIONS: u32 = 6;

/// What a node's wallet is filled up to beyond the channels that it opens. Each end of an anchor channel keeps 25,000 sat
/// on the chain, to pay for the closing.
const WALLET_SAT: u64 = 5_000_000;

/// With less than that beyond its channels, a wallet is filled up.
const LOW_WALLET_SAT: u64 = 1_000_000;

/// What opening a channel costs at most, with the reserve for its anchor.
const OPENING_COSTS_SAT: u64 = 100_000;

/// How long a step may take that two nodes do together.
const STEP_PATIENCE: Duration = Duration::from_secs(20);

/// How long a channel with a mined funding transaction may take to be ready before more blocks are mined.
const CONFIRMATION_PATIENCE: Duration = Duration::from_secs(2);

/// How often nodes with a channel that are not connected are told to connect.
const CONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// How a channel of the net is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EdgeState {
    /// One of its ends does not answer.
    Unknown,
    /// There is none, or one end has closed it.
    Missing,
    /// It is being negotiated or waits for confirmations.
    Pending,
    /// The ends are not connected.
    Apart,
    /// Payments can pass.
    Usable,
}

impl Net {
    /// How the channels are, in the order of the edges.
    pub(super) async fn survey(&self) -> Vec<(Edge, EdgeState)> {
        let lists = join_all(
            self.nodes
                .iter()
                .map(|node| async move { if node.is_up() { node.channels().await.ok() } else { None } }),
        );
        let lists = lists.await;
        let state = |edge: &Edge| match (&lists[edge.opener], &lists[edge.acceptor]) {
            (Some(ours), Some(theirs)) => edge_state(
                (ours, &self.nodes[edge.acceptor].pubkey()),
                (theirs, &self.nodes[edge.opener].pubkey()),
            ),
            _ => EdgeState::Unknown,
        };
        self.edges.iter().map(|edge| (*edge, state(edge))).collect()
    }

    /// Waits until all channels can be used.
    pub(super) async fn wait_usable(&self, patience: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        loop {
            let states = self.survey().await;
            if states.iter().all(|(_, state)| *state == EdgeState::Usable)
                && self.nodes.iter().all(Node::is_up)
            {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("not usable after {} s: {}", patience.as_secs(), self.describe(&states));
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Makes channels usable: fills wallets, opens what is missing, mines, connects. Nodes that do not answer are waited
    /// for.
    pub(super) async fn connect(&self, wanted: &[Edge], patience: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        let mut progress = Progress::default();
        let mut trouble = None;
        loop {
            let states = self.survey().await;
            let states = states.into_iter().filter(|(edge, _)| wanted.contains(edge)).collect::<Vec<_>>();
            if states.iter().all(|(_, state)| *state == EdgeState::Usable) {
                return Ok(());
            }
            if Instant::now() > until {
                let states = self.describe(&states);
                let error = trouble.unwrap_or_else(|| anyhow::anyhow!("a channel cannot be used"));
                return Err(error.context(format!("no net after {} s ({states})", patience.as_secs())));
            }
            match self.advance(&states, &mut progress).await {
                Ok(()) => sleep(LOOK_INTERVAL).await,
                Err(error) => {
                    tracing::debug!(error = format!("{error:#}"), "the channels are not brought up yet");
                    trouble = Some(error);
                    sleep(CONNECT_INTERVAL / 2).await;
                }
            }
        }
    }

    async fn advance(&self, states: &[(Edge, EdgeState)], progress: &mut Progress) -> anyhow::Result<()> {
        let having = |wanted| {
            let edges = states.iter().filter(move |(_, state)| *state == wanted).map(|(edge, _)| *edge);
            edges.collect::<Vec<Edge>>()
        };
        let missing = having(EdgeState::Missing);
        if !missing.is_empty() {
            self.fund(&missing).await?;
            self.open(&missing).await?;
            progress.mined = Some(Instant::now());
        }
        if having(EdgeState::Pending).is_empty() {
            progress.mined = None;
        } else if progress.mined.get_or_insert_with(Instant::now).elapsed() > CONFIRMATION_PATIENCE {
            // The funding transaction of a channel that was opened just before an earlier run ended.
            self.mine(1).await?;
            progress.mined = Some(Instant::now());
        }
        let apart = having(EdgeState::Apart);
        if !apart.is_empty() && progress.connected.is_none_or(|last| last.elapsed() > CONNECT_INTERVAL) {
            progress.connected = Some(Instant::now());
            self.introduce(&apart).await;
        }
        Ok(())
    }

    /// Fills up the wallets that have too little for the channels that are to be opened, all in one transaction.
    pub(super) async fn fund(&self, opening: &[Edge]) -> anyhow::Result<()> {
        let answering = self.nodes.iter().enumerate().filter(|(_, node)| node.is_up());
        let payments = try_join_all(answering.map(|(place, node)| async move {
            let opens = opening.iter().filter(|edge| edge.opener == place).count() as u64;
            let channels_sat = opens * (CAPACITY_SAT + OPENING_COSTS_SAT);
            let has_sat = u64::try_from(node.info().await?.onchain_sat).unwrap_or_default();
            if has_sat >= channels_sat + LOW_WALLET_SAT {
                return Ok(None);
            }
            let fresh = |node: Client| async move { node.new_address(NewAddressRequest {}).await };
            let address = node.ask("NewAddress", fresh).await?.address;
            let address = Address::from_str(&address)?.require_network(Network::Regtest)?;
            anyhow::Ok(Some((node, address, channels_sat + WALLET_SAT)))
        }));
        let payments: Vec<_> = payments.await?.into_iter().flatten().collect();
        if payments.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = payments.iter().map(|(node, ..)| node.name()).collect();
        self.report.say(format!("paying {} from the chain", names.join(", ")));
        let outputs: Vec<(Address, Amount)> =
            payments.iter().map(|(_, address, sat)| (address.clone(), Amount::from_sat(*sat))).collect();
        self.chain.fund_many(&outputs)?;
        self.mine(1).await?;
        try_join_all(payments.iter().map(|(node, _, sat)| wait_for_funds(node, *sat))).await?;
        Ok(())
    }

    /// Opens channels and mines until they are deep enough to be announced.
    async fn open(&self, missing: &[Edge]) -> anyhow::Result<()> {
        self.report.say(format!("opening {}", self.names(missing)));
        let mut left = missing.to_vec();
        let mut failed = None;
        while !left.is_empty() {
            // One channel of each opener at a time, with a block between: before that its wallet may take the same coin
            // twice, for it sees transactions that wait by the second only.
            let mut openers = HashSet::new();
            let (now, later) = left.into_iter().partition(|edge| openers.insert(edge.opener));
            left = later;
            let now: Vec<Edge> = now;
            let opened = join_all(now.iter().map(|edge| async move {
                self.open_one(*edge).await.with_context(|| format!("no channel {}", self.names(&[*edge])))
            }));
            failed = opened.await.into_iter().find_map(Result::err).or(failed);
            // Also if some have failed, so that the others are not in the way of the next try.
            self.mine(if left.is_empty() { CONFIRMATIONS } else { 1 }).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Opens a channel and waits until its funding transaction can be mined.
    async fn open_one(&self, edge: Edge) -> anyhow::Result<()> {
        let (opener, acceptor) = (&self.nodes[edge.opener], &self.nodes[edge.acceptor]);
        let request = OpenChannelRequest {
            pubkey: acceptor.pubkey(),
            address: acceptor.spec.ports.lightning.to_string(),
            capacity_sat: CAPACITY_SAT as i64,
            push_sat: CAPACITY_SAT as i64 / 2,
            announce: true,
            idempotency_key: None,
        };
        let open = |node: Client| async move { node.open_channel(request).await };
        let id = opener.ask("OpenChannel", open).await?.user_channel_id;
        let until = Instant::now() + STEP_PATIENCE;
        loop {
            let channels = opener.channels().await?;
            let channel = channels.iter().find(|channel| channel.user_channel_id == id);
            let channel = channel.with_context(|| format!("{} refused it", acceptor.name()))?;
            if !channel.funding.is_empty() && self.knows(&channel.funding)? {
                return Ok(());
            }
            ensure!(Instant::now() < until, "its funding transaction does not reach the chain");
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether the transaction of an outpoint waits to be mined, or was.
    fn knows(&self, funding: &str) -> anyhow::Result<bool> {
        let outpoint = OutPoint::from_str(funding).with_context(|| format!("{funding:?} is no outpoint"))?;
        Ok(self.chain.mempool().contains(&outpoint.txid)
            || self.chain.snapshot().chain().transaction(&outpoint.txid).is_some())
    }

    /// Mines blocks and shows them to all nodes that answer.
    pub(super) async fn mine(&self, blocks: u32) -> anyhow::Result<()> {
        self.chain.mine(blocks)?;
        let height = self.chain.height();
        try_join_all(self.nodes.iter().filter(|node| node.is_up()).map(|node| node.sync(height))).await?;
        Ok(())
    }

    /// Connects the ends of channels, and lets both know where the other one listens now: a node that was called cannot
    /// call back otherwise.
    pub(super) async fn introduce(&self, edges: &[Edge]) {
        let both = edges.iter().flat_map(|edge| [(edge.opener, edge.acceptor), (edge.acceptor, edge.opener)]);
        join_all(both.map(|(from, to)| self.introduce_to(&self.nodes[from], &self.nodes[to]))).await;
    }

    async fn introduce_to(&self, from: &Node, to: &Node) {
        let request =
            ConnectPeerRequest { pubkey: to.pubkey(), address: to.spec.ports.lightning.to_string() };
        let connect = |node: Client| async move { node.connect_peer(request).await };
        if let Err(error) = from.ask("ConnectPeer", connect).await {
            tracing::debug!(error = format!("{error:#}"), "two nodes are not connected yet");
        }
    }

    /// Channels by the names of their ends.
    pub(super) fn names(&self, edges: &[Edge]) -> String {
        let name = |edge: &Edge| {
            format!("{} - {}", self.nodes[edge.opener].name(), self.nodes[edge.acceptor].name())
        };
        edges.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    fn describe(&self, states: &[(Edge, EdgeState)]) -> String {
        let text = |(edge, state): &(Edge, EdgeState)| {
            let state = match state {
                EdgeState::Unknown => "not known, since a node does not answer",
                EdgeState::Missing => "missing",
                EdgeState::Pending => "not confirmed",
                EdgeState::Apart => "not connected",
                EdgeState::Usable => "usable",
            };
            format!("channel {}: {state}", self.names(&[*edge]))
        };
        states.iter().map(text).collect::<Vec<_>>().join("; ")
    }
}

/// What [`Net::advance`] did last, and when.
#[derive(Debug, Default)]
struct Progress {
    mined: Option<Instant>,
    connected: Option<Instant>,
}

async fn wait_for_funds(node: &Node, least_sat: u64) -> anyhow::Result<()> {
    let until = Instant::now() + STEP_PATIENCE;
    loop {
        let has_sat = u64::try_from(node.info().await?.onchain_sat).unwrap_or_default();
        if has_sat >= least_sat {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{} was paid {least_sat} sat and sees {has_sat} sat", node.name());
        sleep(LOOK_INTERVAL).await;
    }
}

/// The best of the channels between two nodes, each told by its list of channels and the key of the other.
fn edge_state((ours, their_key): (&[Channel], &str), (theirs, our_key): (&[Channel], &str)) -> EdgeState {
    let with = |list: &[Channel], key: &str| -> Vec<Channel> {
        list.iter().filter(|channel| channel.pubkey == key).cloned().collect()
    };
    let (ours, theirs) = (with(ours, their_key), with(theirs, our_key));
    let mut best = EdgeState::Missing;
    for our in &ours {
        // A channel without a funding transaction is not known at the other end by a name that could be compared.
        let state = match theirs.iter().find(|their| their.funding == our.funding && !our.funding.is_empty())
        {
            Some(their) if our.usable && their.usable => EdgeState::Usable,
            Some(their) if our.ready && their.ready => EdgeState::Apart,
            Some(_) => EdgeState::Pending,
            None if our.funding.is_empty() => EdgeState::Pending,
            None => EdgeState::Missing,
        };
        best = match (best, state) {
            (EdgeState::Usable, _) | (_, EdgeState::Usable) => EdgeState::Usable,
            (EdgeState::Apart, _) | (_, EdgeState::Apart) => EdgeState::Apart,
            (EdgeState::Pending, _) | (_, EdgeState::Pending) => EdgeState::Pending,
            (best, _) => best,
        };
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(key: &str, funding: &str, ready: bool, usable: bool) -> Channel {
        Channel { pubkey: key.to_owned(), funding: funding.to_owned(), ready, usable, ..Channel::default() }
    }

    fn state(ours: &[Channel], theirs: &[Channel]) -> EdgeState {
        edge_state((ours, "them"), (theirs, "us"))
    }

    #[test]
    fn a_channel_counts_only_if_both_ends_have_it() {
        let ours = [channel("them", "tx:0", true, true)];
        assert_eq!(state(&ours, &[]), EdgeState::Missing);
        assert_eq!(state(&[], &[channel("us", "tx:0", true, true)]), EdgeState::Missing);
        assert_eq!(state(&ours, &[channel("us", "other:0", true, true)]), EdgeState::Missing);
        assert_eq!(state(&ours, &[channel("somebody", "tx:0", true, true)]), EdgeState::Missing);
        assert_eq!(state(&ours, &[channel("us", "tx:0", true, true)]), EdgeState::Usable);
    }

    #[test]
    fn a_channel_is_as_good_as_its_worse_end() {
        for (ours, theirs, expected) in [
            ((true, true), (true, false), EdgeState::Apart),
            ((true, false), (true, false), EdgeState::Apart),
            ((true, false), (false, false), EdgeState::Pending),
            ((false, false), (false, false), EdgeState::Pending),
        ] {
            let ours = [channel("them", "tx:0", ours.0, ours.1)];
            assert_eq!(state(&ours, &[channel("us", "tx:0", theirs.0, theirs.1)]), expected);
        }
        assert_eq!(state(&[channel("them", "", false, false)], &[]), EdgeState::Pending, "being negotiated");
    }

    #[test]
    fn the_best_of_several_channels_counts() {
        let ours = [channel("them", "a:0", true, false), channel("them", "b:0", true, true)];
        let theirs = [channel("us", "b:0", true, true), channel("us", "a:0", true, false)];
        assert_eq!(state(&ours, &theirs), EdgeState::Usable);
    }
}
