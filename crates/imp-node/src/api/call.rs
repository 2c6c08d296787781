//! Calls of RPCs within the process, in protobuf bytes.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use imp_api::rest::Route;

/// Calls an RPC that answers once.
pub(super) async fn unary(
    routes: Routes,
    route: &'static Route,
    request: Request<Bytes>,
) -> Result<Bytes, Status> {
    let mut grpc = client(routes);
    ready(&mut grpc).await?;
    let answer = grpc.unary(request, PathAndQuery::from_static(&route.grpc_path), ProtobufBytes).await?;
    Ok(answer.into_inner())
}

/// Calls an RPC that answers with a stream. The subscription stands when this returns.
pub(super) async fn server_streaming(
    routes: Routes,
    route: &'static Route,
    request: Request<Bytes>,
) -> Result<Response<Streaming<Bytes>>, Status> {
    let mut grpc = client(routes);
    ready(&mut grpc).await?;
    grpc.server_streaming(request, PathAndQuery::from_static(&route.grpc_path), ProtobufBytes).await
}

fn client(routes: Routes) -> Grpc<Routes> {
    // What the node itself answers is not bounded; requests are, by the routes.
    Grpc::new(routes).max_decoding_message_size(usize::MAX)
}

async fn ready(grpc: &mut Grpc<Routes>) -> Result<(), Status> {
    grpc.ready().await.map_err(|never| match never {})
}

/// A codec for messages that are encoded already.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProtobufBytes;

impl Codec for ProtobufBytes {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for ProtobufBytes {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for ProtobufBytes {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
