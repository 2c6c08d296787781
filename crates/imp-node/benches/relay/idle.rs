//! What many relays take over which nothing passes.

use std::io;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use crate::contender::{Contender, Process};
use crate::{process, turn};

/// Over which the CPU is watched.
const WINDOW: Duration = Duration::from_secs(10);

/// After the start, and after the relays are there, until nothing is to be done any more.
const CALM: Duration = Duration::from_secs(1);

pub(crate) struct Idle {
    pub(crate) bytes: u64,
    pub(crate) cpu: Duration,
}

/// None for what has no relays to be counted.
pub(crate) fn measure(contender: Contender, relays: usize) -> io::Result<Option<Idle>> {
    match contender {
        Contender::Ours => {
            let mut process = Process::own(&["ours"])?;
            process.line()?;
            watch(process, |process| {
                process.tell(&relays.to_string())?;
                process.line().map(drop)
            })
            .map(Some)
        }
        Contender::Coturn => {
            let (process, server) = Process::coturn()?;
            let mut clients = Vec::new();
            // The first one, so that what the program does once is not counted.
            let first = UdpSocket::bind("127.0.0.1:0")?;
            turn::allocate(&first, server)?;
            watch(process, |_| {
                for _ in 0..relays {
                    let client = UdpSocket::bind("127.0.0.1:0")?;
                    turn::allocate(&client, server)?;
                    clients.push(client);
                }
                Ok(())
            })
            .map(Some)
        }
        Contender::Bare | Contender::Minimal | Contender::Socat => Ok(None),
    }
}

fn watch(mut process: Process, open: impl FnOnce(&mut Process) -> io::Result<()>) -> io::Result<Idle> {
    let pid = process.pid();
    thread::sleep(CALM);
    let before = process::resident_bytes(pid)?;
    open(&mut process)?;
    thread::sleep(CALM);
    let cpu = process::cpu_time(pid)?;
    thread::sleep(WINDOW);
    let cpu = process::cpu_time(pid)?.saturating_sub(cpu);
    Ok(Idle { bytes: process::resident_bytes(pid)?.saturating_sub(before), cpu })
}
