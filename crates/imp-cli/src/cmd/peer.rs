//! `imp peer`.

use imp_api::proto::imp::node::v1::{
    ConnectPeerRequest, DisconnectPeerRequest, ListPeersRequest, ListPeersResponse, Peer,
};

use super::ASKING;
use crate::args::node::PeerCommand;
use crate::failure::Failure;
use crate::output::Column::Text;
use crate::output::{or_dash, table};
use crate::session::Session;

pub(crate) async fn run(session: &Session, command: PeerCommand) -> Result<(), Failure> {
    match command {
        PeerCommand::List => {
            let answer =
                session.call(ASKING, async |node| node.list_peers(ListPeersRequest {}).await).await?;
            session.print(&answer, peers)
        }
        PeerCommand::Connect { node } => {
            let request =
                ConnectPeerRequest { pubkey: session.pubkey(node.node).await?, address: node.address };
            let answer =
                session.call("connecting", async move |node| node.connect_peer(request).await).await?;
            session.print(&answer, |_| "connected".to_owned())
        }
        PeerCommand::Disconnect { node } => {
            let request = DisconnectPeerRequest { pubkey: session.pubkey(node).await? };
            let answer = session.call(ASKING, async move |node| node.disconnect_peer(request).await).await?;
            session.print(&answer, |_| "disconnected".to_owned())
        }
    }
}

fn peers(answer: &ListPeersResponse) -> String {
    if answer.peers.is_empty() {
        return "no peers".to_owned();
    }
    let row = |peer: &Peer| {
        let state = if peer.connected { "connected" } else { "away" };
        [peer.pubkey.clone(), or_dash(&peer.address), state.to_owned()]
    };
    let columns = [Text("PEER"), Text("ADDRESS"), Text("STATE")];
    table(columns, &answer.peers.iter().map(row).collect::<Vec<_>>())
}
