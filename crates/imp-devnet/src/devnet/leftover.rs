//! Nodes that an earlier run has left behind.
//!
//! A supervisor that is killed takes its nodes with it (see [`become_child`](super::process::become_child)), but they
//! need a moment to stop, and on systems other than Linux they go on. They are known by the locks of their data
//! directories: whoever holds one is alive and has written its process number into the file, so that no number is used
//! that may belong to another process by now.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::dir;
use super::node::LOOK_INTERVAL;
use super::options::Report;
use super::process::{STOP_PATIENCE, signal};

/// How long a process that was killed may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Ends the process that holds the data directory, if there is one.
pub(super) async fn end(name: &str, data_dir: &Path, report: &Report) -> anyhow::Result<()> {
    let lock = data_dir.join("lock");
    let is_free = || anyhow::Ok(!lock.is_file() || dir::lock(&lock)?.is_some());
    if is_free()? {
        return Ok(());
    }
    let holder: Option<u32> = fs::read_to_string(&lock).ok().and_then(|text| text.trim().parse().ok());
    let Some(holder) = holder else {
        bail!("an impd runs on {}, and does not say which process it is: end it", data_dir.display());
    };
    report.say(format!("{name} still runs from an earlier time (process {holder}): it is stopped"));
    for (order, patience) in [(Signal::TERM, STOP_PATIENCE), (Signal::KILL, KILL_PATIENCE)] {
        signal(holder, order);
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if is_free()? {
                return Ok(());
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
    bail!("process {holder} holds {} and cannot be ended", data_dir.display())
}
