use bytes::Bytes;
use http::uri::PathAndQuery;
use imp_api::client::ClientError;
use imp_api::proto::messaging::messaging_client::MessagingClient;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::super::call::ProtobufBytes;
use super::*;

async fn channel(node: &TestNode) -> Channel {
    Endpoint::from_shared(format!("http://{}", node.grpc)).unwrap().connect().await.unwrap()
}

/// Calls any path with any bytes.
async fn raw_call(node: &TestNode, path: &'static str, bytes: impl Into<Bytes>) -> Result<Bytes, Status> {
    let mut grpc = tonic::client::Grpc::new(channel(node).await);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static(path);
    grpc.unary(Request::new(bytes.into()), path, ProtobufBytes).await.map(Response::into_inner)
}

#[tokio::test]
async fn the_typed_client_gets_answers_and_errors() {
    let node = TestNode::start().await;
    let client = node.client().await;
    let ask = |msg: &str| SendMessageRequest { msg: msg.into(), ..Default::default() };
    assert_eq!(client.send_message(ask("hi")).await.unwrap().id, "hi||0|");
    assert_eq!(client.send_message(ask("who")).await.unwrap().id, "127.0.0.1");
    let ClientError::Refused(body) = client.send_message(ask("fail")).await.unwrap_err() else {
        panic!("refused by the node");
    };
    assert_eq!(body.code, Code::Unavailable);
    assert_eq!(body.info.unwrap().get("messageId"), Some("m"));
    assert_eq!(client.send_message(ask(&"x".repeat(1_000_000))).await.unwrap().id.len(), 1_000_004);

    node.stop().await;
    let error = client.send_message(ask("hi")).await.unwrap_err();
    assert!(matches!(error, ClientError::NotReachable { .. } | ClientError::Lost { .. }), "{error:?}");
}

#[tokio::test]
async fn a_subscriber_is_told_when_the_node_goes_away() {
    let node = TestNode::start().await;
    let mut events = node.client().await.subscribe(SubscribeRequest::default()).await.unwrap();
    node.publish(event("e"));
    assert_eq!(events.next().await.unwrap(), Some(event("e")));
    let TestNode { events: publisher, shutdown, served, .. } = node;
    shutdown.cancel();
    drop(publisher);
    tokio::time::timeout(PATIENCE, served).await.expect("the node stops").unwrap();
    assert!(!matches!(events.next().await, Ok(Some(_))));
}

#[tokio::test]
async fn what_does_not_exist_is_told_apart() {
    let node = TestNode::start().await;
    for (path, expected) in [
        ("/messaging.Messaging/Nope", "unknown method Nope for service messaging.Messaging"),
        ("/nope.Nope/SendMessage", "unknown service nope.Nope"),
        ("/vpn.VPN/Nope", "unknown method Nope for service vpn.VPN"),
        ("/vpn.VPN/RequestQuote", "method RequestQuote not implemented"),
        ("/imp.node.v1.Node/GetNode", "method GetNode not implemented"),
        ("/nope", "malformed method name: /nope"),
    ] {
        let status = raw_call(&node, path, "").await.unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::Unimplemented, expected));
    }
}

#[tokio::test]
async fn a_request_over_the_limit_is_resource_exhausted() {
    let node = TestNode::start().await;
    let mut client = MessagingClient::new(channel(&node).await);
    let msg = "x".repeat(5_000_000);
    let status = client.send_message(SendMessageRequest { msg, ..Default::default() }).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert_eq!(status.message(), "received message larger than max (5000005 vs. 4194304)");
}

#[tokio::test]
async fn bytes_that_are_no_request_are_refused() {
    let node = TestNode::start().await;
    for bytes in [&b"\x0a\x01\xff"[..], b"\x0a\x7f", b"\xff"] {
        let status = raw_call(&node, "/messaging.Messaging/SendMessage", bytes).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Internal);
    }
    // Field 99 is unknown, so it is ignored.
    assert!(raw_call(&node, "/messaging.Messaging/SendMessage", &b"\x9a\x06\x01x"[..]).await.is_ok());
}

#[tokio::test]
async fn the_guard_stands_before_grpc_too() {
    let node = TestNode::start().await;
    let connect = |origin: &'static str| {
        let endpoint = Endpoint::from_shared(format!("http://{}", node.grpc)).unwrap();
        async move { endpoint.origin(origin.parse().unwrap()).connect().await.unwrap() }
    };
    let mut foreign = MessagingClient::new(connect("http://evil.example").await);
    let status = foreign.send_message(SendMessageRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert!(status.message().contains("server.allowed_hosts"));
    let mut allowed = MessagingClient::new(connect("http://node.example").await);
    assert!(allowed.send_message(SendMessageRequest::default()).await.is_ok());

    let mut page = MessagingClient::new(channel(&node).await);
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let mut request = Request::new(SendMessageRequest::default());
        request.metadata_mut().insert(name, value.parse().unwrap());
        assert_eq!(
            page.send_message(request).await.unwrap_err().code(),
            tonic::Code::PermissionDenied,
            "{name}"
        );
    }
}

#[tokio::test]
async fn reflection_names_every_service() {
    let node = TestNode::start().await;
    let mut client = ServerReflectionClient::new(channel(&node).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("a list of services");
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["messaging.Messaging", "vpn.VPN", "imp.node.v1.Node", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
}

#[tokio::test]
async fn health_follows_the_state_of_the_node() {
    let node = TestNode::start().await;
    let mut client = HealthClient::new(channel(&node).await);
    let ask = |service: &str| HealthCheckRequest { service: service.into() };
    let (not_serving, serving) = (2, 1);
    let mut watched = client.watch(ask("")).await.unwrap().into_inner();
    assert_eq!(watched.next().await.unwrap().unwrap().status, not_serving);
    node.state.send_replace(NodeState::Ready);
    assert_eq!(watched.next().await.unwrap().unwrap().status, serving);
    assert_eq!(client.check(ask("messaging.Messaging")).await.unwrap().into_inner().status, serving);
    assert_eq!(client.check(ask("nope")).await.unwrap_err().code(), tonic::Code::NotFound);
}
