//! What the protos say, in the shape that documents need: services, calls, messages and fields, each with its comment.

use std::collections::HashSet;

use anyhow::{Context, bail, ensure};
use prost_reflect::{
    DescriptorPool, FieldDescriptor, FileDescriptor, Kind as ProtoKind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

/// The order in which people read of services. One that is not listed comes after them.
const ORDER: [&str; 11] = [
    "Messaging",
    "Messages",
    "Websocket",
    "Events",
    "Lightning",
    "Payments",
    "Signing",
    "Node",
    "Federate",
    "Socket",
    "VPN",
];

/// What the comment of a call for the owner says.
const OWNER_ONLY: &str = "For the owner only.";

/// A service.
pub(super) struct Service {
    /// Its own name, which no other service has.
    pub(super) name: String,
    /// The name with the package.
    pub(super) full_name: String,
    pub(super) comment: String,
    pub(super) calls: Vec<Call>,
}

/// An RPC.
pub(super) struct Call {
    /// Its own name, which no other RPC has.
    pub(super) name: String,
    /// `package.Service/Method`, as gRPC tools want it.
    pub(super) grpc_name: String,
    /// `GET` or `POST`.
    pub(super) verb: &'static str,
    pub(super) path: String,
    pub(super) comment: String,
    /// It pays, if only fees.
    pub(super) pays: bool,
    /// It answers to the node's own machine only.
    pub(super) owner_only: bool,
    /// It has many answers.
    pub(super) streams: bool,
    /// Over REST its answer is the bytes of a file.
    pub(super) is_file: bool,
    pub(super) input: Message,
    pub(super) output: Message,
}

impl Call {
    /// The fields of the request that do not stand in the path.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.input.fields.iter().filter(|field| !self.in_path(field))
    }

    /// Whether a field of the request stands in the path.
    pub(super) fn in_path(&self, field: &Field) -> bool {
        self.path.split('/').any(|segment| segment == format!("{{{}}}", field.proto_name))
    }
}

/// A message.
#[derive(Clone)]
pub(super) struct Message {
    pub(super) full_name: String,
    pub(super) comment: String,
    pub(super) fields: Vec<Field>,
}

impl Message {
    /// The message and all within it, without repetition.
    pub(super) fn with_inner(&self) -> Vec<&Self> {
        let mut found = vec![self];
        for field in &self.fields {
            if let Kind::Message(message) = &field.kind {
                for inner in message.with_inner() {
                    if found.iter().all(|known| known.full_name != inner.full_name) {
                        found.push(inner);
                    }
                }
            }
        }
        found
    }
}

/// A field of a message.
#[derive(Clone)]
pub(super) struct Field {
    /// The name in JSON.
    pub(super) name: String,
    pub(super) proto_name: String,
    pub(super) comment: String,
    pub(super) kind: Kind,
    /// It is left out of an answer where it has no value.
    pub(super) optional: bool,
    pub(super) repeated: bool,
}

/// The types that REST carries.
#[derive(Clone)]
pub(super) enum Kind {
    Text,
    Bytes,
    Bool,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Message(Message),
}

impl Kind {
    /// The proto name of the type; a message's without its package.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Uint32 => "uint32",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Message(message) => short_name(&message.full_name),
        }
    }
}

/// A name without its package.
pub(super) fn short_name(full_name: &str) -> &str {
    full_name.rsplit('.').next().unwrap_or(full_name)
}

/// The first sentence of a comment, without its full stop.
pub(super) fn first_sentence(comment: &str) -> &str {
    let end = comment.find(". ").or_else(|| comment.strip_suffix('.').map(str::len));
    &comment[..end.unwrap_or(comment.len())]
}

/// Every service in the order for people.
pub(super) fn read(descriptors: &[u8]) -> anyhow::Result<Vec<Service>> {
    let pool = DescriptorPool::decode(descriptors).context("the descriptors cannot be read")?;
    let mut services = pool.services().map(|it| service(&pool, &it)).collect::<anyhow::Result<Vec<_>>>()?;
    let place = |service: &Service| ORDER.iter().position(|name| *name == service.name);
    services.sort_by_key(|service| place(service).unwrap_or(ORDER.len()));
    let mut names = HashSet::new();
    for name in services.iter().flat_map(|it| it.calls.iter().map(|call| &call.name).chain([&it.name])) {
        ensure!(names.insert(name), "{name} is the name of two services or RPCs: links need one for each");
    }
    Ok(services)
}

fn service(pool: &DescriptorPool, it: &ServiceDescriptor) -> anyhow::Result<Service> {
    Ok(Service {
        name: it.name().to_owned(),
        full_name: it.full_name().to_owned(),
        comment: comment(&it.parent_file(), it.path()),
        calls: it.methods().map(|method| call(pool, &method)).collect::<anyhow::Result<_>>()?,
    })
}

fn call(pool: &DescriptorPool, it: &MethodDescriptor) -> anyhow::Result<Call> {
    let option = |name| {
        let extension = pool.get_extension_by_name(name).with_context(|| format!("no option {name}"))?;
        anyhow::Ok(it.options().get_extension(&extension).into_owned())
    };
    let http = option("imp.http")?;
    let path = |verb| {
        let path = http.as_message()?.get_field_by_name(verb)?.as_str()?.to_owned();
        (!path.is_empty()).then_some(path)
    };
    let (verb, path) = match (path("get"), path("post")) {
        (Some(path), _) => ("GET", path),
        (None, Some(path)) => ("POST", path),
        (None, None) => bail!("{} has no place in REST: option (imp.http)", it.full_name()),
    };
    let comment = comment(&it.parent_service().parent_file(), it.path());
    Ok(Call {
        name: it.name().to_owned(),
        grpc_name: format!("{}/{}", it.parent_service().full_name(), it.name()),
        verb,
        path,
        pays: option("imp.pays")?.as_bool().unwrap_or(false),
        owner_only: comment.contains(OWNER_ONLY),
        comment,
        streams: it.is_server_streaming(),
        is_file: option("imp.file")?.as_bool().unwrap_or(false),
        input: message(&it.input())?,
        output: message(&it.output())?,
    })
}

fn message(it: &MessageDescriptor) -> anyhow::Result<Message> {
    Ok(Message {
        full_name: it.full_name().to_owned(),
        comment: comment(&it.parent_file(), it.path()),
        fields: it.fields().map(|it| field(&it)).collect::<anyhow::Result<_>>()?,
    })
}

fn field(it: &FieldDescriptor) -> anyhow::Result<Field> {
    let kind = match it.kind() {
        ProtoKind::String => Kind::Text,
        ProtoKind::Bytes => Kind::Bytes,
        ProtoKind::Bool => Kind::Bool,
        ProtoKind::Int32 => Kind::Int32,
        ProtoKind::Uint32 => Kind::Uint32,
        ProtoKind::Int64 => Kind::Int64,
        ProtoKind::Uint64 => Kind::Uint64,
        ProtoKind::Message(inner) => Kind::Message(message(&inner)?),
        other => bail!("{}: the documents do not know the type {other:?}", it.full_name()),
    };
    Ok(Field {
        name: it.json_name().to_owned(),
        proto_name: it.name().to_owned(),
        comment: comment(&it.parent_file(), it.path()),
        optional: it.supports_presence() && !matches!(kind, Kind::Message(_)),
        repeated: it.is_list(),
        kind,
    })
}

/// The comment before a declaration, as one paragraph.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
    let comment = locations.filter(|it| it.path == path).find_map(|it| it.leading_comments.as_deref());
    comment.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
