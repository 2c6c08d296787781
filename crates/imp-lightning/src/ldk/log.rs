//! The Lightning library's log, written to `tracing` under the target `ldk`.
//!
//! Each level is told one step lower than the library has it: a payment that finds no route or a peer that is away is an
//! error to it, and everyday life to the daemon. Its two most verbose levels, which print whole messages of the peer
//! protocol, are left out; the others name no preimages, keys or records.

use ldk_node::logger::{LogLevel, LogRecord, LogWriter};
use tracing::{debug, info, trace, warn};

#[derive(Debug)]
pub(super) struct LdkLog;

impl LogWriter for LdkLog {
    fn log(&self, record: LogRecord<'_>) {
        let LogRecord { level, args, module_path, line } = record;
        match level {
            LogLevel::Error => warn!(target: "ldk", module = module_path, line, "{args}"),
            LogLevel::Warn => info!(target: "ldk", module = module_path, line, "{args}"),
            LogLevel::Info => debug!(target: "ldk", module = module_path, line, "{args}"),
            LogLevel::Debug => trace!(target: "ldk", module = module_path, line, "{args}"),
            LogLevel::Trace | LogLevel::Gossip => {}
        }
    }
}
