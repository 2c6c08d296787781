//! `federate.Federate` and `imp.federate.v1.Peers`.

use imp_api::proto::federate::federate_server::Federate;
use imp_api::proto::federate::{
    LeaveFederationRequest, LeaveFederationResponse, RequestFederateRequest, RequestFederateResponse,
};
use imp_api::proto::imp::federate::v1 as proto;
use imp_api::proto::imp::federate::v1::peers_server::Peers;
use imp_core::federation::{AskedBy, Rights, Standing, State};
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use tonic::{Request, Response, Status};

use super::Calls;
use super::idempotency::call_key;
use super::owner::require_owner;
use crate::error::Error;
use crate::federation::PeerView;
use crate::service::federate::{ListPeers, PeerInfo, SetRights};
use crate::store::inbox::Withheld;

const REQUEST_FEDERATE: &str = "federate.Federate/RequestFederate";
const LEAVE_FEDERATION: &str = "federate.Federate/LeaveFederation";

#[tonic::async_trait]
impl Federate for Calls {
    async fn request_federate(
        &self,
        request: Request<RequestFederateRequest>,
    ) -> Result<Response<RequestFederateResponse>, Status> {
        let services = self.sending(Service::Federate)?;
        let (metadata, _, mut message) = request.into_parts();
        let field = message.idempotency_key.take();
        let key = call_key(REQUEST_FEDERATE, &metadata, field.as_deref(), &message)?;
        let id = services.federate.request(&message.pubkey, key).await?;
        Ok(Response::new(RequestFederateResponse { id: id.to_string() }))
    }

    async fn leave_federation(
        &self,
        request: Request<LeaveFederationRequest>,
    ) -> Result<Response<LeaveFederationResponse>, Status> {
        let services = self.sending(Service::Federate)?;
        let (metadata, _, mut message) = request.into_parts();
        let field = message.idempotency_key.take();
        let key = call_key(LEAVE_FEDERATION, &metadata, field.as_deref(), &message)?;
        let id = services.federate.leave(&message.pubkey, key).await?;
        Ok(Response::new(LeaveFederationResponse { id: id.to_string() }))
    }
}

#[tonic::async_trait]
impl Peers for Calls {
    async fn list_federated_peers(
        &self,
        request: Request<proto::ListFederatedPeersRequest>,
    ) -> Result<Response<proto::ListFederatedPeersResponse>, Status> {
        let proto::ListFederatedPeersRequest { limit, cursor, state, name, blocked } = request.into_inner();
        let request = ListPeers { limit, cursor, state, name, blocked };
        let list = self.services()?.federate.list(request).await?;
        Ok(Response::new(proto::ListFederatedPeersResponse {
            peers: list.peers.into_iter().map(peer).collect(),
            next_cursor: list.next.map(|node| node.to_string()),
            federated_count: int(list.federated as u64),
            pending_count: int(list.pending as u64),
        }))
    }

    async fn get_federated_peer(
        &self,
        request: Request<proto::GetFederatedPeerRequest>,
    ) -> Result<Response<proto::FederatedPeer>, Status> {
        let found = self.services()?.federate.get(&request.into_inner().pubkey).await?;
        Ok(Response::new(peer(found)))
    }

    async fn accept_federated_peer(
        &self,
        request: Request<proto::AcceptFederatedPeerRequest>,
    ) -> Result<Response<proto::AcceptFederatedPeerResponse>, Status> {
        require_owner(&request).map_err(Error::of_send)?;
        let services = self.sending(Service::Federate)?;
        let id = services.federate.accept(&request.into_inner().pubkey).await?;
        Ok(Response::new(proto::AcceptFederatedPeerResponse { id: id.to_string() }))
    }

    async fn reject_federated_peer(
        &self,
        request: Request<proto::RejectFederatedPeerRequest>,
    ) -> Result<Response<proto::RejectFederatedPeerResponse>, Status> {
        require_owner(&request).map_err(Error::of_send)?;
        let services = self.sending(Service::Federate)?;
        let id = services.federate.reject(&request.into_inner().pubkey).await?;
        Ok(Response::new(proto::RejectFederatedPeerResponse { id: id.to_string() }))
    }

    async fn set_peer_rights(
        &self,
        request: Request<proto::SetPeerRightsRequest>,
    ) -> Result<Response<proto::FederatedPeer>, Status> {
        require_owner(&request)?;
        let proto::SetPeerRightsRequest { pubkey, messages, sockets, vpn_quotes, min_message_sat, reset } =
            request.into_inner();
        let rights = SetRights { messages, sockets, vpn_quotes, min_message_sat, reset };
        Ok(Response::new(peer(self.services()?.federate.set_rights(&pubkey, rights).await?)))
    }

    async fn set_peer_name(
        &self,
        request: Request<proto::SetPeerNameRequest>,
    ) -> Result<Response<proto::FederatedPeer>, Status> {
        require_owner(&request)?;
        let proto::SetPeerNameRequest { pubkey, name } = request.into_inner();
        Ok(Response::new(peer(self.services()?.federate.set_name(&pubkey, name).await?)))
    }

    async fn block_peer(
        &self,
        request: Request<proto::BlockPeerRequest>,
    ) -> Result<Response<proto::FederatedPeer>, Status> {
        require_owner(&request)?;
        Ok(Response::new(peer(self.services()?.federate.block(&request.into_inner().pubkey).await?)))
    }

    async fn unblock_peer(
        &self,
        request: Request<proto::UnblockPeerRequest>,
    ) -> Result<Response<proto::FederatedPeer>, Status> {
        require_owner(&request)?;
        Ok(Response::new(peer(self.services()?.federate.unblock(&request.into_inner().pubkey).await?)))
    }

    async fn list_withheld_messages(
        &self,
        request: Request<proto::ListWithheldMessagesRequest>,
    ) -> Result<Response<proto::ListWithheldMessagesResponse>, Status> {
        let proto::ListWithheldMessagesRequest { limit, cursor, pubkey } = request.into_inner();
        let page = self.services()?.federate.withheld(limit, cursor, &pubkey).await?;
        Ok(Response::new(proto::ListWithheldMessagesResponse {
            messages: page.messages.into_iter().map(withheld).collect(),
            next_cursor: page.next.map(int),
            total_count: int(page.total),
        }))
    }
}

fn peer(info: PeerInfo) -> proto::FederatedPeer {
    let PeerInfo { view: PeerView { node, peer, rights: may }, withheld } = info;
    proto::FederatedPeer {
        pubkey: node.to_string(),
        name: peer.name,
        imp_id: peer.imp_id,
        state: peer.state.name().to_owned(),
        asked_by: peer.asked_by.map_or("", AskedBy::name).to_owned(),
        standing: peer.standing.map_or("", Standing::name).to_owned(),
        since_ms: (peer.state != State::None).then_some(time(peer.since)),
        until_ms: peer.until.map(time),
        rights: Some(rights(may)),
        own_rights: peer.own_rights.is_some(),
        blocked: peer.blocked,
        last_seen_ms: peer.last_seen.map(time),
        withheld_count: int(withheld),
        their_terms: peer.terms.map(rights),
    }
}

fn rights(rights: Rights) -> proto::PeerRights {
    proto::PeerRights {
        messages: rights.messages,
        sockets: rights.sockets,
        vpn_quotes: rights.vpn_quotes,
        min_message_sat: int(rights.min_message_sat),
    }
}

fn withheld(message: Withheld) -> proto::WithheldMessage {
    proto::WithheldMessage {
        id: message.id.to_string(),
        from_pubkey: message.sender.to_string(),
        service_type: message.service.name().to_owned(),
        amount: int(message.amount_sat),
        bytes: int(message.bytes),
        reason: message.reason.name().to_owned(),
        at_ms: time(message.at),
    }
}

fn time(time: UnixMillis) -> i64 {
    int(time.0)
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
