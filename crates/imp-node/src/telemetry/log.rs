//! The log: lines for people on standard error, lines of JSON for programs in the data directory.
//!
//! The file is written whatever the level on standard error is, since programs of 2021 wait for lines in it
//! (`message received`). Keys, preimages, macaroons and the contents of messages are never logged.

use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::path::Path;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::queue::{self, LogGuard};
use super::rotate::RotatingFile;

/// Name of the log file in the data directory (2021 API).
pub const FILE_NAME: &str = "log.txt";

/// Bytes after which the log file is put aside.
const LIMIT_BYTES: u64 = 32 << 20;

/// Log files that are kept, the current one included.
const FILES: usize = 4;

/// A library that has a line for every packet that it cannot deliver and for every peer that it gets. What matters of it
/// is logged by the module that uses it.
const TALKATIVE: &str = "gotatun";

/// Why there is no log.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file cannot be opened.
    #[error("the log file cannot be opened")]
    Io(#[from] io::Error),
    /// The variable `RUST_LOG` cannot be read.
    #[error("RUST_LOG is no list of log filters (write for example info,imp_node=debug, or unset it)")]
    Filter(#[from] ParseError),
    /// This process has a log already.
    #[error("the log was opened before")]
    Opened(#[from] TryInitError),
}

/// Opens the log of this process. `rust_log`, where it is not empty, goes over `level` on standard error; the file has
/// `level`, and at least `INFO`. Panics are logged too.
pub fn init(data_dir: &Path, level: Level, rust_log: Option<&str>) -> Result<LogGuard, LogError> {
    let filter = filter(level, rust_log)?;
    let file = RotatingFile::open(&data_dir.join(FILE_NAME), LIMIT_BYTES, FILES)?;
    let (queue, guard) = queue::spawn(file)?;
    subscriber(level, filter, queue, io::stderr, io::stderr().is_terminal()).try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(guard)
}

fn filter(level: Level, rust_log: Option<&str>) -> Result<EnvFilter, ParseError> {
    match rust_log.map(str::trim) {
        Some(directives) if !directives.is_empty() => EnvFilter::builder().parse(directives),
        _ => EnvFilter::builder().with_default_directive(LevelFilter::from_level(level).into()).parse(""),
    }
}

/// The two ways of every event: to `people` through the filter, to `programs` from `level` or `INFO` up.
fn subscriber(
    level: Level,
    filter: EnvFilter,
    programs: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
    people: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
    colours: bool,
) -> impl Subscriber + Send + Sync {
    let in_file = LevelFilter::from_level(level.max(Level::INFO));
    let json = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
    registry()
        .with(filter_fn(|event| !event.target().starts_with(TALKATIVE)))
        .with(fmt::layer().with_writer(people).with_ansi(colours).with_filter(filter))
        .with(json.with_writer(programs).with_filter(in_file))
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let place = info.location().map(ToString::to_string);
    tracing::error!(
        thread = thread.name(),
        place,
        "panic: {}",
        info.payload_as_str().unwrap_or("without a message")
    );
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Screen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What stands on the screen and in the file after some events.
    fn logged(level: Level, rust_log: Option<&str>) -> (String, Vec<serde_json::Value>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let (queue, guard) = queue::spawn(RotatingFile::open(&path, LIMIT_BYTES, FILES).unwrap()).unwrap();
        let screen = Screen::default();
        let people = screen.clone();
        let subscriber =
            subscriber(level, filter(level, rust_log).unwrap(), queue, move || people.clone(), false);
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("payment", hash = "ab12").entered();
            tracing::info!(id = "4c1d", amount_sat = 7, "message received");
            tracing::debug!("a detail");
            tracing::error!(target: "gotatun::device", "No endpoint");
        });
        drop(guard);
        let lines = fs::read_to_string(&path).unwrap();
        (screen.text(), lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    #[test]
    fn the_file_has_lines_of_json_with_fields_and_span() {
        let (screen, lines) = logged(Level::INFO, None);
        assert!(screen.contains("message received") && !screen.contains("a detail"), "{screen}");
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(
            (&line["message"], &line["id"], &line["level"]),
            (&"message received".into(), &"4c1d".into(), &"INFO".into())
        );
        assert_eq!((&line["amount_sat"], &line["span"]["hash"]), (&7.into(), &"ab12".into()));
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn the_file_is_written_even_where_the_screen_is_quiet() {
        for (level, rust_log) in [(Level::ERROR, None), (Level::INFO, Some("off"))] {
            let (screen, lines) = logged(level, rust_log);
            assert_eq!((screen.as_str(), lines.len()), ("", 1));
        }
    }

    #[test]
    fn a_finer_level_is_finer_in_both() {
        let (screen, lines) = logged(Level::DEBUG, Some(" "));
        assert!(screen.contains("a detail"), "{screen}");
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        assert!(filter(Level::INFO, Some("info,=,=")).is_err());
        assert!(filter(Level::INFO, Some("info,imp_node=debug")).is_ok());
    }
}
