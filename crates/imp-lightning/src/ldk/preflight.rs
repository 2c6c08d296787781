//! A look at the chain source before the node starts: ldk-node names no reason when it cannot use one, and a new wallet
//! takes the best block of that moment as its first.

use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::constants::genesis_block;
use electrum_client::ElectrumApi;
use serde::Deserialize;

use crate::ldk::bitcoind::{self, Bitcoind, CallFault};
use crate::ldk::config::{ChainSource, StartError};
use crate::port::Network;

/// How long a chain source may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// "Loading block index" and its like: bitcoind is up and will be ready.
const RPC_IN_WARMUP: i64 = -28;

/// Finds out whether the chain source answers, accepts the credentials and follows the network.
pub(super) async fn check(chain: &ChainSource, network: Network) -> Result<(), StartError> {
    let url = chain.url();
    let looked = async {
        match chain {
            ChainSource::Bitcoind { host, port, user, password } => {
                let found = bitcoind_chain(Bitcoind { host, port: *port, user, password }).await?;
                let expected = chain_name(network);
                if found == expected { Ok(()) } else { Err(Fault::Network(found)) }
            }
            ChainSource::Esplora { url } => same_genesis(esplora_genesis(url).await?, network),
            ChainSource::Electrum { url } => same_genesis(electrum_genesis(url.clone()).await?, network),
        }
    };
    let fault = match tokio::time::timeout(PATIENCE, looked).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(fault)) => fault,
        Err(_) => Fault::Away(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    Err(match fault {
        Fault::Away(cause) => StartError::ChainAway { url, cause },
        Fault::Refused => StartError::ChainRefused { url },
        Fault::Network(found) => StartError::WrongNetwork { url, found, expected: network },
    })
}

enum Fault {
    Away(String),
    Refused,
    Network(String),
}

#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
}

/// The chain that a bitcoind says it follows.
async fn bitcoind_chain(bitcoind: Bitcoind<'_>) -> Result<String, Fault> {
    let info: Result<ChainInfo, CallFault> = bitcoind.call("getblockchaininfo", serde_json::json!([])).await;
    info.map(|info| info.chain).map_err(|fault| match fault {
        CallFault::Refused => Fault::Refused,
        CallFault::Rpc { code: RPC_IN_WARMUP, message } => Fault::Away(format!("it is starting: {message}")),
        CallFault::Away(message) | CallFault::Rpc { message, .. } => Fault::Away(message),
    })
}

/// The hash of the first block that an Esplora server knows.
async fn esplora_genesis(url: &str) -> Result<BlockHash, Fault> {
    let client = reqwest::Client::builder().build().map_err(|fault| away(&fault))?;
    let url = format!("{}/block-height/0", url.trim_end_matches('/'));
    let answer = client.get(url).send().await.map_err(|fault| away(&fault))?;
    let status = answer.status();
    if status == reqwest::StatusCode::UNAUTHORIZED || status == reqwest::StatusCode::FORBIDDEN {
        return Err(Fault::Refused);
    }
    let text = answer.text().await.map_err(|fault| away(&fault))?;
    text.trim().parse().map_err(|_| {
        Fault::Away(format!("it does not answer like an Esplora server (HTTP {})", status.as_u16()))
    })
}

/// The hash of the first block that an Electrum server knows.
async fn electrum_genesis(url: String) -> Result<BlockHash, Fault> {
    let look = move || {
        let patience_secs = PATIENCE.as_secs().saturating_sub(1) as u8;
        let config = electrum_client::ConfigBuilder::new().timeout(Some(patience_secs)).retry(0).build();
        electrum_client::Client::from_config(&url, config)?.block_header(0)
    };
    match tokio::task::spawn_blocking(look).await {
        Ok(Ok(header)) => Ok(header.block_hash()),
        Ok(Err(fault)) => Err(Fault::Away(fault.to_string())),
        Err(_) => Err(Fault::Away("the look at it was cut short".to_owned())),
    }
}

fn same_genesis(found: BlockHash, network: Network) -> Result<(), Fault> {
    let of = |network: Network| genesis_block(bitcoin::Network::from(network)).block_hash();
    if found == of(network) {
        return Ok(());
    }
    let known = [Network::Bitcoin, Network::Testnet, Network::Signet, Network::Regtest];
    let name = known.into_iter().find(|other| found == of(*other)).map_or("another network", Network::name);
    Err(Fault::Network(name.to_owned()))
}

/// bitcoind's name of a network.
const fn chain_name(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => "main",
        Network::Testnet => "test",
        Network::Signet => "signet",
        Network::Regtest => "regtest",
    }
}

fn away(fault: &reqwest::Error) -> Fault {
    Fault::Away(bitcoind::cause(fault))
}
