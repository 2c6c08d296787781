//! Notes on what this process changes on the machine, so that a later run can put it back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Keeps a note: it is there, as a whole and readable by the owner only, when this returns, also after the machine loses
/// power.
pub(crate) async fn keep<N: Serialize>(path: &Path, note: &N) -> io::Result<()> {
    let text = serde_json::to_vec(note)?;
    let path = path.to_owned();
    blocking(move || replace(&path, &text)).await
}

/// Reads a note. Nothing if there is none.
pub(crate) async fn read<N: DeserializeOwned>(path: &Path) -> io::Result<Option<N>> {
    match tokio::fs::read(path).await {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Forgets a note. One that is not there is no error.
pub(crate) async fn forget(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    blocking(move || match fs::remove_file(&path) {
        Ok(()) => sync_folder(&path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    })
    .await
}

async fn blocking<A: Send + 'static>(work: impl FnOnce() -> io::Result<A> + Send + 'static) -> io::Result<A> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let unfinished = unfinished(path);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_folder(path)
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_note_is_read_as_it_was_kept_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vpn/a.json");
        assert_eq!(read::<Vec<u8>>(&path).await.unwrap(), None);
        for note in [vec![1, 2], vec![3]] {
            keep(&path, &note).await.unwrap();
            assert_eq!(read::<Vec<u8>>(&path).await.unwrap(), Some(note));
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        for _ in 0..2 {
            forget(&path).await.unwrap();
            assert_eq!(read::<Vec<u8>>(&path).await.unwrap(), None);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_torn_note_is_an_error_and_not_no_note() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        fs::write(&path, "[1, 2").unwrap();
        assert!(read::<Vec<u8>>(&path).await.is_err());
    }
}
