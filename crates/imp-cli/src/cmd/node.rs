//! `imp node`.

use imp_api::proto::imp::node::v1::{
    GetBalanceRequest, GetBalanceResponse, GetNodeRequest, GetNodeResponse, SyncChainRequest,
};

use super::{ASKING, channel, wallet, word};
use crate::args::node::NodeCommand;
use crate::failure::Failure;
use crate::output::Column::{Number, Text};
use crate::output::{fields, table};
use crate::session::Session;

pub(crate) async fn run(session: &Session, command: NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::Info => {
            let answer = session.call(ASKING, async |node| node.get_node(GetNodeRequest {}).await).await?;
            session.print(&answer, info)
        }
        NodeCommand::Balance => session.print(&ask_balance(session).await?, balance),
        NodeCommand::Sync => {
            let answer =
                session.call("syncing", async |node| node.sync_chain(SyncChainRequest {}).await).await?;
            session.print(&answer, |answer| fields(&[("block height", answer.block_height.to_string())]))
        }
        NodeCommand::Channels => channel::list(session).await,
        NodeCommand::Address => wallet::address(session).await,
    }
}

pub(super) async fn ask_balance(session: &Session) -> Result<GetBalanceResponse, Failure> {
    session.call(ASKING, async |node| node.get_balance(GetBalanceRequest {}).await).await
}

fn info(node: &GetNodeResponse) -> String {
    let sat = |amount: i64| format!("{amount} sat");
    let listen = if node.listen.is_empty() { "nowhere".to_owned() } else { node.listen.join(", ") };
    fields(&[
        ("pubkey", node.pubkey.clone()),
        ("alias", node.alias.clone()),
        ("network", node.network.clone()),
        ("backend", node.backend.clone()),
        ("version", node.version.clone()),
        ("synced", word(node.synced).to_owned()),
        ("block height", node.block_height.to_string()),
        ("on-chain", sat(node.onchain_total_sat)),
        ("  spendable", sat(node.onchain_sat)),
        ("in channels", sat(node.channel_sat)),
        ("  can send", sat(node.spendable_sat)),
        ("  can receive", sat(node.receivable_sat)),
        ("listens", listen),
    ])
}

fn balance(balance: &GetBalanceResponse) -> String {
    let row = |what: &str, amount: i64| [what.to_owned(), amount.to_string()];
    let rows = [
        row("on-chain", balance.onchain_total_sat),
        row("  can be sent", balance.onchain_spendable_sat),
        row("  held back for closing channels", balance.onchain_reserved_sat),
        row("in channels", balance.channel_sat),
        row("  can be sent now", balance.spendable_sat),
        row("  can be received now", balance.receivable_sat),
        row("coming back from closing channels", balance.closing_sat),
    ];
    table([Text("WHERE"), Number("SAT")], &rows)
}
