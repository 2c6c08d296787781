//! `imp socket`.

use imp_api::proto::socket::{SendSocketRequest, StartSocketRequest, StopSocketRequest};

use super::ASKING;
use crate::args::services::SocketCommand;
use crate::failure::Failure;
use crate::output::fields;
use crate::session::Session;

pub(crate) async fn run(session: &Session, command: SocketCommand) -> Result<(), Failure> {
    match command {
        SocketCommand::Start => {
            let answer =
                session.call(ASKING, async |node| node.start_socket(StartSocketRequest {}).await).await?;
            session.print(&answer, |answer| {
                // The API writes ports with a leading colon.
                let address = |port: &str| format!("{}{port}", answer.ip);
                fields(&[
                    ("protocol", answer.protocol.clone()),
                    ("first user", address(&answer.port1)),
                    ("second user", address(&answer.port2)),
                ])
            })
        }
        SocketCommand::Stop => {
            let answer =
                session.call(ASKING, async |node| node.stop_socket(StopSocketRequest {}).await).await?;
            session.print(&answer, |_| "stopped".to_owned())
        }
        SocketCommand::Send { pubkey } => {
            let request = SendSocketRequest { pubkey, ..Default::default() };
            let answer = session.call("sending", async move |node| node.send_socket(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.id)]))
        }
    }
}
