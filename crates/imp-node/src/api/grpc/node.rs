//! `imp.node.v1.Node`.

use imp_api::proto::imp::node::v1 as proto;
use imp_api::proto::imp::node::v1::node_server::Node;
use imp_lightning::{Channel, Peer};
use tonic::{Request, Response, Status};

use super::Calls;
use super::idempotency::call_key;
use super::owner::require_owner;
use crate::error::Error;
use crate::service::node::{OpenChannelRequest, SendOnchain};

/// The call that keys are given for.
const SEND_ONCHAIN: &str = "imp.node.v1.Node/SendOnchain";
const OPEN_CHANNEL: &str = "imp.node.v1.Node/OpenChannel";

#[tonic::async_trait]
impl Node for Calls {
    async fn get_node(
        &self,
        _: Request<proto::GetNodeRequest>,
    ) -> Result<Response<proto::GetNodeResponse>, Status> {
        let services = self.services()?;
        let status = services.node.status().await?;
        let lightning = services.node.lightning();
        Ok(Response::new(proto::GetNodeResponse {
            pubkey: lightning.id().to_string(),
            alias: status.alias,
            network: lightning.network().to_string(),
            backend: lightning.backend().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            synced: status.synced,
            block_height: status.block_height,
            onchain_sat: sat(status.onchain_sat),
            channel_sat: sat(status.in_channels.to_sat_floor()),
            spendable_sat: sat(status.spendable.to_sat_floor()),
            listen: status.listen.iter().map(ToString::to_string).collect(),
            onchain_total_sat: sat(status.onchain_total_sat),
            receivable_sat: sat(status.receivable.to_sat_floor()),
        }))
    }

    async fn list_channels(
        &self,
        request: Request<proto::ListChannelsRequest>,
    ) -> Result<Response<proto::ListChannelsResponse>, Status> {
        require_owner(&request)?;
        let channels = self.services()?.node.channels().await?.into_iter().map(channel).collect();
        Ok(Response::new(proto::ListChannelsResponse { channels }))
    }

    async fn get_balance(
        &self,
        request: Request<proto::GetBalanceRequest>,
    ) -> Result<Response<proto::GetBalanceResponse>, Status> {
        require_owner(&request)?;
        let status = self.services()?.node.status().await?;
        Ok(Response::new(proto::GetBalanceResponse {
            onchain_total_sat: sat(status.onchain_total_sat),
            onchain_spendable_sat: sat(status.onchain_sat),
            onchain_reserved_sat: sat(status.onchain_reserved_sat),
            channel_sat: sat(status.in_channels.to_sat_floor()),
            spendable_sat: sat(status.spendable.to_sat_floor()),
            receivable_sat: sat(status.receivable.to_sat_floor()),
            closing_sat: sat(status.closing_sat),
        }))
    }

    async fn send_onchain(
        &self,
        request: Request<proto::SendOnchainRequest>,
    ) -> Result<Response<proto::SendOnchainResponse>, Status> {
        require_owner(&request).map_err(Error::of_payment)?;
        let (metadata, _, mut request) = request.into_parts();
        let field = request.idempotency_key.take();
        let key = call_key(SEND_ONCHAIN, &metadata, field.as_deref(), &request)?;
        let services = self.services().map_err(Error::of_payment)?;
        let proto::SendOnchainRequest { address, amount_sat, all, fee_sat_per_vbyte, .. } = request;
        let request = SendOnchain { address, amount_sat, all, fee_sat_per_vbyte };
        let txid = services.node.send_onchain(request, key).await?;
        Ok(Response::new(proto::SendOnchainResponse { txid }))
    }

    async fn list_peers(
        &self,
        request: Request<proto::ListPeersRequest>,
    ) -> Result<Response<proto::ListPeersResponse>, Status> {
        require_owner(&request)?;
        let peers = self.services()?.node.peers().await?.into_iter().map(peer).collect();
        Ok(Response::new(proto::ListPeersResponse { peers }))
    }

    async fn disconnect_peer(
        &self,
        request: Request<proto::DisconnectPeerRequest>,
    ) -> Result<Response<proto::DisconnectPeerResponse>, Status> {
        require_owner(&request)?;
        self.services()?.node.disconnect(&request.get_ref().pubkey).await?;
        Ok(Response::new(proto::DisconnectPeerResponse {}))
    }

    async fn close_channel(
        &self,
        request: Request<proto::CloseChannelRequest>,
    ) -> Result<Response<proto::CloseChannelResponse>, Status> {
        require_owner(&request)?;
        let proto::CloseChannelRequest { user_channel_id, force } = request.into_inner();
        self.services()?.node.close_channel(&user_channel_id, force).await?;
        Ok(Response::new(proto::CloseChannelResponse {}))
    }

    async fn new_address(
        &self,
        request: Request<proto::NewAddressRequest>,
    ) -> Result<Response<proto::NewAddressResponse>, Status> {
        require_owner(&request)?;
        let address = self.services()?.node.new_address().await?;
        Ok(Response::new(proto::NewAddressResponse { address }))
    }

    async fn connect_peer(
        &self,
        request: Request<proto::ConnectPeerRequest>,
    ) -> Result<Response<proto::ConnectPeerResponse>, Status> {
        require_owner(&request)?;
        let proto::ConnectPeerRequest { pubkey, address } = request.into_inner();
        self.services()?.node.connect(&pubkey, &address).await?;
        Ok(Response::new(proto::ConnectPeerResponse {}))
    }

    async fn open_channel(
        &self,
        request: Request<proto::OpenChannelRequest>,
    ) -> Result<Response<proto::OpenChannelResponse>, Status> {
        require_owner(&request)?;
        let (metadata, _, mut request) = request.into_parts();
        let field = request.idempotency_key.take();
        let key = call_key(OPEN_CHANNEL, &metadata, field.as_deref(), &request)?;
        let proto::OpenChannelRequest { pubkey, address, capacity_sat, push_sat, announce, .. } = request;
        let request = OpenChannelRequest { pubkey, address, capacity_sat, push_sat, announce };
        let user_channel_id = self.services()?.node.open_channel(request, key).await?.to_string();
        Ok(Response::new(proto::OpenChannelResponse { user_channel_id }))
    }

    async fn sync_chain(
        &self,
        request: Request<proto::SyncChainRequest>,
    ) -> Result<Response<proto::SyncChainResponse>, Status> {
        require_owner(&request)?;
        let block_height = self.services()?.node.sync_chain().await?;
        Ok(Response::new(proto::SyncChainResponse { block_height }))
    }
}

fn channel(channel: Channel) -> proto::Channel {
    proto::Channel {
        pubkey: channel.peer.to_string(),
        funding: channel.funding.unwrap_or_default(),
        capacity_sat: sat(channel.capacity_sat),
        outbound_sat: sat(channel.outbound.to_sat_floor()),
        inbound_sat: sat(channel.inbound.to_sat_floor()),
        ready: channel.ready,
        usable: channel.usable,
        announced: channel.announced,
        user_channel_id: channel.user_channel_id.to_string(),
    }
}

fn peer(Peer { id, address, connected }: Peer) -> proto::Peer {
    proto::Peer { pubkey: id.to_string(), address: address.unwrap_or_default(), connected }
}

/// Satoshis as the interface counts them: all bitcoin fit.
fn sat(sat: u64) -> i64 {
    i64::try_from(sat).unwrap_or(i64::MAX)
}
