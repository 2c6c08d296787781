//! Programs that the Go module proxy has, built into `target/tools`.

use std::path::PathBuf;
use std::process::Command;

use crate::debian::{done, is_in_path};

/// A program.
pub(crate) struct Tool {
    /// What it is called, and what the folder with it is called after.
    pub(crate) name: &'static str,
    /// The package with its `main`.
    pub(crate) module: &'static str,
    pub(crate) version: &'static str,
    /// What is different without it.
    pub(crate) without: &'static str,
}

impl Tool {
    /// The folder with it, and with nothing else. It is built where there is Go, and where it is not there yet.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        let Self { name, module, version, without } = self;
        let folder = crate::root().join("target/tools").join(format!("{name}-{version}"));
        if folder.join(name).is_file() {
            return Some(folder);
        }
        if !is_in_path("go") {
            eprintln!("xtask: go is not installed: {without}");
            return None;
        }
        eprintln!("xtask: building {name} {version}");
        let mut install = Command::new("go");
        install.args(["install", &format!("{module}@{version}")]).env("GOBIN", &folder);
        match done(&mut install) {
            Ok(()) => Some(folder),
            Err(error) => {
                eprintln!("xtask: {error:#}; {without}");
                None
            }
        }
    }
}
