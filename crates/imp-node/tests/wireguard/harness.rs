//! Runs the cases on each kind of device, and tells how they ended.

use std::env;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use imp_devnet::netns;
use imp_node::wireguard::{DeviceChoice, DeviceMaker, Host};
use tokio::time::Instant;

use crate::control;
use crate::lab::{Kind, Lab};
use crate::{table, traffic};

/// A test.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Lab),
}

/// A list of cases by their paths.
macro_rules! cases {
    ($($file:ident::$name:ident,)+) => {
        vec![$($crate::harness::Case {
            name: concat!(stringify!($file), "::", stringify!($name)),
            run: $file::$name,
        }),+]
    };
}

#[derive(Debug, Default)]
struct Ends {
    passed: usize,
    failed: Vec<String>,
    skipped: usize,
}

fn cases_of(kind: Kind) -> Vec<Case> {
    let mut cases = cases![
        table::an_interface_is_there_until_it_is_closed,
        table::peers_that_are_put_are_there_in_order,
        table::a_peer_that_is_put_again_is_changed,
        table::a_network_belongs_to_the_peer_that_got_it_last,
        table::removed_peers_are_gone_and_others_are_not,
        table::a_thousand_peers_are_put_at_once,
        table::the_name_of_another_interface_is_refused,
        table::a_closed_device_is_gone_for_every_call,
        table::a_device_whose_interface_is_deleted_fails,
    ];
    if kind != Kind::Fake {
        cases.extend(cases![
            table::an_interface_without_ipv6_has_none,
            table::a_port_in_use_is_refused,
            traffic::two_devices_reach_each_other_and_count_it,
            traffic::ipv6_goes_through_the_tunnel,
            traffic::a_removed_peer_is_cut_off_at_once,
            traffic::a_peer_with_another_secret_gets_no_session,
            traffic::a_source_that_is_not_allowed_does_not_come_through,
            traffic::a_peer_that_is_put_again_keeps_its_session,
            traffic::encrypted_packets_have_their_mark,
            traffic::streams_come_through_whole,
            traffic::streams_come_through_where_the_way_carries_short_packets_only,
        ]);
    }
    if kind == Kind::Userspace {
        cases.extend(cases![
            control::what_wg_shows_and_changes_is_what_there_is,
            control::the_socket_of_a_killed_run_is_replaced_and_ours_is_deleted,
            control::without_the_right_it_says_so,
            control::without_tun_it_says_so,
        ]);
    }
    cases
}

/// Runs the cases that the arguments name, or all.
pub(crate) fn run() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == control::SAY_MISSING) {
        println!("{}", Host::new(DeviceChoice::Userspace).missing().unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let only_list = args.iter().any(|arg| arg == "--list");
    let mut ends = Ends::default();
    for kind in [Kind::Fake, Kind::Userspace, Kind::Kernel] {
        let named = cases_of(kind)
            .into_iter()
            .map(|case| (format!("{kind:?}::{}", case.name).to_lowercase(), case))
            .filter(|(name, _)| is_wanted(name));
        let cases: Vec<_> = named.collect();
        if only_list {
            cases.iter().for_each(|(name, _)| println!("{name}: test"));
        } else if let Some((why, is_failure)) = lacks(kind) {
            ends.skip(cases, &why, is_failure);
        } else {
            cases.iter().for_each(|(name, case)| ends.add(kind, case, name));
        }
    }
    if only_list { ExitCode::SUCCESS } else { ends.exit_code() }
}

/// Why a kind of device cannot be tried on this machine, and whether that is a failure where nobody would notice it.
fn lacks(kind: Kind) -> Option<(String, bool)> {
    if kind == Kind::Fake {
        return None;
    }
    if let Err(error) = netns::can_be_made() {
        return Some((format!("{error:#}"), true));
    }
    let choice = if kind == Kind::Kernel { DeviceChoice::Kernel } else { DeviceChoice::Userspace };
    let missing = Host::new(choice).missing()?;
    Some((format!("not run here: {missing}"), kind == Kind::Userspace))
}

impl Ends {
    /// Cases that this machine cannot run.
    fn skip(&mut self, cases: Vec<(String, Case)>, why: &str, is_failure: bool) {
        let must_run = is_failure && env::var_os("CI").is_some_and(|value| value == "true");
        let word = if must_run { "FAILED: it must run on CI" } else { "skipped" };
        for (name, _) in cases {
            println!("test {name} ... {word}: {why}");
            if must_run {
                self.failed.push(name);
            } else {
                self.skipped += 1;
            }
        }
    }

    fn add(&mut self, kind: Kind, case: &Case, name: &str) {
        print!("test {name} ... ");
        // What is lost of a report is not worth a failure.
        let _ = io::stdout().flush();
        let began = Instant::now();
        let ended = Lab::build(kind)
            .map_err(|error| println!("FAILED: {error:#}"))
            .and_then(|lab| catch_unwind(AssertUnwindSafe(|| (case.run)(&lab))).map_err(|_| ()));
        let took = began.elapsed().as_secs_f64();
        match ended {
            Ok(()) => {
                println!("ok ({took:.1} s)");
                self.passed += 1;
            }
            Err(()) => {
                println!("test {name} ... FAILED ({took:.1} s)");
                self.failed.push(name.to_owned());
            }
        }
    }

    fn exit_code(&self) -> ExitCode {
        let word = if self.failed.is_empty() { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {word}. {} passed; {} failed; {} skipped",
            self.passed,
            self.failed.len(),
            self.skipped
        );
        self.failed.iter().for_each(|name| println!("    {name}"));
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
