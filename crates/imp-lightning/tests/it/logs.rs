//! Everything that the Lightning library logs in this process, to look into.

use std::io::{self, Write};
use std::sync::{Mutex, OnceLock};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

static LOGS: OnceLock<Logs> = OnceLock::new();

#[derive(Default)]
pub(crate) struct Logs {
    text: Mutex<Vec<u8>>,
}

/// Begins to capture, at every level.
pub(crate) fn capture() -> &'static Logs {
    LOGS.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(Capture);
        tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
        Logs::default()
    })
}

impl Logs {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }
}

struct Capture;

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(logs) = LOGS.get() {
            logs.text.lock().unwrap().extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Capture {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}
