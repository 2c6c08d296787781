//! Local ends of relays of other nodes: `imp socket connect`, `connections` and `disconnect`.

use imp_api::proto::imp::socket::v1::{
    CloseConnectionRequest, ConnectSocketRequest, Connection, ListConnectionsRequest, ListConnectionsResponse,
};

use crate::args::socket::Connect;
use crate::cmd::ASKING;
use crate::failure::Failure;
use crate::output::Column::{Number, Text};
use crate::output::{fields, or_dash, table};
use crate::session::Session;

pub(super) async fn connect(session: &Session, args: Connect) -> Result<(), Failure> {
    let Connect { event_id, port, side, allow_private } = args;
    let request = ConnectSocketRequest {
        event_id,
        local_port: port.map(u32::from).unwrap_or_default(),
        side: side.unwrap_or_default(),
        allow_private,
    };
    let answer = session.call("connecting", async |node| node.connect_socket(request).await).await?;
    session.print(&answer, |connection| {
        fields(&[
            ("send UDP to", &connection.local),
            ("relay", &connection.remote),
            ("offered by", &connection.pubkey),
            ("id", &connection.id),
        ])
    })
}

pub(super) async fn list(session: &Session) -> Result<(), Failure> {
    let request = ListConnectionsRequest {};
    let answer = session.call(ASKING, async |node| node.list_connections(request).await).await?;
    session.print(&answer, connections)
}

fn connections(answer: &ListConnectionsResponse) -> String {
    if answer.connections.is_empty() {
        return "no local ends".to_owned();
    }
    let row = |connection: &Connection| {
        [
            connection.id.clone(),
            connection.state.clone(),
            connection.local.clone(),
            or_dash(&connection.program),
            connection.remote.clone(),
            connection.packets_out.to_string(),
            connection.packets_in.to_string(),
            connection.pubkey.clone(),
        ]
    };
    let columns = [
        Text("ID"),
        Text("STATE"),
        Text("LOCAL"),
        Text("PROGRAM"),
        Text("RELAY"),
        Number("OUT"),
        Number("IN"),
        Text("OFFERED BY"),
    ];
    table(columns, &answer.connections.iter().map(row).collect::<Vec<_>>())
}

pub(super) async fn disconnect(session: &Session, id: String) -> Result<(), Failure> {
    let request = CloseConnectionRequest { id };
    let answer = session.call(ASKING, async |node| node.close_connection(request).await).await?;
    session.print(&answer, |_| "disconnected".to_owned())
}
