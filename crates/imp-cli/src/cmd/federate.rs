//! `imp federate`.

use imp_api::client::{Client, ClientError};
use imp_api::proto::federate::{LeaveFederationRequest, RequestFederateRequest};
use imp_api::proto::imp::federate::v1::{
    AcceptFederatedPeerRequest, BlockPeerRequest, FederatedPeer, GetFederatedPeerRequest,
    ListFederatedPeersRequest, ListFederatedPeersResponse, ListWithheldMessagesRequest,
    ListWithheldMessagesResponse, PeerRights, RejectFederatedPeerRequest, SetPeerNameRequest,
    SetPeerRightsRequest, UnblockPeerRequest, WithheldMessage,
};

use super::{ASKING, word};
use crate::args::federate::{FederateCommand, ListPeers, NewRights, Peer, Told};
use crate::args::options::{LARGEST_PAGE, Part};
use crate::args::value::Node;
use crate::failure::Failure;
use crate::output::Column::{Number, Text};
use crate::output::{fields, or_dash, table};
use crate::pages::{fetch, note_more};
use crate::session::Session;
use crate::time::{iso, iso_and_distance};

pub(crate) async fn run(session: &Session, command: FederateCommand) -> Result<(), Failure> {
    match command {
        FederateCommand::Request(told) => request(session, told).await,
        FederateCommand::Leave(told) => leave(session, told).await,
        FederateCommand::List(args) => list(session, args).await,
        FederateCommand::Show(Peer { node }) => {
            peer(session, node, async |node, pubkey| {
                node.get_federated_peer(GetFederatedPeerRequest { pubkey }).await
            })
            .await
        }
        FederateCommand::Accept(Peer { node }) => accept(session, node).await,
        FederateCommand::Reject(Peer { node }) => reject(session, node).await,
        FederateCommand::Rights { peer: Peer { node }, rights } => {
            let NewRights { messages, sockets, vpn_quotes, min_sat: min_message_sat, reset } = rights;
            peer(session, node, async move |node, pubkey| {
                let request =
                    SetPeerRightsRequest { pubkey, messages, sockets, vpn_quotes, min_message_sat, reset };
                node.set_peer_rights(request).await
            })
            .await
        }
        FederateCommand::Name { peer: Peer { node }, name, none: _ } => {
            let name = name.unwrap_or_default();
            peer(session, node, async |node, pubkey| {
                node.set_peer_name(SetPeerNameRequest { pubkey, name }).await
            })
            .await
        }
        FederateCommand::Block(Peer { node }) => {
            peer(session, node, async |node, pubkey| node.block_peer(BlockPeerRequest { pubkey }).await).await
        }
        FederateCommand::Unblock(Peer { node }) => {
            peer(session, node, async |node, pubkey| node.unblock_peer(UnblockPeerRequest { pubkey }).await)
                .await
        }
        FederateCommand::Withheld { from, part } => withheld(session, from, part).await,
    }
}

async fn request(session: &Session, told: Told) -> Result<(), Failure> {
    let pubkey = session.pubkey(told.peer.node).await?;
    let request = RequestFederateRequest { pubkey, idempotency_key: told.key.key };
    let answer = session.call("sending", async |node| node.request_federate(request).await).await?;
    session.print(&answer, |answer| fields(&[("id", &answer.id)]))
}

async fn leave(session: &Session, told: Told) -> Result<(), Failure> {
    let pubkey = session.pubkey(told.peer.node).await?;
    let request = LeaveFederationRequest { pubkey, idempotency_key: told.key.key };
    let answer = session.call("sending", async |node| node.leave_federation(request).await).await?;
    session.print(&answer, |answer| fields(&[("id", &answer.id)]))
}

async fn accept(session: &Session, node: Node) -> Result<(), Failure> {
    let request = AcceptFederatedPeerRequest { pubkey: session.pubkey(node).await? };
    let answer = session.call("sending", async |node| node.accept_federated_peer(request).await).await?;
    session.print(&answer, |answer| fields(&[("id", &answer.id)]))
}

async fn reject(session: &Session, node: Node) -> Result<(), Failure> {
    let request = RejectFederatedPeerRequest { pubkey: session.pubkey(node).await? };
    let answer = session.call("sending", async |node| node.reject_federated_peer(request).await).await?;
    session.print(&answer, |answer| fields(&[("id", &answer.id)]))
}

/// Makes a call about a peer that answers with what the node then remembers of it.
async fn peer(
    session: &Session,
    node: Node,
    call: impl AsyncFnOnce(Client, String) -> Result<FederatedPeer, ClientError>,
) -> Result<(), Failure> {
    let pubkey = session.pubkey(node).await?;
    let answer = session.call(ASKING, async |node| call(node, pubkey).await).await?;
    session.print(&answer, standing)
}

async fn list(session: &Session, args: ListPeers) -> Result<(), Failure> {
    let ListPeers { state, blocked, limit, cursor, all } = args;
    let request = ListFederatedPeersRequest {
        limit: limit.unwrap_or(if all { LARGEST_PAGE } else { 0 }),
        state: state.join(","),
        blocked,
        ..Default::default()
    };
    let answer = session
        .call(ASKING, async move |node| {
            fetch(all, cursor, async |cursor| {
                let cursor = cursor.unwrap_or_default();
                node.list_federated_peers(ListFederatedPeersRequest { cursor, ..request.clone() }).await
            })
            .await
        })
        .await?;
    session.print(&answer, peers)?;
    note_more(session.output, &answer, "--cursor");
    Ok(())
}

fn peers(answer: &ListFederatedPeersResponse) -> String {
    if answer.peers.is_empty() {
        return "no peers".to_owned();
    }
    let row = |peer: &FederatedPeer| {
        [
            or_dash(&peer.name),
            if peer.blocked { "blocked".to_owned() } else { peer.state.clone() },
            or_dash(&peer.asked_by),
            or_dash(&peer.until_ms.map(iso).unwrap_or_default()),
            rights(peer.rights.as_ref()),
            or_dash(&peer.last_seen_ms.map(iso).unwrap_or_default()),
            peer.withheld_count.to_string(),
            or_dash(&peer.imp_id),
            peer.pubkey.clone(),
        ]
    };
    let columns = [
        Text("NAME"),
        Text("STATE"),
        Text("ASKED BY"),
        Text("UNTIL"),
        Text("MAY SEND"),
        Text("LAST SEEN"),
        Number("WITHHELD"),
        Text("CALLS ITSELF"),
        Text("PUBKEY"),
    ];
    table(columns, &answer.peers.iter().map(row).collect::<Vec<_>>())
}

/// What a node may send, in few words.
fn rights(rights: Option<&PeerRights>) -> String {
    let Some(rights) = rights else { return "-".to_owned() };
    let messages = match rights.min_message_sat {
        0 => "messages".to_owned(),
        least => format!("messages of {least} sat"),
    };
    let all = [
        (rights.messages, messages),
        (rights.sockets, "sockets".to_owned()),
        (rights.vpn_quotes, "vpn".to_owned()),
    ];
    let may: Vec<String> = all.into_iter().filter_map(|(may, what)| may.then_some(what)).collect();
    if may.is_empty() { "nothing".to_owned() } else { may.join(", ") }
}

fn standing(peer: &FederatedPeer) -> String {
    let time = |ms: Option<i64>| or_dash(&ms.map(iso_and_distance).unwrap_or_default());
    let whose = if peer.own_rights { "its own" } else { "those of its standing" };
    let mut lines = vec![
        ("pubkey", peer.pubkey.clone()),
        ("name", or_dash(&peer.name)),
        ("calls itself", or_dash(&peer.imp_id)),
        ("state", peer.state.clone()),
        ("asked by", or_dash(&peer.asked_by)),
        ("standing", or_dash(&peer.standing)),
        ("since", time(peer.since_ms)),
        ("until", time(peer.until_ms)),
        ("may send", rights(peer.rights.as_ref())),
        ("rights", whose.to_owned()),
        ("blocked", word(peer.blocked).to_owned()),
        ("last seen", time(peer.last_seen_ms)),
        ("withheld", peer.withheld_count.to_string()),
    ];
    if peer.their_terms.is_some() {
        lines.push(("takes from us", rights(peer.their_terms.as_ref())));
    }
    fields(&lines)
}

async fn withheld(session: &Session, from: Option<Node>, part: Part) -> Result<(), Failure> {
    let pubkey = match from {
        Some(node) => session.pubkey(node).await?,
        None => String::new(),
    };
    let request = ListWithheldMessagesRequest { limit: part.page(), cursor: 0, pubkey };
    let answer = session
        .call(ASKING, async move |node| {
            fetch(part.all, part.cursor, async |cursor| {
                let cursor = cursor.unwrap_or_default();
                node.list_withheld_messages(ListWithheldMessagesRequest { cursor, ..request.clone() }).await
            })
            .await
        })
        .await?;
    session.print(&answer, withheld_messages)?;
    note_more(session.output, &answer, "--cursor");
    Ok(())
}

fn withheld_messages(answer: &ListWithheldMessagesResponse) -> String {
    if answer.messages.is_empty() {
        return "nothing was withheld".to_owned();
    }
    let row = |message: &WithheldMessage| {
        [
            iso(message.at_ms),
            message.reason.clone(),
            message.service_type.clone(),
            message.amount.to_string(),
            message.bytes.to_string(),
            message.from_pubkey.clone(),
            message.id.clone(),
        ]
    };
    let columns = [
        Text("CAME"),
        Text("REASON"),
        Text("SERVICE"),
        Number("SAT"),
        Number("BYTES"),
        Text("FROM"),
        Text("ID"),
    ];
    table(columns, &answer.messages.iter().map(row).collect::<Vec<_>>())
}
