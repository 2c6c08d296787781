//! A relay from outside: how it is to be, and its handle.

mod shared;
mod task;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use imp_core::relay::{Dropped, End, Options, Pin, Rules};
use imp_core::time::UnixMillis;
use thiserror::Error;
use tokio::sync::{oneshot, watch};

use self::shared::Shared;
use self::task::Task;
use super::engine::{Engine, Place};
use super::sockets::{Family, OwnPorts, RelaySocket, is_of_this_host};

/// Ports that are tried at random before the range is gone through.
const RANDOM_DRAWS: usize = 64;

/// Binds that are tried before a range counts as full.
const MOST_BINDS: usize = 4_096;

/// Which ports a relay gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Two free ones of this range, at random, so that strangers cannot tell where the next relay will be.
    Drawn(RangeInclusive<u16>),
    /// These.
    Fixed([u16; 2]),
}

/// How a relay is to be.
#[derive(Clone, Debug)]
pub struct RelaySpec {
    /// Its ports.
    pub ports: Ports,
    /// Its rules.
    pub options: Options,
    /// Who was known on its sides in an earlier run of it.
    pub pins: [Option<SavedPin>; 2],
}

/// A source that is known on a side, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedPin {
    /// Its address.
    pub source: SocketAddr,
    /// Whether packets have passed both ways.
    pub is_firm: bool,
    /// When its first packet came.
    pub learned: UnixMillis,
    /// When its last packet came.
    pub last_heard: UnixMillis,
    /// The address of this host to which it sends, and from which it is answered.
    pub reached: Option<IpAddr>,
}

/// Why a relay cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No two ports of the range are free.
    #[error("no two of the UDP ports {} to {} are free: stop a relay, or widen the range", .0.start(), .0.end())]
    NoPorts(RangeInclusive<u16>),
    /// A port that it must have is taken.
    #[error("cannot bind UDP port {port}")]
    Taken {
        /// Which.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no more sockets.
    #[error("cannot open sockets for a relay")]
    Io(#[source] io::Error),
}

/// A relay that runs, or ran. Clones are the same one; it is stopped when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct RelayHandle(Arc<Owner>);

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    /// Its threads run while anything is to run on them.
    engine: Engine,
    /// Stops the task when it is dropped.
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

/// One side of a relay, as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideSnapshot {
    /// Who is known and not silent for the idle time.
    pub source: Option<SocketAddr>,
    /// Whether packets have passed both ways; false where nobody is known.
    pub is_firm: bool,
    /// When the first packet of `source` came.
    pub learned: Option<UnixMillis>,
    /// When the side was last heard, by whomever.
    pub last_heard: Option<UnixMillis>,
    /// Packets from this side that went to the other, since the relay was opened.
    pub packets: u64,
    /// Their payload in bytes.
    pub bytes: u64,
    /// Keep-alives from this side.
    pub keep_alives: u64,
}

/// A relay as it is now. The numbers are read one after the other while packets go through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The side of the first port, and that of the second.
    pub sides: [SideSnapshot; 2],
    /// Packets that were dropped, by [`Dropped::index`].
    pub drops: [u64; Dropped::ALL.len()],
}

impl Snapshot {
    /// The reasons for which packets were dropped, and how many.
    pub fn drops(&self) -> impl Iterator<Item = (Dropped, u64)> + use<> {
        Dropped::ALL.into_iter().zip(self.drops).filter(|(_, packets)| *packets > 0)
    }
}

impl RelayHandle {
    /// Its ports.
    pub fn ports(&self) -> [u16; 2] {
        self.0.shared.ports
    }

    /// Its counters and sources.
    pub fn snapshot(&self) -> Snapshot {
        self.0.shared.snapshot(self.0.engine.time())
    }

    /// Who is known on its sides, as it is to be kept; also of one that has ended.
    pub fn pins(&self) -> [Option<SavedPin>; 2] {
        self.0.shared.saved_pins(self.0.engine.time())
    }

    /// Changes when a source is learned or becomes firm, not with each packet.
    pub fn pins_changed(&self) -> watch::Receiver<u64> {
        self.0.shared.revision.subscribe()
    }

    /// Waits until it has ended, for whatever reason; its ports are closed then. Cancel-safe.
    pub async fn closed(&self) -> End {
        let mut end = self.0.shared.end.subscribe();
        // The sender is in what the handle holds, so that it cannot be gone.
        end.wait_for(Option::is_some).await.ok().and_then(|end| *end).unwrap_or(End::Stopped)
    }

    /// Stops it, if it runs. Its ports are closed when this returns. Cancel-safe: it stops all the same.
    pub async fn close(&self) -> End {
        self.0.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.closed().await
    }
}

/// Binds the sockets; what is returned must run in the runtime that is entered now.
pub(super) fn open(
    spec: RelaySpec,
    engine: &Engine,
    place: Place,
) -> Result<(RelayHandle, impl Future<Output = ()> + Send + use<>), OpenError> {
    let (family, own, time) = (engine.family(), engine.own_ports(), engine.time());
    let sockets = match spec.ports {
        Ports::Drawn(range) => draw(&range, family, own)?,
        Ports::Fixed(ports) => {
            let bind = |port| {
                RelaySocket::bind(family, port, own).map_err(|error| match error {
                    source if is_taken(&source) => OpenError::Taken { port, source },
                    error => OpenError::Io(error),
                })
            };
            [bind(ports[0])?, bind(ports[1])?]
        }
    };
    let now = time.now();
    // The host may have other addresses than when that was saved.
    let is_here = |ip: &IpAddr| is_of_this_host(SocketAddr::new(*ip, 0));
    let reached = spec.pins.map(|pin| pin.and_then(|pin| pin.reached).filter(is_here));
    let pins = spec.pins.map(|pin| {
        pin.map(|pin| Pin {
            source: pin.source,
            is_firm: pin.is_firm,
            learned: time.moment(pin.learned),
            last_heard: time.moment(pin.last_heard),
        })
    });
    let idle = spec.options.idle;
    let rules = Rules::new(spec.options, pins, now);
    let (stop, stopped) = oneshot::channel();
    let ports = [sockets[0].port(), sockets[1].port()];
    let shared = Arc::new(Shared::new(ports, idle));
    let task = Task::new(sockets, rules, reached, Arc::clone(&shared), Arc::clone(own), time.clone(), place);
    let owner = Owner { shared, engine: engine.clone(), stop: Mutex::new(Some(stop)) };
    Ok((RelayHandle(Arc::new(owner)), task.run(stopped)))
}

/// Two sockets on free ports of a range.
fn draw(
    range: &RangeInclusive<u16>,
    family: Family,
    own: &Arc<OwnPorts>,
) -> Result<[RelaySocket; 2], OpenError> {
    let mut candidates = candidates(range).map_err(OpenError::Io)?;
    let mut binds = 0;
    let mut next = || -> Result<RelaySocket, OpenError> {
        for port in candidates.by_ref() {
            if own.has(port) {
                continue;
            }
            binds += 1;
            match RelaySocket::bind(family, port, own) {
                Ok(socket) => return Ok(socket),
                Err(error) if is_taken(&error) => {}
                Err(error) => return Err(OpenError::Io(error)),
            }
            if binds == MOST_BINDS {
                break;
            }
        }
        Err(OpenError::NoPorts(range.clone()))
    };
    Ok([next()?, next()?])
}

/// Whether it is the port that cannot be had, by this node at least; else the system has no socket to give at all.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    matches!(error.kind(), AddrInUse | AddrNotAvailable | PermissionDenied)
}

/// Some ports of a range at random, then all of them from a random one on, so that a range with a free port is not said to
/// be full.
fn candidates(range: &RangeInclusive<u16>) -> io::Result<impl Iterator<Item = u16> + use<>> {
    let (low, high) = (u32::from(*range.start()).max(1), u32::from(*range.end()));
    let width = (high + 1).saturating_sub(low);
    let mut random = [0; (RANDOM_DRAWS + 1) * 4];
    getrandom::fill(&mut random)?;
    let draws: Vec<u32> = random
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| u32::from_le_bytes(*bytes).checked_rem(width).unwrap_or(0))
        .collect();
    let first = draws[RANDOM_DRAWS];
    let drawn = draws.into_iter().take(if width == 0 { 0 } else { RANDOM_DRAWS });
    let all = (0..width).map(move |step| (first + step) % width);
    Ok(drawn.chain(all).filter_map(move |offset| u16::try_from(low + offset).ok()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_port_of_a_range_is_tried_and_none_beside_it() {
        for range in [7..=7, 65_534..=65_535, 20_000..=20_100, 0..=3] {
            let tried: HashSet<u16> = candidates(&range).unwrap().collect();
            let expected: HashSet<u16> = range.filter(|port| *port > 0).collect();
            assert_eq!(tried, expected);
        }
    }

    #[test]
    fn a_system_without_sockets_takes_no_port() {
        let error = |errno: rustix::io::Errno| io::Error::from(errno);
        for errno in [rustix::io::Errno::ADDRINUSE, rustix::io::Errno::ACCESS] {
            assert!(is_taken(&error(errno)), "{errno:?}");
        }
        for errno in [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE, rustix::io::Errno::NOBUFS] {
            assert!(!is_taken(&error(errno)), "{errno:?}");
        }
    }

    #[test]
    fn ports_are_not_drawn_in_a_row() {
        let drawn: Vec<u16> = candidates(&(10_000..=60_000)).unwrap().take(16).collect();
        let in_a_row = drawn.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
        assert!(in_a_row < 3, "{drawn:?}");
    }
}
