//! A WireGuard that is one end of a tunnel.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use imp_devnet::netns::{Namespace, is_in_path};

/// Where `xtask` says that it has put the newest one.
const NEWEST: &str = "NEWEST_WIREGUARD_GO";

/// How long one may take to start.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Whose WireGuard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Program {
    Debian,
    Newest,
    Ours,
}

impl Program {
    pub(crate) const ALL: [Self; 3] = [Self::Debian, Self::Newest, Self::Ours];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Debian => "Debian's wireguard-go",
            Self::Newest => "newest wireguard-go",
            Self::Ours => "impd's device",
        }
    }

    /// Where it is; nothing if it is not installed.
    pub(crate) fn path(self) -> Option<PathBuf> {
        match self {
            Self::Debian => is_in_path("wireguard-go").then(|| "wireguard-go".into()),
            Self::Newest => env::var_os(NEWEST).map(PathBuf::from).filter(|path| path.is_file()),
            Self::Ours => env::current_exe().ok(),
        }
    }
}

/// One that runs; killed when this goes.
#[derive(Debug)]
pub(crate) struct End {
    child: Child,
    host: Namespace,
    interface: String,
}

/// What one is started with, besides its interface.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// As `wg setconf` reads it.
    pub(crate) config: String,
    /// The address in the tunnel, with the length of the network's prefix.
    pub(crate) address: String,
    pub(crate) mtu: u16,
}

impl End {
    /// Starts one on a host and waits until its interface is up.
    pub(crate) fn start(
        program: Program,
        host: &Namespace,
        interface: &str,
        setting: &Setting,
    ) -> anyhow::Result<Self> {
        let path = program.path().with_context(|| format!("{} is not installed", program.name()))?;
        let Setting { config, address, mtu } = setting;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("config");
        let mut command = host.command(path);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        if program == Program::Ours {
            fs::write(
                &file,
                config.replacen("[Interface]", &format!("[Interface]\nAddress = {address}\nMTU = {mtu}"), 1),
            )?;
            command.arg("device").arg(interface).arg(&file).stdout(Stdio::piped());
            let mut end = Self::spawn(&mut command, host, interface)?;
            let output = end.child.stdout.take().context("no output")?;
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line)?;
            ensure!(line.starts_with("ready"), "{} does not start", program.name());
            return Ok(end);
        }
        command.args(["-f", interface]).stdout(Stdio::null());
        let end = Self::spawn(&mut command, host, interface)?;
        wait_for_socket(interface)?;
        fs::write(&file, config)?;
        end.wg("setconf", &file)?;
        host.ip(&format!("addr add {address} dev {interface}"))?;
        host.ip(&format!("link set mtu {mtu} up dev {interface}"))?;
        Ok(end)
    }

    fn spawn(command: &mut Command, host: &Namespace, interface: &str) -> anyhow::Result<Self> {
        Ok(Self { child: command.spawn()?, host: host.clone(), interface: interface.to_owned() })
    }

    /// `wg setconf` or `wg addconf`.
    pub(crate) fn wg(&self, what: &str, file: &Path) -> anyhow::Result<()> {
        let done = self.host.command("wg").arg(what).arg(&self.interface).arg(file).output()?;
        ensure!(
            done.status.success(),
            "wg {what} {}: {}",
            self.interface,
            String::from_utf8_lossy(&done.stderr)
        );
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(socket(&self.interface));
    }
}

fn socket(interface: &str) -> PathBuf {
    Path::new("/var/run/wireguard").join(format!("{interface}.sock"))
}

fn wait_for_socket(interface: &str) -> anyhow::Result<()> {
    let until = Instant::now() + START_PATIENCE;
    while !socket(interface).exists() {
        ensure!(Instant::now() < until, "the device {interface} does not come up");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
