//! The daemon's configuration.
//!
//! ```text
//! key table -> file -> environment -> flags -> settings by key -> one typed struct per subsystem
//! ```
//!
//! The file is the original's `config.yml` (2021 API), which starts unchanged, with keys of this node added. Everything
//! has a default. A variable `IMP_<SECTION>_<KEY>` goes over the file, a flag `--section-key` over both; names of both
//! are derived from the [key table](keys). [`Config::load`] is a pure function of its [`Inputs`]; [`locate`] reads the
//! process's surroundings into them.

mod address;
mod chain;
mod fault;
mod federate;
mod file;
pub mod keys;
mod lightning;
pub mod locate;
mod number;
mod sample;
mod secret;
mod server;
mod services;
mod settings;
mod socket;
mod unreadable;
mod vpn;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use chain::{ChainSource, RpcAuth};
pub use fault::{Fault, Faults, Notice, NoticeKind, Source};
pub use file::MAX_FILE_BYTES;
pub use lightning::{Backend, LdkConfig, LightningConfig, LndConfig, PUBLIC_SIGNET_ESPLORA};
pub use sample::sample;
pub use secret::Secret;
pub use server::ServerConfig;
pub use services::ServicesConfig;
pub use socket::SocketConfig;
pub use vpn::{DeviceChoice, VpnConfig};

use imp_core::federation::Rules;
use settings::{Given, Settings};

/// What a configuration is made of.
#[derive(Clone)]
pub struct Inputs {
    /// The configuration file's path and text, where there is one.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables; those that do not begin with `IMP_` are left alone.
    pub env: BTreeMap<String, String>,
    /// Flags by the key's name, such as `server.http_addr`, in the order given.
    pub flags: Vec<(String, String)>,
    /// The user's home directory, which `~/` stands for.
    pub home: Option<PathBuf>,
    /// Whether a file exists.
    pub exists: fn(&Path) -> bool,
}

impl fmt::Debug for Inputs {
    /// Without values, which may be passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs")
            .field("file", &self.file.as_ref().map(|(path, _)| path))
            .finish_non_exhaustive()
    }
}

/// A configuration that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that it was read from, where there was one.
    pub file: Option<PathBuf>,
    /// Directory of the database, the seed, the lock and the log.
    pub data_dir: PathBuf,
    /// Least severe level that is logged.
    pub log: LogConfig,
    /// Listeners.
    pub server: ServerConfig,
    /// Which services answer.
    pub services: ServicesConfig,
    /// The Lightning node.
    pub lightning: LightningConfig,
    /// Federation.
    pub federate: Rules,
    /// Selling VPN connections.
    pub vpn: VpnConfig,
    /// UDP relays.
    pub socket: SocketConfig,
    /// The journal of events.
    pub journal: JournalConfig,
    /// Answers that strangers cause.
    pub answers: AnswersConfig,
    /// What of the configuration is not used, and what was decided for the user.
    pub notices: Vec<Notice>,
}

/// The `log` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Least severe level on standard error. The log file has at least `INFO`.
    pub level: tracing::Level,
}

/// The `journal` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// Days for which events can be replayed.
    pub keep_days: u32,
    /// Megabytes (10^6 bytes) that events may take.
    pub max_mb: u64,
}

/// The `answers` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswersConfig {
    /// Satoshis a day for answers that nobody at this node asked for.
    pub daily_sat: u64,
}

impl Config {
    /// Reads the inputs. All faults are reported together; [`Config::notices`] tells what does not keep the daemon from
    /// starting.
    pub fn load(inputs: &Inputs) -> Result<Self, Faults> {
        let mut settings = collect(inputs)?;
        let around = lightning::Surroundings { home: inputs.home.as_deref(), exists: inputs.exists };
        let mut config = Self {
            file: inputs.file.as_ref().map(|(path, _)| path.clone()),
            data_dir: data_dir_of(&mut settings, inputs),
            log: LogConfig { level: log_level(&mut settings) },
            server: server::build(&mut settings),
            services: services::build(&mut settings),
            lightning: lightning::build(&mut settings, &around),
            federate: federate::build(&mut settings),
            vpn: vpn::build(&mut settings),
            socket: socket::build(&mut settings),
            journal: JournalConfig {
                // The range makes the conversion exact.
                keep_days: settings.number("journal.keep_days", 1..=36_500) as u32,
                max_mb: settings.number("journal.max_mb", 16..=1_048_576),
            },
            answers: AnswersConfig { daily_sat: settings.number("answers.daily_sat", 0..=100_000_000) },
            notices: Vec::new(),
        };
        if !settings.faults.is_empty() {
            return Err(Faults(settings.faults));
        }
        config.notices = settings.notices;
        Ok(config)
    }
}

/// The data directory alone, for commands that need no more: other keys may be at fault.
pub fn data_dir(inputs: &Inputs) -> Result<PathBuf, Faults> {
    let mut settings = collect(inputs)?;
    settings.faults.clear();
    let path = data_dir_of(&mut settings, inputs);
    if settings.faults.is_empty() { Ok(path) } else { Err(Faults(settings.faults)) }
}

/// Lays file, environment and flags over each other.
fn collect(inputs: &Inputs) -> Result<Settings, Faults> {
    let mut settings = Settings::default();
    if let Some((path, text)) = &inputs.file {
        file::read(text, path, &mut settings)?;
    }
    for (name, value) in &inputs.env {
        let source = Source::Env(name.clone());
        if let Some(key) = keys::KEYS.iter().find(|key| key.env == *name) {
            // Container files pass on variables that are unset as empty ones.
            if !value.is_empty() {
                settings.put(key, Given::Text(value.clone()), source);
            }
        } else if names_a_section(name) {
            settings.unknown(source, name);
        }
    }
    for (name, value) in &inputs.flags {
        match keys::find(name) {
            Some(key) => settings.put(key, Given::Text(value.clone()), Source::Flag(key.flag.clone())),
            None => settings.unknown(Source::Flag(name.clone()), name),
        }
    }
    Ok(settings)
}

/// Whether a variable that is no key looks as if it were to be one: `IMP_ADDR`, say, belongs to the command line `imp`.
fn names_a_section(variable: &str) -> bool {
    let Some(rest) = variable.strip_prefix("IMP_") else { return false };
    keys::KEYS.iter().any(|key| {
        let section = key.name.split('.').next().unwrap_or_default().to_uppercase();
        rest.strip_prefix(section.as_str()).is_some_and(|rest| rest.starts_with('_'))
    })
}

fn data_dir_of(settings: &mut Settings, inputs: &Inputs) -> PathBuf {
    const KEY: &str = "data_dir";
    const REMEDY: &str = "Write an absolute path, for example /var/lib/imp";
    let expand = |text: &str| expand(text, inputs.home.as_deref());
    if settings.is_given(KEY) {
        return settings.optional(KEY, REMEDY, expand).unwrap_or_default();
    }
    let default = keys::find(KEY).and_then(|key| key.default).unwrap_or_default();
    expand(default).unwrap_or_else(|why| {
        settings.fault(Source::Nowhere, KEY, Some(default), &why, REMEDY);
        PathBuf::new()
    })
}

fn log_level(settings: &mut Settings) -> tracing::Level {
    settings.required("log.level", "Write error, warn, info, debug or trace", |text| {
        match text.to_ascii_lowercase().as_str() {
            "error" => Ok(tracing::Level::ERROR),
            "warn" => Ok(tracing::Level::WARN),
            "info" => Ok(tracing::Level::INFO),
            "debug" => Ok(tracing::Level::DEBUG),
            "trace" => Ok(tracing::Level::TRACE),
            _ => Err("there is no such level".to_owned()),
        }
    })
}

/// A path in which `~/` stands for the home directory.
fn expand(text: &str, home: Option<&Path>) -> Result<PathBuf, String> {
    match text.strip_prefix("~/") {
        Some(rest) => home.map(|home| home.join(rest)).ok_or_else(|| "there is no home directory".to_owned()),
        None => Ok(PathBuf::from(text)),
    }
}
