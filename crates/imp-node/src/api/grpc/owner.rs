//! What only the node's owner may do answers only to this machine, whatever the configuration lets in elsewhere.

use imp_api::error::Code;
use tonic::Request;

use crate::api::link::Peer;
use crate::error::Error;

/// Whether a call comes from this machine.
///
/// # Errors
///
/// `PERMISSION_DENIED` where it comes from elsewhere, or where that cannot be told.
pub(super) fn require_owner<T>(request: &Request<T>) -> Result<(), Error> {
    if request.extensions().get::<Peer>().is_some_and(Peer::is_local) {
        return Ok(());
    }
    let message = "this call is for the node's owner: make it on the node's machine, to a loopback address or to \
                   imp.sock in its data directory";
    Err(Error::new(Code::PermissionDenied, "OWNER_ONLY", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: Option<Peer>) -> Request<()> {
        let mut request = Request::new(());
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        request
    }

    fn tcp(address: &str) -> Option<Peer> {
        Some(Peer::Tcp { remote: Some(address.parse().unwrap()) })
    }

    #[test]
    fn only_this_machine_is_the_owner() {
        for peer in ["127.0.0.1:5", "127.3.4.5:5", "[::1]:5", "[::ffff:127.0.0.1]:5"].map(tcp) {
            assert_eq!(require_owner(&from(peer)), Ok(()), "{peer:?}");
        }
        assert_eq!(require_owner(&from(Some(Peer::OwnerSocket))), Ok(()));
        let elsewhere = ["10.0.0.1:5", "[::ffff:10.0.0.1]:5", "[fe80::1]:5"].map(tcp);
        for peer in elsewhere.into_iter().chain([Some(Peer::Tcp { remote: None }), None]) {
            assert_eq!(require_owner(&from(peer)).unwrap_err().code(), Code::PermissionDenied, "{peer:?}");
        }
    }
}
