//! Nets for tests, each in a directory of its own.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use imp_devnet::devnet::{Devnet, NodeInfo, Options, Ports, Report, built_program};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::api::Api;

/// How long a state may take to come about.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program `imp-devnet`.
pub(crate) const IMP_DEVNET: &str = env!("CARGO_BIN_EXE_imp-devnet");

/// The program `impd`, which cargo does not build for the tests of another package alone.
pub(crate) fn impd() -> PathBuf {
    built_program("impd").expect("impd is not built: run `cargo build -p imp-node` first")
}

/// Options for a net in `dir` that stands in nobody's way.
pub(crate) fn options(dir: &Path, nodes: usize) -> Options {
    Options {
        nodes,
        dir: dir.to_owned(),
        ports: Ports::Free,
        impd: Some(impd()),
        launcher: Some(IMP_DEVNET.into()),
        ..Options::default()
    }
}

/// A net in a temporary directory, and what it told.
pub(crate) struct Lab {
    pub(crate) net: Devnet,
    told: Arc<Mutex<Vec<String>>>,
    _dir: TempDir,
}

impl Lab {
    pub(crate) async fn start(nodes: usize) -> Self {
        Self::with(|dir| options(dir, nodes)).await
    }

    pub(crate) async fn with(options: impl FnOnce(&Path) -> Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&told);
        let report = Report::to(move |line| {
            println!("{line}");
            listener.lock().unwrap().push(line.to_owned());
        });
        let net = Devnet::start(Options { report, ..options(dir.path()) }).await.unwrap();
        Self { net, told, _dir: dir }
    }

    pub(crate) fn node(&self, name: &str) -> NodeInfo {
        self.net.node(name).unwrap()
    }

    pub(crate) fn api(&self, name: &str) -> Api {
        Api::new(&self.node(name))
    }

    /// Whether the net has told something with these words in it.
    pub(crate) fn told(&self, words: &str) -> bool {
        self.told.lock().unwrap().iter().any(|line| line.contains(words))
    }
}

/// Waits until a question is answered.
pub(crate) async fn wait_for<A, F>(what: &str, mut question: impl FnMut() -> F) -> A
where
    F: Future<Output = Option<A>>,
{
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
