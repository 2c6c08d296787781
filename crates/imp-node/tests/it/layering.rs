//! Dependencies point one way: `node` -> `api` -> `service` -> `federation` -> `outbox` -> `store` -> `imp-core`, beside which
//! stand `inbox`, `events` and `idempotency`.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the daemon, and what none of their files may name.
const FORBIDDEN: [(&str, &[&str]); 17] = [
    ("node", &["tonic", "rusqlite", "ldk_node"]),
    (
        "api",
        &[
            "rusqlite",
            "ldk_node",
            "crate::node",
            "crate::config",
            "crate::outbox",
            "crate::inbox",
            "crate::udp",
            "store::sqlite",
        ],
    ),
    (
        "udp",
        &[
            "tonic",
            "axum",
            "rusqlite",
            "ldk_node",
            "imp_lightning",
            "crate::api",
            "crate::node",
            "crate::service",
            "crate::outbox",
            "crate::inbox",
            "crate::store",
            "crate::config",
        ],
    ),
    (
        "exit",
        &[
            "tonic",
            "axum",
            "rusqlite",
            "ldk_node",
            "imp_lightning",
            "crate::api",
            "crate::node",
            "crate::service",
            "crate::outbox",
            "crate::inbox",
            "crate::store",
            "crate::config",
            "crate::vpn",
            "crate::tunnel",
            "crate::wireguard",
        ],
    ),
    (
        "tunnel",
        &[
            "tonic",
            "axum",
            "rusqlite",
            "ldk_node",
            "imp_lightning",
            "crate::api",
            "crate::node",
            "crate::service",
            "crate::outbox",
            "crate::inbox",
            "crate::store",
            "crate::config",
            "crate::vpn",
            "crate::exit",
        ],
    ),
    (
        "host",
        &[
            "tonic",
            "axum",
            "rusqlite",
            "ldk_node",
            "imp_lightning",
            "crate::api",
            "crate::node",
            "crate::service",
            "crate::outbox",
            "crate::inbox",
            "crate::store",
            "crate::config",
            "crate::vpn",
            "crate::exit",
            "crate::tunnel",
            "crate::wireguard",
        ],
    ),
    (
        "vpn",
        &[
            "tonic",
            "axum",
            "rusqlite",
            "ldk_node",
            "imp_lightning",
            "crate::api",
            "crate::node",
            "crate::service",
            "crate::config",
        ],
    ),
    (
        "wireguard",
        &[
            "tonic",
            "axum",
            "rusqlite",
            "ldk_node",
            "imp_lightning",
            "crate::api",
            "crate::node",
            "crate::service",
            "crate::outbox",
            "crate::inbox",
            "crate::store",
            "crate::config",
            "crate::vpn",
            "crate::exit",
            "crate::tunnel",
        ],
    ),
    (
        "idempotency",
        &[
            "tonic",
            "axum",
            "rusqlite",
            "ldk_node",
            "imp_lightning",
            "crate::api",
            "crate::node",
            "crate::service",
            "crate::outbox",
            "crate::config",
        ],
    ),
    ("service", &["tonic", "axum", "rusqlite", "ldk_node", "crate::api", "crate::node", "crate::config"]),
    (
        "outbox",
        &[
            "tonic",
            "axum",
            "rusqlite",
            "ldk_node",
            "crate::api",
            "crate::node",
            "crate::service",
            "crate::config",
        ],
    ),
    (
        "inbox",
        &[
            "tonic",
            "axum",
            "rusqlite",
            "ldk_node",
            "crate::api",
            "crate::node",
            "crate::service",
            "crate::config",
        ],
    ),
    (
        "federation",
        &[
            "tonic",
            "axum",
            "rusqlite",
            "ldk_node",
            "imp_lightning",
            "crate::api",
            "crate::node",
            "crate::service",
            "crate::config",
        ],
    ),
    ("events", &["tonic", "axum", "rusqlite", "ldk_node", "crate::api", "crate::node", "crate::service"]),
    (
        "store",
        &[
            "tonic",
            "axum",
            "ldk_node",
            "crate::api",
            "crate::node",
            "crate::service",
            "crate::outbox::",
            "crate::inbox::",
        ],
    ),
    (
        "udp",
        &[
            "tonic",
            "axum",
            "rusqlite",
            "ldk_node",
            "imp_lightning",
            "crate::api",
            "crate::config",
            "crate::node",
            "crate::service",
            "crate::store",
        ],
    ),
    ("runtime", &["tonic", "axum", "rusqlite", "ldk_node", "imp_lightning", "crate::"]),
];

/// Crates, and what none of their manifests may depend on.
const FORBIDDEN_CRATES: [(&str, &[&str]); 4] = [
    ("imp-core", &["tokio", "imp-lightning", "imp-api", "imp-node", "imp-devnet", "rusqlite", "ldk-node"]),
    ("imp-api", &["imp-core", "imp-lightning", "imp-node", "imp-devnet", "ldk-node", "rusqlite", "axum"]),
    ("imp-cli", &["imp-core", "imp-lightning", "imp-node", "imp-devnet", "ldk-node", "rusqlite", "axum"]),
    ("imp-lightning", &["imp-api", "imp-node", "rusqlite", "tonic", "axum"]),
];

/// The one look back: the calls are served before their services run, and hold the place that `node` puts them into.
const LOOKS_BACK: (&str, &str) = ("api/grpc/calls.rs", "crate::node");

#[test]
fn modules_name_only_what_lies_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut looked_at = 0;
    for (module, forbidden) in FORBIDDEN {
        for file in files_of(&src, module) {
            let text = fs::read_to_string(&file).unwrap();
            looked_at += 1;
            // The tests within a file may stand on anything.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (at, line) in
                code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
            {
                // Within the runtime module its own parts name each other.
                let line =
                    if module == "runtime" { line.replace("crate::runtime", "") } else { line.to_owned() };
                for name in forbidden {
                    let looks_back = file.ends_with(LOOKS_BACK.0) && *name == LOOKS_BACK.1;
                    assert!(
                        looks_back || !line.contains(name),
                        "{}:{}: {module} must not name {name}",
                        file.display(),
                        at + 1
                    );
                }
            }
        }
    }
    assert!(looked_at > 20, "only {looked_at} files were found");
}

#[test]
fn crates_depend_only_on_what_lies_below_them() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (name, forbidden) in FORBIDDEN_CRATES {
        let manifest = fs::read_to_string(crates.join(name).join("Cargo.toml")).unwrap();
        let dependencies =
            manifest.split("[dependencies]").nth(1).unwrap().split("[dev-dependencies]").next().unwrap();
        for forbidden in forbidden {
            let named = dependencies.lines().any(|line| {
                line.split(['.', ' ', '=']).next().is_some_and(|dependency| dependency == *forbidden)
            });
            assert!(!named, "{name} must not depend on {forbidden}");
        }
    }
}

/// A module's file and those in its folder.
fn files_of(src: &Path, module: &str) -> Vec<PathBuf> {
    let mut files = vec![src.join(format!("{module}.rs"))];
    let mut folders = vec![src.join(module)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // Tests may stand on anything, also those that are a folder.
                if !path.ends_with("tests") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                files.push(path);
            }
        }
    }
    files
}
