//! `cargo xtask gen`: the protos become Rust code and a descriptor set, and with their comments the OpenAPI document, the
//! reference and the page of documentation. All are checked in, so that a build needs no protobuf compiler and a reviewer
//! sees what a change of a proto does.

mod interface;
mod openapi;
mod page;
mod reference;
mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use prost_types::FileDescriptorSet;
use prost_types::source_code_info::Location;
use protox::Compiler;

/// Where generated files stand, from the root. Nothing else stands there.
const CODE: &str = "crates/imp-api/src/gen";
const DOCUMENTS: &str = "docs/reference";

/// The codes of gRPC with the HTTP status of each, as `imp_api::error::Code` has them, which a test compares.
const CODES: [(u8, &str, u16); 16] = [
    (1, "CANCELLED", 408),
    (2, "UNKNOWN", 500),
    (3, "INVALID_ARGUMENT", 400),
    (4, "DEADLINE_EXCEEDED", 504),
    (5, "NOT_FOUND", 404),
    (6, "ALREADY_EXISTS", 409),
    (7, "PERMISSION_DENIED", 403),
    (8, "RESOURCE_EXHAUSTED", 429),
    (9, "FAILED_PRECONDITION", 400),
    (10, "ABORTED", 409),
    (11, "OUT_OF_RANGE", 400),
    (12, "UNIMPLEMENTED", 501),
    (13, "INTERNAL", 500),
    (14, "UNAVAILABLE", 503),
    (15, "DATA_LOSS", 500),
    (16, "UNAUTHENTICATED", 401),
];

/// Generates the files, or with `--check` compares them with what stands there.
pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<()> {
    let check = match args {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("usage: cargo xtask gen [--check]"),
    };
    let work = root.join("target/xtask-gen");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot clear {}", work.display()))?;
    }
    let (code, documents) = (work.join("code"), work.join("documents"));
    for folder in [&code, &documents] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut compiler = compile(&root.join("proto"))?;
    require_comments(&compiler.file_descriptor_set())?;
    write_documents(&interface::read(&compiler.encode_file_descriptor_set())?, &documents)?;
    write_code(root, &mut compiler, &code)?;
    for (new, place) in [(&code, CODE), (&documents, DOCUMENTS)] {
        let (new, old) = (read_folder(new)?, read_folder(&root.join(place))?);
        if check { compare(place, &new, &old)? } else { replace(root, place, &new, &old)? }
    }
    Ok(())
}

/// Files by name.
type Files = BTreeMap<String, Vec<u8>>;

fn compare(place: &str, new: &Files, old: &Files) -> anyhow::Result<()> {
    let differing: BTreeSet<&str> = new
        .keys()
        .chain(old.keys())
        .filter(|name| new.get(*name) != old.get(*name))
        .map(String::as_str)
        .collect();
    ensure!(
        differing.is_empty(),
        "{place} is not what proto/ says ({}): run `cargo xtask gen` and commit the result",
        Vec::from_iter(differing).join(", ")
    );
    Ok(())
}

fn replace(root: &Path, place: &str, new: &Files, old: &Files) -> anyhow::Result<()> {
    let folder = root.join(place);
    fs::create_dir_all(&folder)?;
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        fs::remove_file(folder.join(name))?;
    }
    for (name, bytes) in new {
        // A file that is written is compiled again, so one that stays the same is left alone.
        if old.get(name) != Some(bytes) {
            fs::write(folder.join(name), bytes)?;
            println!("{place}/{name}");
        }
    }
    Ok(())
}

/// Every proto of the project with what it imports, comments included.
fn compile(proto_root: &Path) -> anyhow::Result<Compiler> {
    let mut files = Vec::new();
    find_protos(proto_root, &mut files)?;
    files.sort();
    let mut compiler = Compiler::new([proto_root])?;
    compiler.include_imports(true).include_source_info(true);
    // protox's Debug text is its full report, with file, line and an excerpt.
    compiler.open_files(files).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(compiler)
}

fn write_documents(services: &[interface::Service], out_dir: &Path) -> anyhow::Result<()> {
    for (name, text) in [
        ("openapi.json", openapi::document(services)),
        ("api.md", reference::document(services)),
        ("index.html", page::document(services)),
    ] {
        fs::write(out_dir.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

fn write_code(root: &Path, compiler: &mut Compiler, out_dir: &Path) -> anyhow::Result<()> {
    let mut files = compiler.file_descriptor_set();
    // The options are read from the descriptors; as Rust types nobody needs them.
    files.file.retain(|file| !matches!(file.package(), "google.protobuf" | "imp"));
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .out_dir(out_dir)
        .include_file("mod.rs")
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(files, config)
        .context("cannot generate code")?;

    let sources: Vec<PathBuf> = read_folder(out_dir)?.keys().map(|name| out_dir.join(name)).collect();
    let status = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root)
        .args(&sources)
        .status()
        .context("cannot run rustfmt")?;
    ensure!(status.success(), "rustfmt failed");

    compiler.include_source_info(false);
    fs::write(out_dir.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    Ok(())
}

fn find_protos(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}

/// The files of a folder by name; none where there is no folder.
fn read_folder(folder: &Path) -> anyhow::Result<Files> {
    let mut files = BTreeMap::new();
    if folder.exists() {
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).context("a file name is not UTF-8")?;
            files.insert(name.to_owned(), fs::read(&path)?);
        }
    }
    Ok(files)
}

/// Refuses a service, method, message, field or enum value without a comment: the reference is made of them.
fn require_comments(files: &FileDescriptorSet) -> anyhow::Result<()> {
    let mut bare = Vec::new();
    for file in files.file.iter().filter(|file| file.package() != "google.protobuf") {
        let locations = file.source_code_info.as_ref().map_or(&[][..], |info| &info.location);
        bare.extend(
            locations
                .iter()
                .filter(|location| {
                    is_documented_kind(&location.path) && location.leading_comments().trim().is_empty()
                })
                .map(|location| format!("proto/{}:{}", file.name(), line_of(location))),
        );
    }
    ensure!(bare.is_empty(), "these lack a comment: {}", bare.join(", "));
    Ok(())
}

/// Whether a path in a file's descriptor names something that the reference lists. The numbers are the field numbers of
/// descriptor.proto, each followed by an index.
fn is_documented_kind(path: &[i32]) -> bool {
    match path {
        // Messages, enums, services, extensions; methods of a service; values of an enum.
        [4..=7, _] | [6, _, 2, _] | [5, _, 2, _] => true,
        // Fields, nested messages and nested enums, at any depth.
        [4, _, rest @ ..] => match rest {
            [2..=4, _] => true,
            [3, _, ..] => is_documented_kind(&[&[4], &rest[1..]].concat()),
            [4, _, 2, _] => true,
            _ => false,
        },
        _ => false,
    }
}

fn line_of(location: &Location) -> i32 {
    location.span.first().map_or(0, |line| line + 1)
}
