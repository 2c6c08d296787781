//! `imp vpn`.

use imp_api::proto::vpn::{AcceptContractRequest, RefreshContractRequest, RequestQuoteRequest};

use crate::args::vpn::{Contract, VpnCommand};
use crate::failure::Failure;
use crate::output::fields;
use crate::session::Session;

pub(crate) async fn run(session: &Session, command: VpnCommand) -> Result<(), Failure> {
    match command {
        VpnCommand::Quote { node } => {
            let request = RequestQuoteRequest { pubkey: session.pubkey(node).await? };
            let answer = session.call("sending", async move |node| node.request_quote(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.id)]))
        }
        VpnCommand::Contract(Contract { node, nonce, price }) => {
            let pubkey = session.pubkey(node).await?;
            let request = AcceptContractRequest { pubkey, nonce, price: price.to_string() };
            let answer =
                session.call("paying", async move |node| node.accept_contract(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.id)]))
        }
        VpnCommand::Refresh(Contract { node, nonce, price }) => {
            let pubkey = session.pubkey(node).await?;
            let request = RefreshContractRequest { pubkey, nonce, price: price.to_string() };
            let answer =
                session.call("paying", async move |node| node.refresh_contract(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.id)]))
        }
    }
}
