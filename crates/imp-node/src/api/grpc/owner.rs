//! What only the node's owner may do answers only to this machine, whatever the configuration lets in elsewhere.

use imp_api::error::Code;
use tonic::Request;

use crate::error::Error;

/// Whether a call comes from this machine.
///
/// # Errors
///
/// `PERMISSION_DENIED` where it comes from elsewhere, or where that cannot be told.
pub(super) fn require_owner<T>(request: &Request<T>) -> Result<(), Error> {
    // An IPv4 client of a listener on `::` has a mapped address.
    let local = request.remote_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    if local {
        return Ok(());
    }
    let message = "this call is for the node's owner: make it on the node's machine, to a loopback address";
    Err(Error::new(Code::PermissionDenied, "OWNER_ONLY", message))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tonic::transport::server::TcpConnectInfo;

    use super::*;

    fn from(peer: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        let remote_addr = peer.map(|peer| peer.parse::<SocketAddr>().unwrap());
        request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr });
        request
    }

    #[test]
    fn only_this_machine_is_the_owner() {
        for peer in ["127.0.0.1:5", "127.3.4.5:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
            assert_eq!(require_owner(&from(Some(peer))), Ok(()), "{peer}");
        }
        for peer in [Some("10.0.0.1:5"), Some("[::ffff:10.0.0.1]:5"), Some("[fe80::1]:5"), None] {
            assert_eq!(require_owner(&from(peer)).unwrap_err().code(), Code::PermissionDenied, "{peer:?}");
        }
        assert!(require_owner(&Request::new(())).is_err());
    }
}
