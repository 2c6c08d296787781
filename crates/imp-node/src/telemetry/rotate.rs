//! A file of lines that is put aside when it has grown to its limit.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file with mode 0600 that older files `<name>.1`, `<name>.2` and so on stand beside, the oldest with the highest
/// number. All together hold at most `files * limit_bytes` bytes and one line.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    limit_bytes: u64,
    files: usize,
    file: File,
    written_bytes: u64,
    /// The last line was cut by an error: the next one must not stand on its rest.
    torn: bool,
}

impl RotatingFile {
    /// Opens the file to add lines at its end. `files` counts the file itself and is at least 1.
    pub fn open(path: &Path, limit_bytes: u64, files: usize) -> io::Result<Self> {
        let file = open(path)?;
        let written_bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), limit_bytes, files: files.max(1), file, written_bytes, torn: false })
    }

    /// Adds one line, which ends in a line feed. It never stands in two files.
    pub fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.written_bytes > 0 && self.written_bytes + line.len() as u64 > self.limit_bytes {
            self.rotate()?;
        }
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        self.torn = true;
        self.file.write_all(line)?;
        self.torn = false;
        self.written_bytes += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.files).rev() {
            let newer = if number == 1 { self.path.clone() } else { self.numbered(number - 1) };
            match fs::rename(newer, self.numbered(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.files == 1 {
            fs::remove_file(&self.path)?;
        }
        self.file = open(&self.path)?;
        self.written_bytes = 0;
        self.torn = false;
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    // The daemon of 2021 left its log open to everybody.
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn full_files_are_put_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.txt");
        let mut log = RotatingFile::open(&path, 10, 3).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n", "five\n", "six\n", "seven\n"] {
            log.write_line(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&path), "six\nseven\n");
        assert_eq!(read(&dir.path().join("log.txt.1")), "four\nfive\n");
        assert_eq!(read(&dir.path().join("log.txt.2")), "three\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_line_longer_than_the_limit_stands_whole_in_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.txt");
        let mut log = RotatingFile::open(&path, 10, 2).unwrap();
        let long = format!("{}\n", "x".repeat(100));
        for line in ["one\n", &long, "two\n"] {
            log.write_line(line.as_bytes()).unwrap();
        }
        assert_eq!((read(&path), read(&dir.path().join("log.txt.1"))), ("two\n".to_owned(), long));
    }

    #[test]
    fn a_new_process_goes_on_where_the_last_one_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.txt");
        fs::write(&path, "12345678\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let mut log = RotatingFile::open(&path, 10, 2).unwrap();
        log.write_line(b"next\n").unwrap();
        assert_eq!(read(&path), "next\n");
        let modes =
            ["log.txt", "log.txt.1"].map(|name| fs::metadata(dir.path().join(name)).unwrap().permissions());
        assert!(modes.iter().all(|mode| mode.mode() & 0o777 == 0o600), "{modes:?}");
    }

    #[test]
    fn a_single_file_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.txt");
        let mut log = RotatingFile::open(&path, 5, 1).unwrap();
        log.write_line(b"one\n").unwrap();
        log.write_line(b"two\n").unwrap();
        assert_eq!((read(&path), fs::read_dir(dir.path()).unwrap().count()), ("two\n".to_owned(), 1));
    }
}
