//! What a thousand buyers cost who do nothing.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use imp_core::vpn::{PresharedKey, PrivateKey};
use imp_devnet::netns::Namespace;
use imp_node::wireguard::{DeviceChoice, DeviceMaker, DevicePeer, DeviceSpec, Host};
use ipnet::{IpNet, Ipv4Net};

use crate::end::{End, Program, Setting};
use crate::pair::{MTU, key, random};
use crate::process;

const PEERS: u16 = 1000;

/// Over which the CPU is watched, and before that, until what the start has to do is done.
const WINDOW: Duration = Duration::from_secs(10);
const CALM: Duration = Duration::from_secs(2);

/// How often the daemon of a seller looks at its device.
const LOOK_EVERY: Duration = Duration::from_millis(250);

const SELLER: &str = "impd's device, as a seller's daemon uses it";

struct Peers {
    added: Duration,
    bytes: u64,
    cpu: Duration,
}

pub(crate) fn compare() -> anyhow::Result<()> {
    println!(
        "\n{:48}{:>14}{:>14}{:>20}",
        format!("{PEERS} peers"),
        "added in ms",
        "MB more",
        "CPU ms in 10 s"
    );
    for program in Program::ALL.into_iter().filter(|program| program.path().is_some()) {
        eprintln!("peers of {}", program.name());
        print(&format!("{}, by wg", program.name()), &by_wg(program)?);
    }
    eprintln!("peers of a seller");
    print(SELLER, &of_seller()?);
    Ok(())
}

fn print(name: &str, peers: &Peers) {
    let Peers { added, bytes, cpu } = peers;
    println!(
        "{name:48}{:>14.1}{:>14.1}{:>20.1}",
        added.as_secs_f64() * 1e3,
        *bytes as f64 / 1e6,
        cpu.as_secs_f64() * 1e3
    );
}

/// Its address in the tunnel.
fn address(number: u16) -> Ipv4Addr {
    let [high, low] = (number + 2).to_be_bytes();
    Ipv4Addr::new(10, 202, high, low)
}

fn by_wg(program: Program) -> anyhow::Result<Peers> {
    let host = Namespace::new("seller")?;
    let setting = Setting {
        config: format!("[Interface]\nPrivateKey = {}\nListenPort = 51820\n", *key().to_base64()),
        address: "10.202.0.1/16".to_owned(),
        mtu: MTU,
    };
    let end = End::start(program, &host, "benchpeers", &setting)?;
    let mut config = String::new();
    for number in 0..PEERS {
        let psk = PresharedKey::from_bytes(random()).to_base64();
        let (key, address) = (key().public(), address(number));
        writeln!(config, "[Peer]\nPublicKey = {key}\nPresharedKey = {}\nAllowedIPs = {address}/32", *psk)?;
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("peers");
    fs::write(&file, config)?;
    watch(end.pid(), || {
        let began = Instant::now();
        end.wg("addconf", &file)?;
        Ok(began.elapsed())
    })
}

/// The device in a process that does with it what a seller's daemon does.
fn of_seller() -> anyhow::Result<Peers> {
    let host = Namespace::new("seller")?;
    let mut command = host.command(std::env::current_exe()?);
    command.args(["seller", "benchseller"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let mut input = child.stdin.take().context("no input")?;
    let mut line = || anyhow::Ok(lines.next().context("the seller has ended")??);
    line()?;
    let measured = watch(child.id(), || {
        std::io::Write::write_all(&mut input, b"\n")?;
        Ok(Duration::from_micros(line()?.parse()?))
    });
    drop(input);
    child.wait()?;
    measured
}

fn watch(pid: u32, add: impl FnOnce() -> anyhow::Result<Duration>) -> anyhow::Result<Peers> {
    thread::sleep(CALM);
    let before = process::resident_bytes(pid)?;
    let added = add()?;
    thread::sleep(CALM);
    let bytes = process::resident_bytes(pid)?.saturating_sub(before);
    let cpu = process::cpu_time(pid)?;
    thread::sleep(WINDOW);
    Ok(Peers { added, bytes, cpu: process::cpu_time(pid)?.saturating_sub(cpu) })
}

/// Opens a device and says so; adds peers when a byte is read and says how many microseconds it took; then looks at it
/// from time to time until the input ends.
pub(crate) fn run_seller(name: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let spec = DeviceSpec {
        name: name.to_owned(),
        private_key: PrivateKey::from_random(random()),
        listen_port: 51_820,
        addresses: vec![IpNet::V4(Ipv4Net::new(Ipv4Addr::new(10, 202, 0, 1), 16)?)],
        mtu: MTU,
        fwmark: None,
    };
    let device = runtime.block_on(Host::new(DeviceChoice::Userspace).open(spec))?;
    println!("ready");
    let mut input = std::io::stdin().lock();
    input.read_exact(&mut [0])?;
    let peers: Vec<DevicePeer> = (0..PEERS)
        .map(|number| DevicePeer {
            key: key().public(),
            psk: PresharedKey::from_bytes(random()),
            allowed: vec![IpNet::V4(Ipv4Net::from(address(number)))],
            endpoint: None,
            keepalive_secs: None,
        })
        .collect();
    let began = Instant::now();
    runtime.block_on(device.put_peers(&peers))?;
    println!("{}", began.elapsed().as_micros());
    let looking = runtime.spawn({
        let device = std::sync::Arc::clone(&device);
        async move {
            while let Ok(peers) = device.peers().await {
                assert_eq!(peers.len(), usize::from(PEERS));
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    });
    input.read_to_end(&mut Vec::new())?;
    looking.abort();
    runtime.block_on(device.close());
    Ok(())
}
