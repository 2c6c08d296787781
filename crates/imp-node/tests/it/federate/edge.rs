//! The calls as the edges make them.

use std::sync::Arc;

use imp_api::proto::federate::federate_server::Federate;
use imp_api::proto::federate::{LeaveFederationRequest, RequestFederateRequest};
use imp_api::proto::imp::federate::v1 as proto;
use imp_api::proto::imp::federate::v1::peers_server::Peers;
use imp_core::federation::State;
use imp_core::record::Service;
use imp_lightning::fake::FakeOptions;
use imp_node::api::grpc::Calls;
use imp_node::api::link::Peer;
use imp_node::events::Events;
use imp_node::federation::FederationOptions;
use imp_node::node::NodeOptions;
use imp_node::runtime::tasks::Tasks;
use tokio::sync::watch;
use tonic::{Code, Request};

use super::{is, request, two};
use crate::lab::{TestNode, network, options, wait_for};

async fn calls(node: &TestNode) -> Calls {
    let services = node.call(|services| async move { services }).await;
    let tasks = Tasks::new();
    Calls {
        events: Events::new(Arc::new(node.store.clone()), Arc::new(imp_node::events::AsStored)),
        services: watch::channel(Some(Arc::new(services))).1,
        inactive: Vec::new(),
        shutdown: tasks.token(),
        tasks,
    }
}

/// A call of the owner's.
fn owners<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Peer::OwnerSocket);
    request
}

#[tokio::test]
async fn a_peer_is_shown_as_it_is() {
    let (_network, alice, bob) = two(options(), options()).await;
    let calls = calls(&alice).await;
    let pubkey = bob.id.to_string();
    let ask = RequestFederateRequest { pubkey: pubkey.clone(), idempotency_key: Some("k".to_owned()) };
    let id = calls.request_federate(Request::new(ask.clone())).await.unwrap().into_inner().id;
    let again = calls.request_federate(Request::new(ask)).await.unwrap().into_inner().id;
    assert_eq!(again, id);
    is(&alice, bob.id, State::Federated).await;
    let get = proto::GetFederatedPeerRequest { pubkey: pubkey.clone() };
    let peer = calls.get_federated_peer(Request::new(get.clone())).await.unwrap().into_inner();
    assert_eq!((peer.pubkey.as_str(), peer.state.as_str()), (pubkey.as_str(), "federated"));
    assert_eq!((peer.asked_by.as_str(), peer.standing.as_str()), ("us", "request"));
    // The default of `federate.ttl`.
    assert_eq!(peer.until_ms.unwrap() - peer.since_ms.unwrap(), 31_560_000_000);
    assert!(peer.rights.unwrap().messages && peer.their_terms.unwrap().sockets && !peer.own_rights);
    let page = calls.list_federated_peers(Request::new(proto::ListFederatedPeersRequest::default()));
    let page = page.await.unwrap().into_inner();
    assert_eq!((page.peers.len(), page.federated_count, page.next_cursor), (1, 1, None));

    let name = proto::SetPeerNameRequest { pubkey: pubkey.clone(), name: "bob".to_owned() };
    assert_eq!(calls.set_peer_name(owners(name)).await.unwrap().into_inner().name, "bob");
    let rights = proto::SetPeerRightsRequest {
        pubkey: pubkey.clone(),
        min_message_sat: Some(-1),
        ..proto::SetPeerRightsRequest::default()
    };
    let error = calls.set_peer_rights(owners(rights)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    let leave = LeaveFederationRequest { pubkey: pubkey.clone(), ..LeaveFederationRequest::default() };
    calls.leave_federation(Request::new(leave)).await.unwrap();
    let peer = calls.get_federated_peer(Request::new(get)).await.unwrap().into_inner();
    assert_eq!((peer.state.as_str(), peer.standing.as_str(), peer.until_ms), ("left", "", None));
    let stranger = proto::GetFederatedPeerRequest { pubkey: alice.id.to_string() };
    let error = calls.get_federated_peer(Request::new(stranger)).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
}

#[tokio::test]
async fn what_is_decided_about_peers_is_the_owners() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let calls = calls(&node).await;
    // A call that came in by no edge is nobody's.
    let refused = [
        calls.accept_federated_peer(Request::new(Default::default())).await.err(),
        calls.reject_federated_peer(Request::new(Default::default())).await.err(),
        calls.set_peer_rights(Request::new(Default::default())).await.err(),
        calls.set_peer_name(Request::new(Default::default())).await.err(),
        calls.block_peer(Request::new(Default::default())).await.err(),
        calls.unblock_peer(Request::new(Default::default())).await.err(),
    ];
    for error in refused {
        assert_eq!(error.unwrap().code(), Code::PermissionDenied);
    }
    let own = proto::BlockPeerRequest { pubkey: node.id.to_string() };
    let error = calls.block_peer(owners(own)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
}

#[tokio::test]
async fn a_service_that_is_switched_off_neither_asks_nor_answers() {
    let off = FederationOptions { active: false, ..FederationOptions::default() };
    let (_network, alice, bob) = two(options(), NodeOptions { federate: off, ..options() }).await;
    let calls = Calls { inactive: vec![Service::Federate], ..calls(&bob).await };
    let ask = RequestFederateRequest { pubkey: alice.id.to_string(), ..RequestFederateRequest::default() };
    let error = calls.request_federate(Request::new(ask)).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("switched off") && error.message().contains("failed"), "{error}");
    request(&alice, bob.id).await.unwrap();
    wait_for("the request to be counted", async || bob.counter("federate_inactive").await == 1).await;
    assert!(bob.journal().await.is_empty());
    is(&alice, bob.id, State::Requested).await;
}
