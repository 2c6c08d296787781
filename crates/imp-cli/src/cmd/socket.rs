//! `imp socket`.

mod connection;
mod relay;

use imp_api::proto::imp::socket::v1::SendRelayRequest;
use imp_api::proto::socket::{SendSocketRequest, StartSocketRequest, StopSocketRequest};

use super::ASKING;
use crate::args::socket::{SendSocket, SocketCommand};
use crate::failure::Failure;
use crate::output::fields;
use crate::session::Session;

pub(crate) async fn run(session: &Session, command: SocketCommand) -> Result<(), Failure> {
    match command {
        SocketCommand::Start => {
            let answer =
                session.call(ASKING, async |node| node.start_socket(StartSocketRequest {}).await).await?;
            session.print(&answer, |answer| {
                fields(&[
                    ("protocol", answer.protocol.clone()),
                    ("first user", address(&answer.ip, &answer.port1)),
                    ("second user", address(&answer.ip, &answer.port2)),
                ])
            })
        }
        SocketCommand::Stop => {
            let answer =
                session.call(ASKING, async |node| node.stop_socket(StopSocketRequest {}).await).await?;
            session.print(&answer, |_| "stopped".to_owned())
        }
        SocketCommand::Send(args) => send(session, args).await,
        SocketCommand::Open(args) => relay::open(session, args).await,
        SocketCommand::List { owner } => relay::list(session, owner).await,
        SocketCommand::Show { id } => relay::show(session, id).await,
        SocketCommand::Close { id } => relay::close(session, id).await,
        SocketCommand::Watch(args) => relay::watch(session, args).await,
        SocketCommand::Connect(args) => connection::connect(session, args).await,
        SocketCommand::Connections => connection::list(session).await,
        SocketCommand::Disconnect { id } => connection::disconnect(session, id).await,
    }
}

async fn send(session: &Session, args: SendSocket) -> Result<(), Failure> {
    let SendSocket { node, relay, key } = args;
    let (pubkey, idempotency_key) = (session.pubkey(node).await?, key.key);
    match relay {
        None => {
            let request = SendSocketRequest { pubkey, idempotency_key };
            let answer = session.call("sending", async |node| node.send_socket(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.id)]))
        }
        Some(id) => {
            let request = SendRelayRequest { id, pubkey, idempotency_key };
            let answer = session.call("sending", async |node| node.send_relay(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.id)]))
        }
    }
}

/// Where a relay is reached. The API writes ports with a leading colon.
fn address(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]{port}") } else { format!("{ip}{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_can_be_used_as_it_is_shown() {
        assert_eq!(address("127.0.0.1", ":5"), "127.0.0.1:5");
        assert_eq!(address("2001:db8::1", ":5"), "[2001:db8::1]:5");
    }
}
