//! The calls that have one answer each.

use super::{Client, ClientError, MAX_ANSWER_BYTES};
use crate::proto::federate::federate_client::FederateClient;
use crate::proto::federate::{
    LeaveFederationRequest, LeaveFederationResponse, RequestFederateRequest, RequestFederateResponse,
};
use crate::proto::imp::events::v1::events_client::EventsClient;
use crate::proto::imp::events::v1::{ListEventsRequest, ListEventsResponse};
use crate::proto::imp::federate::v1::peers_client::PeersClient;
use crate::proto::imp::federate::v1::{
    AcceptFederatedPeerRequest, AcceptFederatedPeerResponse, BlockPeerRequest, FederatedPeer,
    GetFederatedPeerRequest, ListFederatedPeersRequest, ListFederatedPeersResponse,
    ListWithheldMessagesRequest, ListWithheldMessagesResponse, RejectFederatedPeerRequest,
    RejectFederatedPeerResponse, SetPeerNameRequest, SetPeerRightsRequest, UnblockPeerRequest,
};
use crate::proto::imp::lightning::v1::payments_client::PaymentsClient;
use crate::proto::imp::lightning::v1::{
    ListInvoicesRequest, ListInvoicesResponse, ListPaymentsRequest, ListPaymentsResponse, SendKeysendRequest,
    SendKeysendResponse,
};
use crate::proto::imp::messaging::v1::messages_client::MessagesClient;
use crate::proto::imp::messaging::v1::{
    GetMessageRequest, GetMessageResponse, ListMessagesRequest, ListMessagesResponse, RetryMessageRequest,
    RetryMessageResponse,
};
use crate::proto::imp::node::v1::node_client::NodeClient;
use crate::proto::imp::node::v1::{
    CloseChannelRequest, CloseChannelResponse, ConnectPeerRequest, ConnectPeerResponse,
    DisconnectPeerRequest, DisconnectPeerResponse, GetBalanceRequest, GetBalanceResponse, GetNodeRequest,
    GetNodeResponse, ListChannelsRequest, ListChannelsResponse, ListPeersRequest, ListPeersResponse,
    NewAddressRequest, NewAddressResponse, OpenChannelRequest, OpenChannelResponse, SendOnchainRequest,
    SendOnchainResponse, SyncChainRequest, SyncChainResponse,
};
use crate::proto::imp::socket::v1::relays_client::RelaysClient;
use crate::proto::imp::socket::v1::{
    CloseConnectionRequest, CloseConnectionResponse, ConnectSocketRequest, Connection, GetRelayRequest,
    ListConnectionsRequest, ListConnectionsResponse, ListRelaysRequest, ListRelaysResponse, Relay,
    SendRelayRequest, SendRelayResponse, StartRelayRequest, StopRelayRequest, StopRelayResponse,
};
use crate::proto::imp::vpn::v1::contracts_client::ContractsClient;
use crate::proto::imp::vpn::v1::{
    BringUpVpnRequest, Contract, File, GetVpnConfigRequest, GetVpnContractRequest, GetVpnQrRequest,
    GetVpnSellerRequest, ListVpnContractsRequest, ListVpnContractsResponse, ListVpnPaymentsRequest,
    ListVpnPaymentsResponse, ListVpnQuotesRequest, ListVpnQuotesResponse, Seller, SetVpnAutoRefreshRequest,
    TakeDownVpnRequest, TakeDownVpnResponse, Tunnel,
};
use crate::proto::lightning::lightning_client::LightningClient;
use crate::proto::lightning::{
    CheckInvoiceRequest, CheckInvoiceResponse, GenerateInvoiceRequest, GenerateInvoiceResponse,
    PayInvoiceRequest, PayInvoiceResponse,
};
use crate::proto::messaging::messaging_client::MessagingClient;
use crate::proto::messaging::{SendMessageRequest, SendMessageResponse};
use crate::proto::signing::signing_client::SigningClient;
use crate::proto::signing::{SignRequest, SignResponse, VerifyRequest, VerifyResponse};
use crate::proto::socket::socket_client::SocketClient;
use crate::proto::socket::{
    SendSocketRequest, SendSocketResponse, StartSocketRequest, StartSocketResponse, StopSocketRequest,
    StopSocketResponse,
};
use crate::proto::vpn::vpn_client::VpnClient;
use crate::proto::vpn::{
    AcceptContractRequest, AcceptContractResponse, RefreshContractRequest, RefreshContractResponse,
    RequestQuoteRequest, RequestQuoteResponse,
};

/// Methods of [`Client`] that ask once and get one answer.
macro_rules! calls {
    ($($service:ident { $($(#[$doc:meta])* $method:ident($request:ty) -> $response:ty;)+ })+) => {
        impl Client {
            $($(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`ClientError`].
                pub async fn $method(&self, request: $request) -> Result<$response, ClientError> {
                    let mut client = $service::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
                    let answer = client.$method(request).await.map_err(|status| self.error(status))?;
                    Ok(answer.into_inner())
                }
            )+)+
        }
    };
}

calls! {
    MessagingClient {
        /// Sends a text to another node and waits until its payments have settled.
        send_message(SendMessageRequest) -> SendMessageResponse;
    }
    MessagesClient {
        /// How a message stands that the node sent.
        get_message(GetMessageRequest) -> GetMessageResponse;
        /// Messages that the node sent.
        list_messages(ListMessagesRequest) -> ListMessagesResponse;
        /// Sends what is missing of a message that failed.
        retry_message(RetryMessageRequest) -> RetryMessageResponse;
    }
    EventsClient {
        /// Events that came in earlier.
        list_events(ListEventsRequest) -> ListEventsResponse;
    }
    LightningClient {
        /// Makes an invoice.
        generate_invoice(GenerateInvoiceRequest) -> GenerateInvoiceResponse;
        /// Pays an invoice and waits until it is paid.
        pay_invoice(PayInvoiceRequest) -> PayInvoiceResponse;
        /// Tells whether an invoice of the node is paid.
        check_invoice(CheckInvoiceRequest) -> CheckInvoiceResponse;
    }
    PaymentsClient {
        /// Pays a node without an invoice.
        send_keysend(SendKeysendRequest) -> SendKeysendResponse;
        /// Payments that the node made.
        list_payments(ListPaymentsRequest) -> ListPaymentsResponse;
        /// Invoices that the node made.
        list_invoices(ListInvoicesRequest) -> ListInvoicesResponse;
    }
    SigningClient {
        /// Signs a text with the node's key.
        sign_message(SignRequest) -> SignResponse;
        /// Tells whether the node signed a text.
        verify_signature(VerifyRequest) -> VerifyResponse;
    }
    NodeClient {
        /// Who the node is and what it can spend.
        get_node(GetNodeRequest) -> GetNodeResponse;
        /// The node's channels.
        list_channels(ListChannelsRequest) -> ListChannelsResponse;
        /// A fresh on-chain address.
        new_address(NewAddressRequest) -> NewAddressResponse;
        /// Connects the node to another Lightning node.
        connect_peer(ConnectPeerRequest) -> ConnectPeerResponse;
        /// Ends the connection to another Lightning node.
        disconnect_peer(DisconnectPeerRequest) -> DisconnectPeerResponse;
        /// Nodes that the node is connected to.
        list_peers(ListPeersRequest) -> ListPeersResponse;
        /// What the node holds.
        get_balance(GetBalanceRequest) -> GetBalanceResponse;
        /// Sends bitcoin from the on-chain wallet.
        send_onchain(SendOnchainRequest) -> SendOnchainResponse;
        /// Opens a channel.
        open_channel(OpenChannelRequest) -> OpenChannelResponse;
        /// Closes a channel.
        close_channel(CloseChannelRequest) -> CloseChannelResponse;
        /// Has the node look at the chain now.
        sync_chain(SyncChainRequest) -> SyncChainResponse;
    }
    PeersClient {
        /// Nodes that the node remembers.
        list_federated_peers(ListFederatedPeersRequest) -> ListFederatedPeersResponse;
        /// What the node remembers of another.
        get_federated_peer(GetFederatedPeerRequest) -> FederatedPeer;
        /// Accepts a request to federate.
        accept_federated_peer(AcceptFederatedPeerRequest) -> AcceptFederatedPeerResponse;
        /// Rejects a request to federate.
        reject_federated_peer(RejectFederatedPeerRequest) -> RejectFederatedPeerResponse;
        /// Sets what another node may do.
        set_peer_rights(SetPeerRightsRequest) -> FederatedPeer;
        /// Gives another node a local name.
        set_peer_name(SetPeerNameRequest) -> FederatedPeer;
        /// Blocks another node.
        block_peer(BlockPeerRequest) -> FederatedPeer;
        /// Ends a block.
        unblock_peer(UnblockPeerRequest) -> FederatedPeer;
        /// Messages that came in and were not published.
        list_withheld_messages(ListWithheldMessagesRequest) -> ListWithheldMessagesResponse;
    }
    RelaysClient {
        /// Starts a UDP relay.
        start_relay(StartRelayRequest) -> Relay;
        /// The relays that run.
        list_relays(ListRelaysRequest) -> ListRelaysResponse;
        /// One relay that runs.
        get_relay(GetRelayRequest) -> Relay;
        /// Stops a relay.
        stop_relay(StopRelayRequest) -> StopRelayResponse;
        /// Sends a relay's address to another node.
        send_relay(SendRelayRequest) -> SendRelayResponse;
        /// Opens a local end of a relay that another node offered.
        connect_socket(ConnectSocketRequest) -> Connection;
        /// The local ends that are open.
        list_connections(ListConnectionsRequest) -> ListConnectionsResponse;
        /// Closes a local end.
        close_connection(CloseConnectionRequest) -> CloseConnectionResponse;
    }
    ContractsClient {
        /// VPN contracts, bought and sold.
        list_vpn_contracts(ListVpnContractsRequest) -> ListVpnContractsResponse;
        /// One VPN contract.
        get_vpn_contract(GetVpnContractRequest) -> Contract;
        /// The configuration of a contract that was bought, for `wg-quick`.
        get_vpn_config(GetVpnConfigRequest) -> File;
        /// The same as a QR code.
        get_vpn_qr(GetVpnQrRequest) -> File;
        /// Brings up the tunnel of a contract that was bought.
        bring_up_vpn(BringUpVpnRequest) -> Tunnel;
        /// Takes the tunnel down.
        take_down_vpn(TakeDownVpnRequest) -> TakeDownVpnResponse;
        /// Has a contract refreshed by itself.
        set_vpn_auto_refresh(SetVpnAutoRefreshRequest) -> Contract;
        /// Quotes that can be accepted.
        list_vpn_quotes(ListVpnQuotesRequest) -> ListVpnQuotesResponse;
        /// What buyers paid.
        list_vpn_payments(ListVpnPaymentsRequest) -> ListVpnPaymentsResponse;
        /// The node as a seller.
        get_vpn_seller(GetVpnSellerRequest) -> Seller;
    }
    FederateClient {
        /// Asks a node to federate.
        request_federate(RequestFederateRequest) -> RequestFederateResponse;
        /// Ends a federation.
        leave_federation(LeaveFederationRequest) -> LeaveFederationResponse;
    }
    SocketClient {
        /// Sends the relay's address to a node.
        send_socket(SendSocketRequest) -> SendSocketResponse;
        /// Starts the relay.
        start_socket(StartSocketRequest) -> StartSocketResponse;
        /// Stops the relay.
        stop_socket(StopSocketRequest) -> StopSocketResponse;
    }
    VpnClient {
        /// Asks a node for its price.
        request_quote(RequestQuoteRequest) -> RequestQuoteResponse;
        /// Accepts a quote and pays for it.
        accept_contract(AcceptContractRequest) -> AcceptContractResponse;
        /// Pays for more time.
        refresh_contract(RefreshContractRequest) -> RefreshContractResponse;
    }
}
