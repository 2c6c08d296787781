//! What keeps an embedded node from starting, and how it says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::constants::genesis_block;
use imp_lightning::ldk::{ChainSource, LdkConfig, LdkNode, Seed, StartError};
use imp_lightning::{LightningError, LightningNode, Network};

use crate::conformance::until;
use crate::ldk_lab::{LdkLab, free_address};
use crate::memory::MemoryBlobs;
use crate::servers;

async fn start(config: LdkConfig) -> Result<Arc<LdkNode>, StartError> {
    LdkNode::start(config, Arc::new(MemoryBlobs::default())).await
}

/// The error of a start, which comes within 15 seconds and names what it is about.
async fn refusal(config: LdkConfig, about: &str) -> StartError {
    let begun = Instant::now();
    let error = start(config).await.expect_err("a start that cannot work");
    assert!(begun.elapsed() < Duration::from_secs(15), "{error}");
    assert!(error.to_string().contains(about), "{error}");
    error
}

#[tokio::test]
async fn a_chain_source_that_is_away_is_named() {
    let lab = LdkLab::without_nodes().await;
    let nobody = free_address();
    let away = ChainSource::Bitcoind {
        host: nobody.ip().to_string(),
        port: nobody.port(),
        user: "user".to_owned(),
        password: "a secret".to_owned(),
    };
    let error = refusal(LdkConfig { chain: away, ..lab.config(0) }, &format!("http://{nobody}")).await;
    assert!(matches!(error, StartError::ChainAway { .. }) && error.is_retryable(), "{error}");
    assert!(!error.to_string().contains("a secret"));

    let url = format!("http://{nobody}/api");
    let esplora = ChainSource::Esplora { url: url.clone() };
    let error = refusal(LdkConfig { chain: esplora, ..lab.config(0) }, &url).await;
    assert!(matches!(error, StartError::ChainAway { .. }), "{error}");

    let url = format!("tcp://{nobody}");
    let electrum = ChainSource::Electrum { url: url.clone() };
    let error = refusal(LdkConfig { chain: electrum, ..lab.config(0) }, &url).await;
    assert!(matches!(error, StartError::ChainAway { .. }), "{error}");
}

#[tokio::test]
async fn a_chain_source_that_says_nothing_is_given_up() {
    let lab = LdkLab::without_nodes().await;
    let silent = servers::silent().await;
    let (host, port) = (silent.ip().to_string(), silent.port());
    let bitcoind = ChainSource::Bitcoind { host, port, user: String::new(), password: String::new() };
    let esplora = ChainSource::Esplora { url: format!("http://{silent}") };
    let electrum = ChainSource::Electrum { url: format!("tcp://{silent}") };
    let given_up = async |chain| {
        let error = refusal(LdkConfig { chain, ..lab.config(0) }, &silent.to_string()).await;
        assert!(matches!(error, StartError::ChainAway { .. }), "{error}");
    };
    tokio::join!(given_up(bitcoind), given_up(esplora), given_up(electrum));
}

#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    let lab = LdkLab::without_nodes().await;
    let ChainSource::Bitcoind { host, port, user, .. } = lab.chain_source() else { unreachable!() };
    let chain = ChainSource::Bitcoind { host, port, user, password: "wrong".to_owned() };
    let error = refusal(LdkConfig { chain, ..lab.config(0) }, "user name or password").await;
    assert!(matches!(error, StartError::ChainRefused { .. }) && !error.is_retryable(), "{error}");
}

#[tokio::test]
async fn another_network_is_told_apart() {
    let lab = LdkLab::without_nodes().await;
    let error = refusal(LdkConfig { network: Network::Signet, ..lab.config(0) }, "regtest").await;
    assert!(matches!(error, StartError::WrongNetwork { .. }), "{error}");

    let mainnet = genesis_block(bitcoin::Network::Bitcoin);
    let server = servers::http(vec![("/block-height/0", 200, mainnet.block_hash().to_string())]).await;
    let esplora = ChainSource::Esplora { url: format!("http://{server}/") };
    let error = refusal(LdkConfig { chain: esplora, ..lab.config(0) }, "bitcoin").await;
    assert!(matches!(error, StartError::WrongNetwork { .. }), "{error}");

    let server = servers::electrum(serialize_hex(&mainnet.header)).await;
    let electrum = ChainSource::Electrum { url: format!("tcp://{server}") };
    let error = refusal(LdkConfig { chain: electrum, ..lab.config(0) }, "bitcoin").await;
    assert!(matches!(error, StartError::WrongNetwork { .. }), "{error}");
}

#[tokio::test]
async fn a_server_of_another_kind_is_no_chain_source() {
    let lab = LdkLab::without_nodes().await;
    let page = "<html>welcome</html>".to_owned();
    let server = servers::http(vec![("POST / ", 200, page.clone()), ("GET /", 200, page)]).await;
    let (host, port) = (server.ip().to_string(), server.port());
    let bitcoind = ChainSource::Bitcoind { host, port, user: String::new(), password: String::new() };
    let error = refusal(LdkConfig { chain: bitcoind, ..lab.config(0) }, "bitcoind").await;
    assert!(matches!(error, StartError::ChainAway { .. }), "{error}");
    let esplora = ChainSource::Esplora { url: format!("http://{server}") };
    let error = refusal(LdkConfig { chain: esplora, ..lab.config(0) }, "Esplora").await;
    assert!(matches!(error, StartError::ChainAway { .. }), "{error}");
}

#[tokio::test]
async fn a_node_starts_on_esplora_and_on_electrum() {
    let lab = LdkLab::without_nodes().await;
    let genesis = genesis_block(bitcoin::Network::Regtest);
    let server = servers::http(vec![
        ("/block-height/0", 200, genesis.block_hash().to_string()),
        ("/fee-estimates", 200, "{}".to_owned()),
    ])
    .await;
    let esplora = ChainSource::Esplora { url: format!("http://{server}") };
    let server = servers::electrum(serialize_hex(&genesis.header)).await;
    let electrum = ChainSource::Electrum { url: format!("tcp://{server}") };
    for chain in [esplora, electrum] {
        let node = start(LdkConfig { chain, ..lab.config(0) }).await.unwrap();
        assert!(node.channels().await.unwrap().is_empty());
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let lab = LdkLab::without_nodes().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = refusal(LdkConfig { listen: vec![address], ..lab.config(0) }, &address.to_string()).await;
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
}

#[tokio::test]
async fn values_that_cannot_be_used_are_named() {
    let lab = LdkLab::without_nodes().await;
    let alias = Some("x".repeat(33));
    refusal(LdkConfig { alias, ..lab.config(0) }, "32").await;
    let announce = vec!["nowhere".to_owned()];
    refusal(LdkConfig { announce, ..lab.config(0) }, "nowhere").await;
}

#[tokio::test]
async fn the_state_of_another_seed_is_refused() {
    let lab = LdkLab::without_nodes().await;
    let blobs = Arc::new(MemoryBlobs::default());
    LdkNode::start(lab.config(0), blobs.clone()).await.unwrap().shutdown().await;
    let other = LdkConfig { seed: Seed([9; 64]), ..lab.config(0) };
    assert_eq!(LdkNode::start(other, blobs).await.unwrap_err(), StartError::OtherState);
}

#[tokio::test]
async fn a_chain_that_goes_away_later_is_no_end() {
    let mut lab = LdkLab::without_nodes().await;
    lab.add_node().await;
    let node = lab.nodes[0].node.clone();
    until("the chain was seen", async || node.status().await.unwrap().synced.then_some(())).await;
    lab.server.shutdown().await;
    let looked = node.sync_chain().await;
    assert!(matches!(looked, Err(LightningError::Unavailable(_))), "{looked:?}");
    assert!(node.status().await.is_ok());
    node.shutdown().await;
}

#[tokio::test]
async fn a_dropped_node_stops_and_leaves_its_port() {
    let mut lab = LdkLab::without_nodes().await;
    lab.add_node().await;
    let member = lab.nodes.remove(0);
    let address = member.config.listen[0];
    drop(member.node);
    until("the port is free", async || std::net::TcpListener::bind(address).ok()).await;
    let again = LdkNode::start(member.config, member.blobs).await.unwrap();
    again.shutdown().await;
}
