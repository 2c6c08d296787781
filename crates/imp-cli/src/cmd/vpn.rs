//! `imp vpn`.

mod buy;
mod config;
mod contracts;
mod seller;
mod tunnel;
mod waiting;

use crate::args::vpn::VpnCommand;
use crate::failure::Failure;
use crate::session::Session;

pub(crate) async fn run(session: &Session, command: VpnCommand) -> Result<(), Failure> {
    match command {
        VpnCommand::Quote(args) => buy::quote(session, args).await,
        VpnCommand::Buy(args) => buy::buy(session, args).await,
        VpnCommand::Contract(args) => buy::accept(session, args).await,
        VpnCommand::Refresh(args) => buy::refresh(session, args).await,
        VpnCommand::List(args) => contracts::list(session, args).await,
        VpnCommand::Show(contract) => contracts::show(session, contract).await,
        VpnCommand::Config { contract, out } => config::config(session, contract, out).await,
        VpnCommand::Qr { contract, out } => config::qr(session, contract, out).await,
        VpnCommand::Up { contract, tunnel } => tunnel::up(session, contract, tunnel).await,
        VpnCommand::Down(contract) => tunnel::down(session, contract).await,
        VpnCommand::AutoRefresh { contract, limit } => tunnel::auto_refresh(session, contract, limit).await,
        VpnCommand::Quotes { from } => contracts::quotes(session, from).await,
        VpnCommand::Payments(args) => seller::payments(session, args).await,
        VpnCommand::Seller => seller::seller(session).await,
    }
}
