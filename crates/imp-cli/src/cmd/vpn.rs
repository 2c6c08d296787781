//! `imp vpn`.

use imp_api::proto::vpn::{AcceptContractRequest, RefreshContractRequest, RequestQuoteRequest};

use crate::args::services::{Contract, VpnCommand};
use crate::failure::Failure;
use crate::output::fields;
use crate::session::Session;

pub(crate) async fn run(session: &Session, command: VpnCommand) -> Result<(), Failure> {
    match command {
        VpnCommand::Quote { pubkey } => {
            let request = RequestQuoteRequest { pubkey };
            let answer = session.call("sending", async move |node| node.request_quote(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.id)]))
        }
        VpnCommand::Contract(Contract { pubkey, nonce, price }) => {
            let request = AcceptContractRequest { pubkey, nonce, price: price.to_string() };
            let answer =
                session.call("paying", async move |node| node.accept_contract(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.id)]))
        }
        VpnCommand::Refresh(Contract { pubkey, nonce, price }) => {
            let request = RefreshContractRequest { pubkey, nonce, price: price.to_string() };
            let answer =
                session.call("paying", async move |node| node.refresh_contract(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.id)]))
        }
    }
}
