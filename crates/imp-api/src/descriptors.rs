//! What the protos say, for code that works on any message: REST, JSON, reflection.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

/// Every proto of the API with its imports, as an encoded `google.protobuf.FileDescriptorSet` without comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptors.bin");

/// The descriptors of every proto of the API.
pub fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET)
            .expect("the descriptor set was made by the protobuf compiler")
    });
    &POOL
}

/// The descriptor of a generated message type.
///
/// # Panics
/// If `M` is no message of this API.
pub fn of<M: prost::Name>() -> MessageDescriptor {
    let name = M::full_name();
    pool().get_message_by_name(&name).unwrap_or_else(|| panic!("{name} is no message of this API"))
}
