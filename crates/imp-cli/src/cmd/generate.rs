//! `imp completions` and `imp man`: what packages install beside the program.

use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::{ADDR_VARIABLE, Args};
use crate::exit;
use crate::failure::Failure;

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut command = Args::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "imp", &mut script);
    Ok(io::stdout().lock().write_all(&script)?)
}

/// Prints the page of the program, or writes the pages of all commands into a directory.
pub(crate) fn man(dir: Option<&Path>) -> Result<(), Failure> {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = dir else {
        return Ok(io::stdout().lock().write_all(&page(&command)?)?);
    };
    std::fs::create_dir_all(dir).map_err(|source| not_written(dir, source))?;
    write_pages(&command, dir)
}

fn write_pages(command: &Command, dir: &Path) -> Result<(), Failure> {
    let path = dir.join(Man::new(command.clone()).get_filename());
    let page = page(command)?;
    std::fs::write(&path, page).map_err(|source| not_written(&path, source))?;
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .try_for_each(|command| write_pages(command, dir))
}

fn not_written(path: &Path, source: io::Error) -> Failure {
    Failure::File { path: path.display().to_string(), source }
}

/// A page in troff, with the sections that every page of `imp` has.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .date(concat!("version ", env!("CARGO_PKG_VERSION")))
        .source("IMP node")
        .manual("Manual of the IMP node");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    writeln!(page, ".SH \"EXIT STATUS\"")?;
    for (code, meaning) in exit::MEANINGS {
        writeln!(page, ".TP\n\\fB{code}\\fR\n{meaning}")?;
    }
    writeln!(page, ".SH ENVIRONMENT\n.TP\n\\fB{ADDR_VARIABLE}\\fR")?;
    writeln!(page, "where the node serves gRPC, unless an option names a node")?;
    if command.get_name() != "imp" {
        writeln!(page, ".SH \"SEE ALSO\"\n\\fBimp\\fR(1)")?;
    }
    Ok(page)
}
