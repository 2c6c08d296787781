//! A look at the chain source before the node starts: ldk-node names no reason when it cannot use one, and a new wallet
//! takes the best block of that moment as its first.

use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::constants::genesis_block;
use electrum_client::ElectrumApi;
use serde::Deserialize;

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
                let found = bitcoind_chain(&format!("http://{host}:{port}/"), user, password).await?;
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
struct Answer {
    result: Option<ChainInfo>,
    error: Option<RpcError>,
}

#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
}

#[derive(Deserialize)]
struct RpcError {
    code: i64,
    message: String,
}

/// The chain that a bitcoind says it follows.
async fn bitcoind_chain(url: &str, user: &str, password: &str) -> Result<String, Fault> {
    let call =
        serde_json::json!({"jsonrpc": "1.0", "id": "imp", "method": "getblockchaininfo", "params": []});
    // Like ldk-node, straight to the host: a proxy of the environment is none for RPCs.
    let client = reqwest::Client::builder().no_proxy().build().map_err(|fault| away(&fault))?;
    let request = client.post(url).basic_auth(user, Some(password)).json(&call);
    let answer = request.send().await.map_err(|fault| away(&fault))?;
    let status = answer.status();
    if status == reqwest::StatusCode::UNAUTHORIZED || status == reqwest::StatusCode::FORBIDDEN {
        return Err(Fault::Refused);
    }
    let body = answer.bytes().await.map_err(|fault| away(&fault))?;
    match serde_json::from_slice::<Answer>(&body) {
        Ok(Answer { result: Some(info), .. }) => Ok(info.chain),
        Ok(Answer { error: Some(error), .. }) if error.code == RPC_IN_WARMUP => {
            Err(Fault::Away(format!("it is starting: {}", error.message)))
        }
        Ok(Answer { error: Some(error), .. }) => Err(Fault::Away(error.message)),
        _ => Err(Fault::Away(format!("it does not answer like a bitcoind (HTTP {})", status.as_u16()))),
    }
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

/// The innermost cause of a failed request, which is the one that says something; the URL is told beside it.
fn away(fault: &reqwest::Error) -> Fault {
    let mut cause: &dyn std::error::Error = fault;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Fault::Away(cause.to_string())
}
