use imp_api::error::{Code, StatusBody};
use imp_api::proto::federate::federate_server::Federate;
use imp_api::proto::federate::*;
use imp_api::proto::imp::federate::v1::peers_server::Peers;
use imp_api::proto::imp::federate::v1::*;
use tonic::{Request, Response, Status};

use super::{Echo, sent};

#[tonic::async_trait]
impl Federate for Echo {
    async fn request_federate(
        &self,
        request: Request<RequestFederateRequest>,
    ) -> Result<Response<RequestFederateResponse>, Status> {
        self.answer(request, sent(|id| RequestFederateResponse { id })).await
    }

    async fn leave_federation(
        &self,
        request: Request<LeaveFederationRequest>,
    ) -> Result<Response<LeaveFederationResponse>, Status> {
        self.answer(request, sent(|id| LeaveFederationResponse { id })).await
    }
}

/// The public key of the node that is called `bob`, and of those called `bob2` and so on.
pub(crate) fn named(number: u8) -> String {
    format!("02{}", format!("{number:02x}").repeat(32))
}

/// The nodes that the server knows of: `bob` is federated, `bob2` asks to be, and the third is blocked and has no name.
fn peers() -> Vec<FederatedPeer> {
    let rights = PeerRights { messages: true, sockets: true, vpn_quotes: false, min_message_sat: 0 };
    let bob = FederatedPeer {
        pubkey: named(1),
        name: "bob".into(),
        imp_id: "b\x1b[2J".into(),
        state: "federated".into(),
        asked_by: "us".into(),
        standing: "request".into(),
        since_ms: Some(1_700_000_000_000),
        until_ms: Some(1_731_560_000_000),
        rights: Some(PeerRights { min_message_sat: 10, ..rights }),
        own_rights: true,
        last_seen_ms: Some(1_700_000_001_000),
        withheld_count: 2,
        their_terms: Some(PeerRights { vpn_quotes: true, ..rights }),
        ..Default::default()
    };
    let asking = FederatedPeer {
        pubkey: named(2),
        name: "bob2".into(),
        state: "pending".into(),
        asked_by: "them".into(),
        until_ms: Some(1_700_604_800_000),
        rights: Some(rights),
        ..Default::default()
    };
    let blocked = FederatedPeer {
        pubkey: named(3),
        state: "left".into(),
        blocked: true,
        rights: Some(PeerRights::default()),
        ..Default::default()
    };
    vec![bob, asking, blocked]
}

/// The peer of this key, as a change leaves it.
fn changed(
    pubkey: &str,
    change: impl FnOnce(FederatedPeer) -> FederatedPeer,
) -> Result<FederatedPeer, StatusBody> {
    let peer = peers().into_iter().find(|peer| peer.pubkey == pubkey);
    peer.map(change).ok_or_else(|| StatusBody::new(Code::NotFound, "nothing is remembered of it"))
}

#[tonic::async_trait]
impl Peers for Echo {
    async fn list_federated_peers(
        &self,
        request: Request<ListFederatedPeersRequest>,
    ) -> Result<Response<ListFederatedPeersResponse>, Status> {
        self.answer(request, |request| {
            let mut peers: Vec<_> = peers()
                .into_iter()
                .filter(|peer| request.name.is_empty() || peer.name == request.name)
                .filter(|peer| {
                    request.state.is_empty() || request.state.split(',').any(|is| peer.state == is)
                })
                .filter(|peer| !request.blocked || peer.blocked)
                .skip_while(|peer| peer.pubkey <= request.cursor)
                .collect();
            // A page is never larger than two peers here, so that few make several pages.
            let more = peers.len() > 2;
            peers.truncate(2);
            let next_cursor = more.then(|| peers[1].pubkey.clone());
            Ok(ListFederatedPeersResponse { peers, next_cursor, federated_count: 1, pending_count: 1 })
        })
        .await
    }

    async fn get_federated_peer(
        &self,
        request: Request<GetFederatedPeerRequest>,
    ) -> Result<Response<FederatedPeer>, Status> {
        self.answer(request, |request| changed(&request.pubkey, |peer| peer)).await
    }

    async fn accept_federated_peer(
        &self,
        request: Request<AcceptFederatedPeerRequest>,
    ) -> Result<Response<AcceptFederatedPeerResponse>, Status> {
        self.answer(request, sent(|id| AcceptFederatedPeerResponse { id })).await
    }

    async fn reject_federated_peer(
        &self,
        request: Request<RejectFederatedPeerRequest>,
    ) -> Result<Response<RejectFederatedPeerResponse>, Status> {
        self.answer(request, sent(|id| RejectFederatedPeerResponse { id })).await
    }

    async fn set_peer_rights(
        &self,
        request: Request<SetPeerRightsRequest>,
    ) -> Result<Response<FederatedPeer>, Status> {
        self.answer(request, |request| {
            changed(&request.pubkey, |peer| {
                let was = peer.rights.unwrap_or_default();
                let rights = PeerRights {
                    messages: request.messages.unwrap_or(was.messages),
                    sockets: request.sockets.unwrap_or(was.sockets),
                    vpn_quotes: request.vpn_quotes.unwrap_or(was.vpn_quotes),
                    min_message_sat: request.min_message_sat.unwrap_or(was.min_message_sat),
                };
                FederatedPeer { rights: Some(rights), own_rights: !request.reset, ..peer }
            })
        })
        .await
    }

    async fn set_peer_name(
        &self,
        request: Request<SetPeerNameRequest>,
    ) -> Result<Response<FederatedPeer>, Status> {
        self.answer(request, |request| {
            changed(&request.pubkey, |peer| FederatedPeer { name: request.name, ..peer })
        })
        .await
    }

    async fn block_peer(
        &self,
        request: Request<BlockPeerRequest>,
    ) -> Result<Response<FederatedPeer>, Status> {
        self.answer(request, |request| {
            changed(&request.pubkey, |peer| FederatedPeer { blocked: true, state: "left".into(), ..peer })
        })
        .await
    }

    async fn unblock_peer(
        &self,
        request: Request<UnblockPeerRequest>,
    ) -> Result<Response<FederatedPeer>, Status> {
        self.answer(request, |request| {
            changed(&request.pubkey, |peer| FederatedPeer { blocked: false, ..peer })
        })
        .await
    }

    async fn list_withheld_messages(
        &self,
        request: Request<ListWithheldMessagesRequest>,
    ) -> Result<Response<ListWithheldMessagesResponse>, Status> {
        self.answer(request, |request| {
            let message = |number: i64| WithheldMessage {
                id: format!("w{number}"),
                from_pubkey: "02ab".into(),
                service_type: "message".into(),
                amount: number,
                bytes: 100 * number,
                reason: "below_minimum".into(),
                at_ms: 1_700_000_000_000 + number * 1000,
            };
            // Number 3 is the newest; a page holds two.
            let newest = if request.cursor == 0 { 3 } else { request.cursor - 1 };
            let messages: Vec<_> = (1..=newest).rev().take(2).map(message).collect();
            let next_cursor = (newest > 2).then_some(newest - 1);
            Ok(ListWithheldMessagesResponse { messages, next_cursor, total_count: 3 })
        })
        .await
    }
}
