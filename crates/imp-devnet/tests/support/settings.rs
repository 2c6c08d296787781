//! What nodes are told besides the configuration file that their net writes: variables, by a file for each node.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Runs a node with the settings and in the namespace that a file names, which may change until it starts again.
const RUN_NODE: &str = r#"#!/bin/sh
set -e
settings=$(dirname "$0")/$(basename "$PWD").settings
if [ -f "$settings" ]; then
    . "$settings"
fi
exec ${NAMESPACE:+nsenter --net="$NAMESPACE"} "$IMPD_PROGRAM" "$@"
"#;

/// A folder with such files.
#[derive(Debug)]
pub(crate) struct Settings {
    dir: PathBuf,
}

impl Settings {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Writes the program to start nodes with in place of `impd`.
    pub(crate) fn program(&self, impd: &Path) -> io::Result<PathBuf> {
        let script = self.dir.join("run-node");
        fs::write(&script, RUN_NODE.replace("$IMPD_PROGRAM", impd.to_str().expect("a path in UTF-8")))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(script)
    }

    /// What a node is started with from now on.
    pub(crate) fn write(&self, node: &str, settings: &[(&str, &str)]) -> io::Result<()> {
        let mut lines = String::new();
        for (name, value) in settings {
            writeln!(lines, "export {name}='{value}'").expect("memory takes it");
        }
        fs::write(self.dir.join(format!("{node}.settings")), lines)
    }
}
