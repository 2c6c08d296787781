//! The key under which a call may be repeated, out of its request.

use imp_api::client::IDEMPOTENCY_KEY;
use prost::Message;
use tonic::metadata::MetadataMap;

use crate::error::Error;
use crate::idempotency::CallKey;

/// The key of a call of `method`: what stood in its field `idempotency_key`, or in its metadata. `rest` is the request
/// without that field.
pub(super) fn call_key<M: Message>(
    method: &'static str,
    metadata: &MetadataMap,
    field: Option<&str>,
    rest: &M,
) -> Result<Option<CallKey>, Error> {
    let metadata = metadata.get_all(IDEMPOTENCY_KEY).iter().map(|value| value.as_encoded_bytes());
    CallKey::of_call(method, field.map(str::as_bytes), metadata, &rest.encode_to_vec())
}
