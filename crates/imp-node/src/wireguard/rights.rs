//! What it takes to make interfaces, and how whoever runs this node gives it.

use std::fs::OpenOptions;
use std::io;

use crate::host::rights::may_change_network;

/// Through which a process makes an interface of its own.
const TUN: &str = "/dev/net/tun";

/// Shown where the right is missing, or is one over other networks than this.
pub(super) const NO_RIGHT: &str = "this process may not change the network: give it the right CAP_NET_ADMIN (systemd: AmbientCapabilities=CAP_NET_ADMIN; \
     a container: --cap-add NET_ADMIN; by hand: setcap cap_net_admin+ep on the program)";

/// What is missing to make any interface.
pub(super) fn missing_right() -> Option<String> {
    (!may_change_network()).then(|| NO_RIGHT.to_owned())
}

/// What is missing to make a TUN interface.
pub(super) fn missing_tun() -> Option<String> {
    match OpenOptions::new().read(true).write(true).open(TUN) {
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!(
            "there is no {TUN}: load the kernel's module (modprobe tun), or give the container the device (--device {TUN})"
        )),
        Err(error) => {
            Some(format!("{TUN} cannot be opened: {error}: let this node's user read and write it"))
        }
    }
}
