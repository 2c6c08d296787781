//! Two hosts with a cable, and a tunnel in it.

use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use imp_core::vpn::{PresharedKey, PrivateKey};
use imp_devnet::netns::{Namespace, cable};
use serde_json::Value;

use crate::end::{End, Program, Setting};
use crate::process;

/// The port of WireGuard on both hosts, and that of iperf3.
const WIREGUARD: u16 = 51_820;
const IPERF: u16 = 5201;

/// The MTU of the tunnels, as wg-quick has it by default.
pub(crate) const MTU: u16 = 1420;

const OUTSIDE: [&str; 2] = ["10.200.0.1", "10.200.0.2"];
const INSIDE: [&str; 2] = ["10.201.0.1", "10.201.0.2"];

/// How long a first answer through a tunnel may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// What is between the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Setup {
    /// Who sends and who receives; nobody where there is no tunnel.
    pub(crate) ends: Option<[Program; 2]>,
}

impl Setup {
    pub(crate) const BARE: Self = Self { ends: None };
    pub(crate) const DEBIAN: Self = Self { ends: Some([Program::Debian; 2]) };
    pub(crate) const NEWEST: Self = Self { ends: Some([Program::Newest; 2]) };
    pub(crate) const OURS: Self = Self { ends: Some([Program::Ours; 2]) };
    pub(crate) const ALL: [Self; 8] = [
        Self::BARE,
        Self::DEBIAN,
        Self::NEWEST,
        Self::OURS,
        Self { ends: Some([Program::Ours, Program::Newest]) },
        Self { ends: Some([Program::Newest, Program::Ours]) },
        Self { ends: Some([Program::Ours, Program::Debian]) },
        Self { ends: Some([Program::Debian, Program::Ours]) },
    ];

    pub(crate) fn name(self) -> String {
        match self.ends {
            None => "no tunnel".to_owned(),
            Some([one, other]) if one == other => format!("{}, both ends", one.name()),
            Some([one, other]) => format!("{} to {}", one.name(), other.name()),
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        self.ends.is_none_or(|ends| ends.iter().all(|end| end.path().is_some()))
    }
}

/// Two hosts that can be measured between.
pub(crate) struct Pair {
    hosts: [Namespace; 2],
    address: &'static str,
    ends: Vec<End>,
    server: Child,
}

/// A measurement of what goes through.
pub(crate) struct Through {
    pub(crate) mbit: f64,
    /// Seconds of the CPU that both ends took for a gigabyte.
    pub(crate) cpu_per_gb: f64,
}

impl Pair {
    /// Makes the hosts and the tunnel, and waits until something has come through.
    pub(crate) fn start(setup: Setup, number: usize) -> anyhow::Result<Self> {
        let hosts = [Namespace::new("one")?, Namespace::new("other")?];
        cable((&hosts[0], "wan"), (&hosts[1], "wan"))?;
        for (host, address) in hosts.iter().zip(OUTSIDE) {
            host.ip(&format!("addr add {address}/24 dev wan"))?;
        }
        let mut ends = Vec::new();
        let address = if let Some(programs) = setup.ends {
            let keys = [key(), key()];
            let psk = PresharedKey::from_bytes(random()).to_base64();
            for (place, program) in programs.into_iter().enumerate() {
                let other = 1 - place;
                let setting = Setting {
                    config: format!(
                        "[Interface]\nPrivateKey = {}\nListenPort = {WIREGUARD}\n[Peer]\nPublicKey = {}\n\
                         PresharedKey = {}\nAllowedIPs = {}/32\nEndpoint = {}:{WIREGUARD}\n",
                        *keys[place].to_base64(),
                        keys[other].public(),
                        *psk,
                        INSIDE[other],
                        OUTSIDE[other],
                    ),
                    address: format!("{}/24", INSIDE[place]),
                    mtu: MTU,
                };
                let interface = format!("bench{number}-{place}");
                ends.push(End::start(program, &hosts[place], &interface, &setting)?);
            }
            INSIDE[1]
        } else {
            OUTSIDE[1]
        };
        let mut server = hosts[1].command("iperf3");
        server.args(["-s", "-p", &IPERF.to_string()]);
        let server = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let pair = Self { hosts, address, ends, server };
        let until = Instant::now() + ANSWER_PATIENCE;
        while !pair.ping(1)?.status.success() {
            ensure!(Instant::now() < until, "nothing comes through {}", setup.name());
        }
        // The server listens some time after it was started.
        while pair.iperf(0.2).is_err() {
            ensure!(Instant::now() < until, "iperf3 does not come through {}", setup.name());
            thread::sleep(Duration::from_millis(50));
        }
        Ok(pair)
    }

    /// TCP from the first host to the second one, as fast as it goes.
    pub(crate) fn through(&self, time: Duration) -> anyhow::Result<Through> {
        let before = self.cpu_time()?;
        let received = self.iperf(time.as_secs_f64())?;
        let cpu = self.cpu_time()?.saturating_sub(before).as_secs_f64();
        let bytes = received["bytes"].as_f64().context("no bytes")?;
        let bits = received["bits_per_second"].as_f64().context("no bits")?;
        Ok(Through { mbit: bits / 1e6, cpu_per_gb: cpu * 1e9 / bytes })
    }

    fn iperf(&self, secs: f64) -> anyhow::Result<Value> {
        let mut client = self.hosts[0].command("iperf3");
        client.args(["-J", "-c", self.address, "-p", &IPERF.to_string()]);
        // A part of a second is only to see whether it works.
        if secs < 1.0 {
            client.args(["-n", "100K"]);
        } else {
            client.args(["-t", &format!("{secs:.0}")]);
        }
        let output = client.stdin(Stdio::null()).output()?;
        let mut report: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(output.status.success(), "iperf3: {}", report["error"]);
        Ok(report["end"]["sum_received"].take())
    }

    fn cpu_time(&self) -> anyhow::Result<Duration> {
        let mut total = Duration::ZERO;
        for end in &self.ends {
            total += process::cpu_time(end.pid())?;
        }
        Ok(total)
    }

    /// Milliseconds that echoes took, in ascending order.
    pub(crate) fn latencies(&self, count: usize) -> anyhow::Result<Vec<f64>> {
        let output = self.ping(count)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let times =
            text.lines().filter_map(|line| line.split("time=").nth(1)?.split(' ').next()?.parse().ok());
        let mut times: Vec<f64> = times.collect();
        ensure!(!times.is_empty(), "no echo comes back");
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    fn ping(&self, count: usize) -> anyhow::Result<std::process::Output> {
        let mut ping = self.hosts[0].command("ping");
        ping.args(["-n", "-i", "0.002", "-W", "1", "-c", &count.to_string(), self.address]);
        Ok(ping.stdin(Stdio::null()).output()?)
    }

    /// How long an echo takes for which the ends first have to agree on keys, with the program that sends it.
    pub(crate) fn first_echo(&self) -> anyhow::Result<Duration> {
        let interface = "bench0-0";
        let config = self.hosts[0].command("wg").args(["showconf", interface]).output()?.stdout;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("config");
        std::fs::write(&file, &config)?;
        let peer = self.hosts[0].command("wg").args(["show", interface, "peers"]).output()?.stdout;
        let peer = String::from_utf8(peer)?.trim().to_owned();
        let remove = ["set", interface, "peer", &peer, "remove"];
        ensure!(self.hosts[0].command("wg").args(remove).status()?.success(), "the peer is not removed");
        self.ends[0].wg("setconf", &file)?;
        let began = Instant::now();
        ensure!(self.ping(1)?.status.success(), "no first echo");
        Ok(began.elapsed())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

pub(crate) fn key() -> PrivateKey {
    PrivateKey::from_random(random())
}
