//! Whether this process may change the network.

use rustix::thread::{CapabilitySet, capabilities};

/// Whether this process has CAP_NET_ADMIN. In a container or a user namespace it can have it over networks that are not its
/// own, so that a change may be refused nevertheless.
pub(crate) fn may_change_network() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}
