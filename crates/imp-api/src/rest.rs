//! Which REST call is which RPC: the table that the protos' option `imp.http` makes.

use std::collections::HashMap;
use std::sync::LazyLock;

use http::Method;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};

use crate::descriptors;

/// One RPC and its place in the REST interface.
#[derive(Debug, Clone)]
pub struct Route {
    /// GET, where the fields of the request stand in the query string, or POST, where they stand in the body.
    pub verb: Method,
    /// The path, in which `{id}` stands for a UUID, `{pubkey}` for a public key and `{nonce}` for the name of a VPN
    /// contract: fields of the request.
    pub path: String,
    /// The RPC's path in gRPC, such as `/messaging.Messaging/SendMessage`.
    pub grpc_path: String,
    /// The RPC's own name, such as `SendMessage`.
    pub method: String,
    /// The request.
    pub input: MessageDescriptor,
    /// The answer, or each answer of a stream.
    pub output: MessageDescriptor,
    /// Whether there are many answers. No RPC takes a stream of requests.
    pub server_streaming: bool,
    /// Whether the call pays or sends: its errors hold the word "failed".
    pub pays: bool,
    /// Whether the answer is a file: a message of the shape of `imp.vpn.v1.File`, whose bytes are the body in REST.
    pub is_file: bool,
}

impl Route {
    /// The fields of the request that stand in a path which led here, by their proto names.
    pub fn path_fields<'p>(&self, path: &'p str) -> Vec<(&str, &'p str)> {
        let segments = self.path.split('/').zip(path.split('/'));
        segments.filter_map(|(pattern, segment)| Some((field_of(pattern)?, segment))).collect()
    }
}

/// What a verb and a path lead to.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'a> {
    /// This RPC.
    Found(&'a Route),
    /// Nothing, but the path is known under another verb.
    WrongMethod,
    /// Nothing.
    NotFound,
}

/// All RPCs by path.
#[derive(Debug)]
pub struct RouteTable {
    by_path: HashMap<String, Vec<Route>>,
    /// Those with fields in their paths.
    patterns: Vec<Route>,
}

/// The routes of this API.
pub fn routes() -> &'static RouteTable {
    static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| RouteTable::new(descriptors::pool()));
    &ROUTES
}

impl RouteTable {
    fn new(pool: &DescriptorPool) -> Self {
        let mut table = Self { by_path: HashMap::new(), patterns: Vec::new() };
        for service in pool.services() {
            for route in service.methods().filter_map(|method| route(pool, &method)) {
                if route.path.split('/').any(|segment| field_of(segment).is_some()) {
                    table.patterns.push(route);
                } else {
                    table.by_path.entry(route.path.clone()).or_default().push(route);
                }
            }
        }
        table
    }

    /// What stands at a path under a verb. Paths are compared byte by byte: case and a slash at the end count. A path that
    /// is some route's own is no pattern's, whatever the verb.
    pub fn find(&self, verb: &Method, path: &str) -> Lookup<'_> {
        let mut here: Vec<&Route> = self.by_path.get(path).into_iter().flatten().collect();
        if here.is_empty() {
            here.extend(self.patterns.iter().filter(|route| matches(&route.path, path)));
        }
        match here.iter().find(|route| route.verb == *verb) {
            Some(route) => Lookup::Found(route),
            None if here.is_empty() => Lookup::NotFound,
            None => Lookup::WrongMethod,
        }
    }

    /// Every route, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.by_path.values().flatten().chain(&self.patterns)
    }
}

/// The field that a segment of a pattern stands for.
fn field_of(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn matches(pattern: &str, path: &str) -> bool {
    pattern.split('/').count() == path.split('/').count()
        && pattern.split('/').zip(path.split('/')).all(|(pattern, segment)| match field_of(pattern) {
            None => pattern == segment,
            Some("id") => is_uuid(segment),
            Some("pubkey") => segment.len() == 66 && segment.bytes().all(|byte| byte.is_ascii_hexdigit()),
            Some("nonce") => is_nonce(segment),
            Some(_) => false,
        })
}

/// Whether a text is a UUID in its usual form: 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let groups = text.split('-').map(str::len);
    groups.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Whether a text can be the nonce of a VPN contract.
fn is_nonce(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The route of a method, if it has the option `imp.http`.
fn route(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<Route> {
    let extension = pool.get_extension_by_name("imp.http")?;
    let options = method.options();
    if !options.has_extension(&extension) {
        return None;
    }
    let binding = options.get_extension(&extension);
    let path = |binding: &DynamicMessage, field: &str| {
        let text = binding.get_field_by_name(field)?;
        text.as_str().filter(|path| !path.is_empty()).map(str::to_owned)
    };
    let binding = binding.as_message()?;
    let marked = |name| {
        pool.get_extension_by_name(name)
            .is_some_and(|mark| options.get_extension(&mark).as_bool() == Some(true))
    };
    let (verb, path) = match (path(binding, "get"), path(binding, "post")) {
        (Some(get), _) => (Method::GET, get),
        (None, post) => (Method::POST, post?),
    };
    Some(Route {
        verb,
        path,
        grpc_path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
        method: method.name().to_owned(),
        input: method.input(),
        output: method.output(),
        server_streaming: method.is_server_streaming(),
        pays: marked("imp.pays"),
        is_file: marked("imp.file"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_found_by_verb_and_exact_path() {
        let Lookup::Found(route) = routes().find(&Method::POST, "/v1/socket/sendRequest") else {
            panic!("no route");
        };
        assert_eq!(route.grpc_path, "/socket.Socket/SendSocket");
        assert_eq!(route.input.full_name(), "socket.SendSocketRequest");
        assert!(!route.server_streaming);
        assert!(
            matches!(routes().find(&Method::GET, "/v1/subscribe"), Lookup::Found(r) if r.server_streaming)
        );
    }

    #[test]
    fn another_verb_is_told_apart_from_another_path() {
        for verb in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS] {
            assert!(matches!(routes().find(&verb, "/v1/message/send"), Lookup::WrongMethod), "{verb}");
        }
        assert!(matches!(routes().find(&Method::POST, "/v1/subscribe"), Lookup::WrongMethod));
        for path in ["/", "", "/v1/message/send/", "/V1/message/send", "/v1/socket/sendrequest", "/v1/nope"] {
            assert!(matches!(routes().find(&Method::POST, path), Lookup::NotFound), "{path}");
        }
    }

    #[test]
    fn a_uuid_in_a_path_is_a_field() {
        let id = "5fedffdc-c883-4aaf-95bc-358d7a79b7db";
        let (path, retry) = (format!("/v1/message/{id}"), format!("/v1/message/{id}/retry"));
        let Lookup::Found(route) = routes().find(&Method::GET, &path) else { panic!("no route") };
        assert_eq!(route.method, "GetMessage");
        assert_eq!(route.path_fields(&path), [("id", id)]);
        assert!(matches!(routes().find(&Method::POST, &path), Lookup::WrongMethod));
        assert!(
            matches!(routes().find(&Method::POST, &retry), Lookup::Found(r) if r.method == "RetryMessage")
        );
        assert!(matches!(routes().find(&Method::GET, "/v1/message/send"), Lookup::WrongMethod));
        for id in ["", "nope", &id[1..], &format!("{id}/"), &id.replace('-', "%2D"), &id.replace('f', "g")] {
            let path = format!("/v1/message/{id}");
            assert!(matches!(routes().find(&Method::GET, &path), Lookup::NotFound), "{path}");
        }
    }

    #[test]
    fn files_have_the_shape_that_rest_reads() {
        let shape = |message: &MessageDescriptor| -> Vec<_> {
            message.fields().map(|it| (it.number(), it.name().to_owned(), it.kind(), it.is_list())).collect()
        };
        let file = descriptors::pool().get_message_by_name("imp.vpn.v1.File").expect("a message of the API");
        let files: Vec<&Route> = routes().iter().filter(|route| route.is_file).collect();
        let mut names: Vec<&str> = files.iter().map(|route| route.method.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["GetVpnConfig", "GetVpnQr"]);
        for route in files {
            assert_eq!(shape(&route.output), shape(&file), "{}", route.method);
            assert!(!route.server_streaming && !route.pays, "{}", route.method);
        }
    }

    #[test]
    fn a_nonce_in_a_path_is_a_field() {
        for nonce in ["n", "gKr6mA5xY9sQnLpV7wCt3d", "a-b_c", &"x".repeat(64)] {
            let path = format!("/v1/vpn/contracts/{nonce}/config");
            let Lookup::Found(route) = routes().find(&Method::GET, &path) else { panic!("no route: {path}") };
            assert_eq!(route.method, "GetVpnConfig");
            assert_eq!(route.path_fields(&path), [("nonce", nonce)]);
        }
        for nonce in ["", "a.b", "a%20b", "é", &"x".repeat(65)] {
            let path = format!("/v1/vpn/contracts/{nonce}/config");
            assert!(matches!(routes().find(&Method::GET, &path), Lookup::NotFound), "{path}");
        }
    }

    #[test]
    fn patterns_name_fields_of_their_requests_that_can_be_matched() {
        for route in routes().iter() {
            for field in route.path.split('/').filter_map(field_of) {
                assert!(["id", "nonce", "pubkey"].contains(&field), "{}", route.path);
                let field = route.input.get_field_by_name(field).expect(&route.path);
                assert_eq!(field.kind(), prost_reflect::Kind::String, "{}", route.path);
            }
        }
    }
}
