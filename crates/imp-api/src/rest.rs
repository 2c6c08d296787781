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
    /// The path, exactly.
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
}

/// The routes of this API.
pub fn routes() -> &'static RouteTable {
    static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| RouteTable::new(descriptors::pool()));
    &ROUTES
}

impl RouteTable {
    fn new(pool: &DescriptorPool) -> Self {
        let mut by_path = HashMap::<String, Vec<Route>>::new();
        for service in pool.services() {
            for method in service.methods() {
                if let Some(route) = route(pool, &method) {
                    by_path.entry(route.path.clone()).or_default().push(route);
                }
            }
        }
        Self { by_path }
    }

    /// What stands at a path under a verb. Paths are compared byte by byte: case and a slash at the end count.
    pub fn find(&self, verb: &Method, path: &str) -> Lookup<'_> {
        match self.by_path.get(path) {
            None => Lookup::NotFound,
            Some(routes) => {
                routes.iter().find(|route| route.verb == *verb).map_or(Lookup::WrongMethod, Lookup::Found)
            }
        }
    }

    /// Every route, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.by_path.values().flatten()
    }
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
}
