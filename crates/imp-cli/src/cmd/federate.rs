//! `imp federate`.

use imp_api::proto::federate::{LeaveFederationRequest, RequestFederateRequest};

use crate::args::services::FederateCommand;
use crate::failure::Failure;
use crate::output::fields;
use crate::session::Session;

pub(crate) async fn run(session: &Session, command: FederateCommand) -> Result<(), Failure> {
    match command {
        FederateCommand::Request { pubkey } => {
            let request = RequestFederateRequest { pubkey, ..Default::default() };
            let answer =
                session.call("sending", async move |node| node.request_federate(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.id)]))
        }
        FederateCommand::Leave { pubkey } => {
            let request = LeaveFederationRequest { pubkey, ..Default::default() };
            let answer =
                session.call("sending", async move |node| node.leave_federation(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.id)]))
        }
    }
}
