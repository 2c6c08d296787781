//! `imp vpn config` and `qr`. What they give holds a private key.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use imp_api::proto::imp::vpn::v1::{File, GetVpnConfigRequest, GetVpnQrRequest};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::contracts::{self, BOUGHT};
use crate::args::vpn::Named;
use crate::cmd::ASKING;
use crate::failure::Failure;
use crate::session::Session;

/// Files with keys in them are for their owner.
const MODE: u32 = 0o600;

pub(super) async fn config(session: &Session, contract: Named, out: Option<PathBuf>) -> Result<(), Failure> {
    let nonce = contracts::named(session, contract, BOUGHT).await?.nonce;
    let file = fetch_config(session, nonce).await?;
    match out {
        Some(path) => write(&path, &file.data),
        None => {
            let text = text_of(&file)?;
            session.print(&file, |_| text)
        }
    }
}

pub(super) async fn qr(session: &Session, contract: Named, out: Option<PathBuf>) -> Result<(), Failure> {
    let format = out.as_deref().map(format_of).transpose()?;
    let nonce = contracts::named(session, contract, BOUGHT).await?.nonce;
    match out.zip(format) {
        Some((path, format)) => {
            let request = GetVpnQrRequest { nonce, format };
            let file = session.call(ASKING, async move |node| node.get_vpn_qr(request).await).await?;
            write(&path, &file.data)
        }
        None if session.output.is_json() => {
            let request = GetVpnQrRequest { nonce, format: String::new() };
            let file = session.call(ASKING, async move |node| node.get_vpn_qr(request).await).await?;
            session.print(&file, |_| String::new())
        }
        None => {
            let file = fetch_config(session, nonce).await?;
            let drawing = draw(&file.data, io::stdout().is_terminal())?;
            session.print(&file, |_| drawing)
        }
    }
}

async fn fetch_config(session: &Session, nonce: String) -> Result<File, Failure> {
    let request = GetVpnConfigRequest { nonce };
    session.call(ASKING, async move |node| node.get_vpn_config(request).await).await
}

fn text_of(file: &File) -> Result<String, Failure> {
    String::from_utf8(file.data.clone()).map_err(|_| Failure::NotText { name: file.name.clone() })
}

/// The format that the ending of a file's name asks for.
fn format_of(path: &Path) -> Result<String, Failure> {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    ending
        .filter(|ending| matches!(ending.as_str(), "png" | "svg"))
        .ok_or_else(|| Failure::Usage(format!("{}: a QR code is written as .png or as .svg", path.display())))
}

/// A code in half blocks. At a terminal it says its colours, for one that is light on dark is read by few telephones.
fn draw(text: &[u8], at_terminal: bool) -> Result<String, Failure> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)
        .map_err(|error| Failure::Usage(format!("the configuration makes no QR code: {error}")))?;
    let lines = code.render::<Dense1x2>().build();
    if !at_terminal {
        return Ok(lines);
    }
    // Black on bright white.
    Ok(lines.lines().fold(String::new(), |drawn, line| drawn + "\x1b[30;107m" + line + "\x1b[0m\n"))
}

/// Writes a file that only its owner can read, whatever stood there before.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path)?;
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(MODE))?;
        }
        file.write_all(bytes)
    };
    written().map_err(|source: io::Error| Failure::File { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_name_is_its_format() {
        for (path, expected) in
            [("a.png", Some("png")), ("b/c.SVG", Some("svg")), ("a.jpg", None), ("png", None)]
        {
            assert_eq!(format_of(Path::new(path)).ok().as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_code_on_a_terminal_brings_its_colours() {
        let plain = draw(b"x", false).unwrap();
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!((lines.len(), lines[0].trim()), (15, ""));
        assert!(lines.iter().all(|line| line.chars().count() == 29));
        let coloured = draw(b"x", true).unwrap();
        assert_eq!(coloured.replace("\x1b[30;107m", "").replace("\x1b[0m", "").trim_end_matches('\n'), plain);
        assert_eq!(coloured.matches("\x1b[30;107m").count(), 15);
    }

    #[test]
    fn a_file_with_a_key_is_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wg0.conf");
        std::fs::write(&path, "something longer that stood there").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        write(&path, b"key").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"key");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    }
}
