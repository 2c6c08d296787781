//! `impd config check`.

use std::io::{self, Write};

use crate::config::{Config, Faults, Inputs, NoticeKind};
use crate::runtime::shutdown::exit;

/// Tells everything that is to be said of a configuration. Returns the exit code: [`exit::CLEAN`] if it can be used and
/// all its keys are known, else [`exit::CONFIG`]. `inputs` are faults where the file could not be read at all.
pub fn check(inputs: Result<Inputs, Faults>, out: &mut impl Write) -> io::Result<u8> {
    let file = inputs.as_ref().ok().and_then(|inputs| inputs.file.as_ref()).map(|(path, _)| path.clone());
    let subject = file.map_or_else(|| "The configuration".to_owned(), |path| path.display().to_string());
    match inputs.and_then(|inputs| Config::load(&inputs)) {
        Err(faults) => {
            for fault in &faults.0 {
                writeln!(out, "fault: {fault}")?;
            }
            writeln!(out, "{subject} cannot be used. Faults: {}.", faults.0.len())?;
            Ok(exit::CONFIG)
        }
        Ok(config) => {
            let mut unknown = 0;
            for notice in &config.notices {
                let label = match notice.kind {
                    NoticeKind::UnknownKey => {
                        unknown += 1;
                        "unknown key"
                    }
                    NoticeKind::Placeholder | NoticeKind::Ignored | NoticeKind::Chosen => "note",
                };
                writeln!(out, "{label}: {notice}")?;
            }
            if unknown > 0 {
                writeln!(
                    out,
                    "{subject} can be used, but not all of it has an effect. Unknown keys: {unknown}."
                )?;
                return Ok(exit::CONFIG);
            }
            writeln!(out, "{subject} can be used.")?;
            Ok(exit::CLEAN)
        }
    }
}
