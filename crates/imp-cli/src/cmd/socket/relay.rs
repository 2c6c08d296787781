//! Relays of this node: `imp socket open`, `list`, `show`, `close` and `watch`.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use imp_api::client::ClientError;
use imp_api::error::StatusBody;
use imp_api::proto::imp::socket::v1::{
    GetRelayRequest, ListRelaysRequest, ListRelaysResponse, Relay, RelaySide, StartRelayRequest,
    StopRelayRequest, WatchRelaysRequest,
};

use super::address;
use crate::args::socket::{OpenRelay, WatchRelays};
use crate::cmd::{ASKING, word};
use crate::failure::Failure;
use crate::output::Column::{Number, Text};
use crate::output::{fields, or_dash, table};
use crate::session::Session;
use crate::time::{iso, iso_and_distance};

pub(super) async fn open(session: &Session, args: OpenRelay) -> Result<(), Failure> {
    let request = StartRelayRequest {
        label: args.label.unwrap_or_default(),
        idle_secs: args.idle.unwrap_or_default(),
        life_secs: args.life.unwrap_or_default(),
        max_packets: args.max_packets.unwrap_or_default(),
        max_bytes: args.max_bytes.unwrap_or_default(),
        max_packets_per_sec: args.max_packets_per_sec.unwrap_or_default(),
        max_bytes_per_sec: args.max_bytes_per_sec.unwrap_or_default(),
        require_token: args.require_token,
    };
    let answer = session.call(ASKING, async |node| node.start_relay(request).await).await?;
    session.print(&answer, |relay| {
        fields(&[
            ("id", relay.id.clone()),
            ("first user", address(&relay.ip, &relay.port1)),
            ("second user", address(&relay.ip, &relay.port2)),
            ("token", relay.token.clone()),
        ])
    })
}

pub(super) async fn list(session: &Session, owner: Option<String>) -> Result<(), Failure> {
    let request = ListRelaysRequest { owner: owner.unwrap_or_default() };
    let answer = session.call(ASKING, async |node| node.list_relays(request).await).await?;
    session.print(&answer, relays)
}

pub(super) async fn show(session: &Session, id: String) -> Result<(), Failure> {
    let request = GetRelayRequest { id };
    let answer = session.call(ASKING, async |node| node.get_relay(request).await).await?;
    session.print(&answer, relay)
}

pub(super) async fn close(session: &Session, id: String) -> Result<(), Failure> {
    let request = StopRelayRequest { id };
    let answer = session.call(ASKING, async |node| node.stop_relay(request).await).await?;
    session.print(&answer, |_| "closed".to_owned())
}

/// Shows the relays until Ctrl-C, or until the node ends the stream.
pub(super) async fn watch(session: &Session, args: WatchRelays) -> Result<(), Failure> {
    let request =
        WatchRelaysRequest { id: args.id.unwrap_or_default(), interval_ms: args.every.unwrap_or_default() };
    let addr = session.addr.clone();
    let shown = async {
        let mut looks = session.call(ASKING, async |node| node.watch_relays(request).await).await?;
        let mut is_first = true;
        // The statuses of a broken connection have a source, those of a node have none.
        while let Some(look) = looks.message().await.map_err(|status| match status.source() {
            Some(_) => ClientError::Lost { addr: addr.clone(), greeted: true, source: Box::new(status) },
            None => ClientError::Refused(Box::new(StatusBody::from(&status))),
        })? {
            session.print(&look, |look| before_a_look(is_first) + &relays(look))?;
            is_first = false;
        }
        Ok(())
    };
    tokio::select! {
        result = shown => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// A terminal shows one look at a time; elsewhere an empty line stands between them.
fn before_a_look(is_first: bool) -> String {
    if io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb") {
        return "\x1b[H\x1b[2J".to_owned();
    }
    if is_first { String::new() } else { "\n".to_owned() }
}

fn relays(answer: &ListRelaysResponse) -> String {
    if answer.relays.is_empty() {
        return "no relays".to_owned();
    }
    let row = |relay: &Relay| {
        let dropped = relay.drops.iter().map(|drops| drops.packets).sum::<i64>();
        let [first, second] = sides(relay);
        [
            relay.id.clone(),
            if relay.default { "default relay".to_owned() } else { or_dash(&relay.label) },
            address(&relay.ip, &relay.port1),
            user(first),
            first.packets.to_string(),
            address(&relay.ip, &relay.port2),
            user(second),
            second.packets.to_string(),
            dropped.to_string(),
            or_dash(&relay.ends_ms.map(iso).unwrap_or_default()),
        ]
    };
    let columns = [
        Text("ID"),
        Text("LABEL"),
        Text("FIRST"),
        Text("USER"),
        Number("PACKETS"),
        Text("SECOND"),
        Text("USER"),
        Number("PACKETS"),
        Number("DROPPED"),
        Text("ENDS"),
    ];
    table(columns, &answer.relays.iter().map(row).collect::<Vec<_>>())
}

/// Both sides, the first user's and the second's.
fn sides(relay: &Relay) -> [&RelaySide; 2] {
    static NOBODY: RelaySide = RelaySide {
        source: String::new(),
        firm: false,
        learned_ms: None,
        last_heard_ms: None,
        packets: 0,
        bytes: 0,
    };
    [0, 1].map(|side| relay.sides.get(side).unwrap_or(&NOBODY))
}

/// Who is known on a side. A mark tells of one whose place another could still take.
fn user(side: &RelaySide) -> String {
    match (side.source.as_str(), side.firm) {
        ("", _) => "-".to_owned(),
        (source, true) => source.to_owned(),
        (source, false) => format!("{source}?"),
    }
}

/// One relay: how it is, and below it who uses it and what was dropped.
fn relay(relay: &Relay) -> String {
    let what = if relay.default { "default relay".to_owned() } else { or_dash(&relay.label) };
    let ends = or_dash(&relay.ends_ms.map(iso_and_distance).unwrap_or_default());
    let mut text = fields(&[
        ("id", relay.id.clone()),
        ("label", what),
        ("owner", relay.owner.clone()),
        ("first user", address(&relay.ip, &relay.port1)),
        ("second user", address(&relay.ip, &relay.port2)),
        ("token", relay.token.clone()),
        ("token required", word(relay.require_token).to_owned()),
        ("silent for at most", format!("{} s", relay.idle_secs)),
        ("in all at most", format!("{} packets, {} bytes", relay.max_packets, relay.max_bytes)),
        (
            "a second at most",
            format!("{} packets, {} bytes", relay.max_packets_per_sec, relay.max_bytes_per_sec),
        ),
        ("started", iso_and_distance(relay.started_ms)),
        ("ends", ends),
    ]);
    let rows: Vec<_> = ["first", "second"]
        .into_iter()
        .zip(sides(relay))
        .map(|(name, side)| {
            [
                name.to_owned(),
                or_dash(&side.source),
                word(side.firm).to_owned(),
                or_dash(&side.learned_ms.map(iso).unwrap_or_default()),
                or_dash(&side.last_heard_ms.map(iso).unwrap_or_default()),
                side.packets.to_string(),
                side.bytes.to_string(),
            ]
        })
        .collect();
    let columns = [
        Text("USER"),
        Text("SOURCE"),
        Text("FIRM"),
        Text("KNOWN SINCE"),
        Text("LAST HEARD"),
        Number("PACKETS"),
        Number("BYTES"),
    ];
    write!(text, "\n{}", table(columns, &rows)).expect("writing to memory cannot fail");
    if !relay.drops.is_empty() {
        let rows: Vec<_> =
            relay.drops.iter().map(|drops| [drops.reason.clone(), drops.packets.to_string()]).collect();
        let table = table([Text("DROPPED"), Number("PACKETS")], &rows);
        write!(text, "\n{table}").expect("writing to memory cannot fail");
    }
    text
}
