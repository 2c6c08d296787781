use imp_api::proto::imp::node::v1::node_server::Node;
use imp_api::proto::imp::node::v1::*;
use tonic::{Request, Response, Status};

use super::Echo;

#[tonic::async_trait]
impl Node for Echo {
    async fn get_node(&self, request: Request<GetNodeRequest>) -> Result<Response<GetNodeResponse>, Status> {
        self.answer(request, |_| {
            Ok(GetNodeResponse {
                pubkey: "02ab".into(),
                alias: "alice\x1b[2J".into(),
                network: "regtest".into(),
                backend: "ldk".into(),
                version: "0.1.0".into(),
                synced: true,
                block_height: 120,
                onchain_sat: 1000,
                channel_sat: 500_000,
                spendable_sat: 490_000,
                listen: vec!["127.0.0.1:9735".into()],
                onchain_total_sat: 21_000,
                receivable_sat: 7,
            })
        })
        .await
    }

    async fn get_balance(
        &self,
        request: Request<GetBalanceRequest>,
    ) -> Result<Response<GetBalanceResponse>, Status> {
        self.answer(request, |_| {
            Ok(GetBalanceResponse {
                onchain_total_sat: 21_000,
                onchain_spendable_sat: 1000,
                onchain_reserved_sat: 20_000,
                channel_sat: 500_000,
                spendable_sat: 490_000,
                receivable_sat: 7,
                closing_sat: 0,
            })
        })
        .await
    }

    async fn list_channels(
        &self,
        request: Request<ListChannelsRequest>,
    ) -> Result<Response<ListChannelsResponse>, Status> {
        self.answer(request, |_| {
            let usable = Channel {
                pubkey: "03cd".into(),
                capacity_sat: 1_000_000,
                outbound_sat: 490_000,
                inbound_sat: 7,
                ready: true,
                usable: true,
                user_channel_id: "17".into(),
                ..Channel::default()
            };
            let away = Channel { usable: false, ..usable.clone() };
            let opening = Channel { ready: false, ..away.clone() };
            Ok(ListChannelsResponse { channels: vec![usable, away, opening] })
        })
        .await
    }

    async fn new_address(
        &self,
        request: Request<NewAddressRequest>,
    ) -> Result<Response<NewAddressResponse>, Status> {
        self.answer(request, |_| Ok(NewAddressResponse { address: "bcrt1q".into() })).await
    }

    async fn send_onchain(
        &self,
        request: Request<SendOnchainRequest>,
    ) -> Result<Response<SendOnchainResponse>, Status> {
        self.answer(request, |_| Ok(SendOnchainResponse { txid: "ff".into() })).await
    }

    async fn list_peers(
        &self,
        request: Request<ListPeersRequest>,
    ) -> Result<Response<ListPeersResponse>, Status> {
        self.answer(request, |_| {
            let peer = Peer { pubkey: "03cd".into(), address: "127.0.0.1:9735".into(), connected: true };
            let away = Peer { connected: false, ..peer.clone() };
            Ok(ListPeersResponse { peers: vec![peer, away] })
        })
        .await
    }

    async fn connect_peer(
        &self,
        request: Request<ConnectPeerRequest>,
    ) -> Result<Response<ConnectPeerResponse>, Status> {
        self.answer(request, |_| Ok(ConnectPeerResponse {})).await
    }

    async fn disconnect_peer(
        &self,
        request: Request<DisconnectPeerRequest>,
    ) -> Result<Response<DisconnectPeerResponse>, Status> {
        self.answer(request, |_| Ok(DisconnectPeerResponse {})).await
    }

    async fn open_channel(
        &self,
        request: Request<OpenChannelRequest>,
    ) -> Result<Response<OpenChannelResponse>, Status> {
        self.answer(request, |_| Ok(OpenChannelResponse { user_channel_id: "18".into() })).await
    }

    async fn close_channel(
        &self,
        request: Request<CloseChannelRequest>,
    ) -> Result<Response<CloseChannelResponse>, Status> {
        self.answer(request, |_| Ok(CloseChannelResponse {})).await
    }

    async fn sync_chain(
        &self,
        request: Request<SyncChainRequest>,
    ) -> Result<Response<SyncChainResponse>, Status> {
        self.answer(request, |_| Ok(SyncChainResponse { block_height: 121 })).await
    }
}
