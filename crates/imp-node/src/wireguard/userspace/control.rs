//! The socket by which `wg` looks at a device and changes it (WireGuard's cross-platform userspace interface).

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use gotatun::device::uapi::UapiServer;

/// Where `wg` looks.
const FOLDER: &str = "/var/run/wireguard";

/// The socket's file, deleted with this.
#[derive(Debug)]
pub(super) struct ControlSocket {
    path: PathBuf,
}

impl ControlSocket {
    /// Opens the socket, served by a task of the caller's runtime. Where it cannot be, the device does without.
    pub(super) fn open(name: &str) -> Option<(UapiServer, Self)> {
        match Self::try_open(name) {
            Ok(opened) => Some(opened),
            Err(error) => {
                tracing::warn!(interface = name, %error, "`wg` does not see this interface: no socket in {FOLDER}");
                None
            }
        }
    }

    fn try_open(name: &str) -> io::Result<(UapiServer, Self)> {
        make_folder()?;
        let path = Path::new(FOLDER).join(format!("{name}.sock"));
        // Nobody answers on one that a killed run left. The other process has another interface of this name, in another
        // network namespace.
        if UnixStream::connect(&path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process has the socket"));
        }
        let server = UapiServer::default_unix_socket(name, None, None).map_err(io::Error::other)?;
        let socket = Self { path };
        // By it the device's private key is read.
        fs::set_permissions(&socket.path, Permissions::from_mode(0o600))?;
        Ok((server, socket))
    }
}

fn make_folder() -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(FOLDER) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot delete a socket");
        }
    }
}
