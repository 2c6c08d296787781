//! `imp node`.

use std::process::ExitCode;

use imp_api::client::Client;
use imp_api::proto::imp::node::v1::{
    Channel, GetNodeRequest, GetNodeResponse, ListChannelsRequest, ListChannelsResponse, NewAddressRequest,
};

use super::word;
use crate::args::NodeCommand;
use crate::failure::Failure;
use crate::output::{Output, fields, table};

pub(crate) async fn run(addr: &str, output: Output, command: NodeCommand) -> Result<ExitCode, Failure> {
    let client = Client::connect(addr).await?;
    match command {
        NodeCommand::Info => output.print(&client.get_node(GetNodeRequest {}).await?, info)?,
        NodeCommand::Channels => {
            output.print(&client.list_channels(ListChannelsRequest {}).await?, channels)?
        }
        NodeCommand::Address => {
            let answer = client.new_address(NewAddressRequest {}).await?;
            output.print(&answer, |answer| fields(&[("address", &answer.address)]))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn info(node: &GetNodeResponse) -> String {
    let sat = |amount: i64| format!("{amount} sat");
    let listen = if node.listen.is_empty() { "nowhere".to_owned() } else { node.listen.join(", ") };
    fields(&[
        ("pubkey", &node.pubkey),
        ("alias", &node.alias),
        ("network", &node.network),
        ("backend", &node.backend),
        ("version", &node.version),
        ("synced", word(node.synced)),
        ("block height", &node.block_height.to_string()),
        ("on-chain", &sat(node.onchain_sat)),
        ("in channels", &sat(node.channel_sat)),
        ("spendable", &sat(node.spendable_sat)),
        ("listens", &listen),
    ])
}

fn channels(answer: &ListChannelsResponse) -> String {
    if answer.channels.is_empty() {
        return "no channels".to_owned();
    }
    let rows: Vec<_> = answer
        .channels
        .iter()
        .map(|channel| {
            [
                channel.pubkey.clone(),
                channel.capacity_sat.to_string(),
                channel.outbound_sat.to_string(),
                channel.inbound_sat.to_string(),
                state(channel).to_owned(),
                channel.user_channel_id.clone(),
            ]
        })
        .collect();
    table(["PEER", "CAPACITY", "CAN SEND", "CAN RECEIVE", "STATE", "ID"], &rows)
}

const fn state(channel: &Channel) -> &'static str {
    match (channel.ready, channel.usable) {
        (_, true) => "usable",
        (true, false) => "peer away",
        (false, false) => "opening",
    }
}
