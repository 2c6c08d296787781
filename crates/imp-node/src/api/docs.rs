//! `/docs`: the interface for people, and as OpenAPI.
//!
//! The page and the document are generated from the protos (`cargo xtask gen`); what makes the page's forms work stands
//! beside this module. Nothing comes from elsewhere, and nobody else's page may show this one in a frame: its buttons
//! spend money.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::HeaderValue;
use http::header;

use imp_api::error::{Code, StatusBody};

use super::rest;

/// What the page may load and do: its own script and style, and calls of this node. Forms are sent by the script only.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
);

/// A file of the page.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const PAGE: &str = include_str!("../../../../docs/reference/index.html");

const FILES: [File; 6] = [
    File { path: "/docs", kind: "text/html; charset=utf-8", text: PAGE },
    File { path: "/docs/", kind: "text/html; charset=utf-8", text: PAGE },
    File {
        path: "/docs/openapi.json",
        kind: "application/json",
        text: include_str!("../../../../docs/reference/openapi.json"),
    },
    File { path: "/docs/docs.css", kind: "text/css; charset=utf-8", text: include_str!("docs/docs.css") },
    File {
        path: "/docs/docs.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("docs/docs.js"),
    },
    File { path: "/docs/icon.svg", kind: "image/svg+xml", text: include_str!("docs/icon.svg") },
];

/// The routes of the page, for GET and HEAD.
pub fn router() -> Router {
    let wrong_method = || async { rest::error(&StatusBody::new(Code::Unimplemented, "Method Not Allowed")) };
    FILES.iter().fold(Router::new(), |router, file| {
        router.route(file.path, get(|| async { answer(file) }).fallback(wrong_method))
    })
}

fn answer(file: &'static File) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(file.kind)),
        // The next version of the daemon serves other files under the same names.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, file.text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Method, Request};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(method: Method, path: &str) -> Response {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router().oneshot(request).await.unwrap()
    }

    async fn text(answer: Response) -> String {
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
    }

    fn header<'r>(answer: &'r Response, name: &str) -> &'r str {
        answer.headers()[name].to_str().unwrap()
    }

    #[tokio::test]
    async fn the_page_names_every_service_without_a_script() {
        for path in ["/docs", "/docs/"] {
            let answer = ask(Method::GET, path).await;
            assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, FILES[0].kind));
            let page = text(answer).await;
            for service in imp_api::descriptors::pool().services() {
                assert!(page.contains(&format!("<code>{}</code>", service.full_name())), "{service:?}");
            }
        }
    }

    #[tokio::test]
    async fn no_page_may_frame_it_and_it_runs_its_own_script_only() {
        for file in &FILES {
            let answer = ask(Method::GET, file.path).await;
            assert_eq!(header(&answer, "content-type"), file.kind);
            assert_eq!(header(&answer, "x-frame-options"), "DENY");
            let policy = header(&answer, "content-security-policy");
            for rule in
                ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
            {
                assert!(policy.split("; ").any(|given| given == rule), "{policy}");
            }
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        }
    }

    #[tokio::test]
    async fn get_and_head_are_all_that_it_knows() {
        for file in &FILES {
            let answer = ask(Method::HEAD, file.path).await;
            assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, file.kind));
            assert_eq!(header(&answer, "content-length"), file.text.len().to_string());
            assert_eq!(text(answer).await, "");
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
                let answer = ask(method, file.path).await;
                assert_eq!(answer.status().as_u16(), 501);
                assert_eq!(text(answer).await, r#"{"code":12,"message":"Method Not Allowed","details":[]}"#);
            }
        }
    }

    #[test]
    fn the_script_makes_no_markup_of_what_it_is_told() {
        let script = include_str!("docs/docs.js");
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("] {
            assert!(!script.contains(sink), "{sink}");
        }
    }

    #[test]
    fn every_file_that_the_page_loads_is_served() {
        let names = PAGE.split('"').filter(|word| word.starts_with("/docs/"));
        for name in names {
            assert!(FILES.iter().any(|file| file.path == name), "{name}");
        }
    }
}
