//! Finds and reads what a configuration is made of: file, environment, home directory.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::fault::{Fault, Faults, Source};
use super::{Inputs, MAX_FILE_BYTES};

/// The inputs of this process: the named file, or the first of `config/config.yml` below the working directory and
/// `~/.imp/config.yml` that exists, or none.
pub fn inputs(named: Option<PathBuf>, flags: Vec<(String, String)>) -> Result<Inputs, Faults> {
    let home = env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let path = match named {
        Some(path) => Some(path),
        None => find(Path::new(""), home.as_deref()),
    };
    let file = path.map(|path| read(&path).map(|text| (path, text))).transpose()?;
    Ok(Inputs { file, env: environment(env::vars_os()), flags, home, exists: Path::is_file })
}

/// The configuration file that is used when none is named.
fn find(work_dir: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let at_home = home.map(|home| home.join(".imp/config.yml"));
    // Even a file that cannot be read counts: passing over it would start with settings nobody asked for.
    [Some(work_dir.join("config/config.yml")), at_home].into_iter().flatten().find(|path| {
        !matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound
            || error.kind() == io::ErrorKind::NotADirectory)
    })
}

fn read(path: &Path) -> Result<String, Faults> {
    let mut bytes = Vec::new();
    // One byte more than may be read, so that too large a file is seen without being read whole.
    let done = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes));
    let fault = |why: String, remedy: &str| {
        let source = Source::File { path: path.to_owned(), line: 0 };
        Faults::from(Fault { source, key: None, value: None, why, remedy: remedy.to_owned() })
    };
    if let Err(error) = done {
        return Err(fault(
            format!("the configuration file cannot be read: {error}"),
            "Check the path and its permissions, or name another file with --config",
        ));
    }
    if bytes.len() > MAX_FILE_BYTES {
        return Err(fault(
            format!("the file is larger than {MAX_FILE_BYTES} bytes"),
            "Name a configuration file; `impd config sample` prints one",
        ));
    }
    String::from_utf8(bytes).map_err(|_| {
        fault("the file is not UTF-8 text".to_owned(), "Save it as UTF-8, or name another file with --config")
    })
}

/// The variables that may be settings.
fn environment(
    variables: impl Iterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
) -> BTreeMap<String, String> {
    variables
        .filter_map(|(name, value)| {
            let name = name.as_ref().to_str()?;
            name.starts_with("IMP_").then(|| (name.to_owned(), value.as_ref().to_string_lossy().into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_working_directory_goes_before_the_home_directory() {
        let (work, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [here, there] = [work.path().join("config/config.yml"), home.path().join(".imp/config.yml")];
        let find = || find(work.path(), Some(home.path()));
        assert_eq!(find(), None);
        fs::create_dir(home.path().join(".imp")).unwrap();
        fs::write(&there, "").unwrap();
        assert_eq!(find(), Some(there));
        // `config` may be a file of something else.
        fs::write(work.path().join("config"), "").unwrap();
        assert_eq!(find(), Some(home.path().join(".imp/config.yml")));
        fs::remove_file(work.path().join("config")).unwrap();
        fs::create_dir(work.path().join("config")).unwrap();
        fs::write(&here, "").unwrap();
        assert_eq!(find(), Some(here));
    }

    #[test]
    fn files_that_cannot_be_read_are_faults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yml");
        assert!(read(&path).unwrap_err().to_string().contains("cannot be read"));
        assert!(read(dir.path()).unwrap_err().to_string().contains("cannot be read"));
        fs::write(&path, b"\xff\xfe").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("UTF-8"));
        fs::write(&path, vec![b'#'; MAX_FILE_BYTES + 1]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("larger"));
        fs::write(&path, vec![b'#'; MAX_FILE_BYTES]).unwrap();
        assert!(read(&path).is_ok());
    }

    #[test]
    fn only_variables_with_the_prefix_are_taken() {
        let all = [("IMP_DATA_DIR", "/x"), ("HOME", "/home/me"), ("imp_data_dir", "/y")];
        assert_eq!(environment(all.into_iter()), BTreeMap::from([("IMP_DATA_DIR".into(), "/x".into())]));
    }
}
