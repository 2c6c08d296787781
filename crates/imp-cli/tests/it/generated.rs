//! `imp completions` and `imp man`.

use std::process::Stdio;

use super::{code, end_of, imp, run, run_with_input, stderr, stdout};

/// An address where nobody is: what packages install is made without a node.
const NOWHERE: &str = "127.0.0.1:1";

#[tokio::test]
async fn every_shell_gets_completions_of_all_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let done = run(imp(NOWHERE, &["completions", shell])).await;
        assert_eq!((code(&done), stderr(&done)), (0, ""), "{shell}");
        for word in ["keysend", "wallet", "fee-rate"] {
            assert!(stdout(&done).contains(word), "{shell}: {word}");
        }
    }
}

#[tokio::test]
async fn bash_completes_commands_options_and_values() {
    let script = run(imp(NOWHERE, &["completions", "bash"])).await;
    let ask = r#"
        complete_of() {
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _imp imp "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[*]}"
        }
        complete_of imp wal
        complete_of imp wallet send --fee
        complete_of imp message list --state que
    "#;
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["--norc", "-u", "-s"]).kill_on_drop(true);
    let done = run_with_input(bash, &[&script.stdout, ask.as_bytes()].concat()).await;
    assert_eq!((stdout(&done), stderr(&done)), ("wallet\n--fee-rate\nqueued\n", ""));
}

#[tokio::test]
async fn the_manual_says_what_exit_codes_mean() {
    let page = run(imp(NOWHERE, &["man"])).await;
    assert_eq!((code(&page), stderr(&page)), (0, ""));
    for part in
        [".TH imp 1", ".SH NAME", "imp\\-wallet(1)", ".SH \"EXIT STATUS\"", ".TP\n\\fB5\\fR\nnot known yet"]
    {
        assert!(stdout(&page).contains(part), "{part:?} is not in\n{}", stdout(&page));
    }
    let help = run(imp(NOWHERE, &["--help"])).await;
    assert!(stdout(&help).contains("\n  5    not known yet"), "{}", stdout(&help));
}

#[tokio::test]
async fn every_command_has_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    let done = run(imp(NOWHERE, &["man", "--dir", pages.to_str().unwrap()])).await;
    assert_eq!((code(&done), stdout(&done), stderr(&done)), (0, "", ""));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&pages).unwrap() {
        let path = entry.unwrap().path();
        let page = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let title = format!(".TH {name} 1 ");
        for part in [&title, ".SH NAME", ".SH SYNOPSIS", ".SH \"GLOBAL OPTIONS\"", ".SH \"EXIT STATUS\""] {
            assert!(page.contains(part), "{part:?} is not in the page {name}");
        }
        assert_renders(&page).await;
        names.push(name);
    }
    for name in [
        "imp",
        "imp-message-send",
        "imp-wallet-send",
        "imp-vpn-auto-refresh",
        "imp-vpn-buy",
        "imp-federate-rights",
        "imp-socket-connect",
        "imp-man",
    ] {
        assert!(names.iter().any(|made| made == name), "{name} is not among {names:?}");
    }
    // Old spellings work, but nobody is to learn them.
    assert!(!names.iter().any(|made| made == "imp-node-channels"));
}

#[tokio::test]
async fn a_directory_that_cannot_be_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let dir = file.path().join("man1");
    let done = run(imp(NOWHERE, &["man", "--dir", dir.to_str().unwrap()])).await;
    let expected = format!("imp: {} cannot be written: Not a directory (os error 20)\n", dir.display());
    assert_eq!((code(&done), stderr(&done)), (1, expected.as_str()));
}

/// Where groff is installed: it takes the page without a complaint.
async fn assert_renders(page: &str) {
    let mut groff = tokio::process::Command::new("groff");
    groff.args(["-man", "-Tascii", "-ww", "-z"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    match groff.kill_on_drop(true).spawn() {
        Ok(mut child) => {
            let mut stdin = child.stdin.take().unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stdin, page.as_bytes()).await.unwrap();
            drop(stdin);
            let done = end_of(child).await;
            assert_eq!((code(&done), stderr(&done)), (0, ""), "{page}");
        }
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}
