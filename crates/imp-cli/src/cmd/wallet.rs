//! `imp wallet`.

use imp_api::proto::imp::node::v1::{GetBalanceResponse, NewAddressRequest, SendOnchainRequest};

use super::{ASKING, node};
use crate::args::node::{SendOnchain, WalletCommand};
use crate::confirm::confirm;
use crate::failure::Failure;
use crate::output::Column::{Number, Text};
use crate::output::{fields, table};
use crate::session::Session;

pub(crate) async fn run(session: &Session, command: WalletCommand) -> Result<(), Failure> {
    match command {
        WalletCommand::Address => address(session).await,
        WalletCommand::Balance => session.print(&node::ask_balance(session).await?, balance),
        WalletCommand::Send(args) => send(session, args).await,
    }
}

pub(super) async fn address(session: &Session) -> Result<(), Failure> {
    let answer = session.call(ASKING, async |node| node.new_address(NewAddressRequest {}).await).await?;
    session.print(&answer, |answer| fields(&[("address", &answer.address)]))
}

async fn send(session: &Session, args: SendOnchain) -> Result<(), Failure> {
    let what = args.amount.map_or_else(|| "everything".to_owned(), |amount| format!("{amount} sat"));
    let fee = args.fee_rate.map(|rate| format!(" for {rate} sat/vB")).unwrap_or_default();
    confirm(args.yes.yes, &format!("send {what} to {}{fee}?", args.address))?;
    let request = SendOnchainRequest {
        address: args.address,
        amount_sat: args.amount.unwrap_or_default(),
        all: args.all,
        fee_sat_per_vbyte: args.fee_rate.unwrap_or_default(),
        idempotency_key: args.key.key,
    };
    let answer = session.call("sending", async move |node| node.send_onchain(request).await).await?;
    session.print(&answer, |answer| fields(&[("txid", &answer.txid)]))
}

fn balance(balance: &GetBalanceResponse) -> String {
    let row = |what: &str, amount: i64| [what.to_owned(), amount.to_string()];
    let rows = [
        row("in all", balance.onchain_total_sat),
        row("  can be sent", balance.onchain_spendable_sat),
        row("  held back for closing channels", balance.onchain_reserved_sat),
        row("coming back from closing channels", balance.closing_sat),
    ];
    table([Text("ON-CHAIN"), Number("SAT")], &rows)
}
