//! Push to another Icecast server, as a source client does it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Target;
use super::follow::Follower;
use crate::config::Forward;
use crate::fanout::wire::Framing;
use crate::input::Backoff;
use crate::mount::log::Kind;
use crate::remote::Destination;
use crate::server::Relay;

/// How long the server may take to answer or to take bytes.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Pushes until the relay drains.
pub(super) async fn run(relay: Arc<Relay>, forward: Forward, target: Arc<Target>) {
    let mut backoff = Backoff::default();
    let push = async {
        let mut follower = Follower::new(relay.clone(), &forward.mount);
        loop {
            // Connects when there is something to say.
            let (_, first) = follower.next().await;
            let began = tokio::time::Instant::now();
            if let Err(why) = session(&forward, &target, &mut follower, first).await {
                target.failed(&why);
            }
            tokio::time::sleep(backoff.after(began.elapsed(), rand::random())).await;
            follower.leave();
        }
    };
    tokio::select! {
        () = relay.drained() => {}
        () = push => {}
    }
}

async fn session(
    forward: &Forward,
    target: &Target,
    follower: &mut Follower,
    first: Vec<Arc<crate::mount::log::Entry>>,
) -> Result<(), String> {
    let to: Destination = forward.url.reveal().parse()?;
    let (host, path) = (to.authority(), to.path());
    let kind = first.iter().find_map(|entry| match &entry.kind {
        Kind::Chunk(chunk) => Some(crate::mount::container_type(
            &chunk.generation.config.container,
        )),
        _ => None,
    });
    let Some(kind) = kind else { return Ok(()) };
    let within = |what: &str| format!("{host} {what} within {} s", TIMEOUT.as_secs());
    let socket = tokio::time::timeout(TIMEOUT, TcpStream::connect(host));
    let mut socket = socket
        .await
        .map_err(|_| within("did not connect"))?
        .map_err(|error| format!("cannot connect to {host}: {error}"))?;
    let _ = socket.set_nodelay(true);
    let mut head = format!(
        "PUT {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Seamcast/{}\r\nContent-Type: {}\r\n\
         Ice-Public: 0\r\nExpect: 100-continue\r\nConnection: close\r\n",
        env!("CARGO_PKG_VERSION"),
        kind,
    );
    if let Some(user) = to.credentials() {
        let user = base64::engine::general_purpose::STANDARD.encode(user);
        head.push_str(&format!("Authorization: Basic {user}\r\n"));
    }
    head.push_str("\r\n");
    let write = |error: std::io::Error| format!("{host} closed the connection: {error}");
    socket.write_all(head.as_bytes()).await.map_err(write)?;
    let mut answer = Vec::new();
    let reading = async {
        while !answer.ends_with(b"\r\n\r\n") && answer.len() < 4096 {
            match socket.read_u8().await {
                Ok(byte) => answer.push(byte),
                Err(error) => return Err(write(error)),
            }
        }
        Ok(())
    };
    tokio::time::timeout(TIMEOUT, reading)
        .await
        .map_err(|_| within("did not answer"))??;
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.lines().next().unwrap_or_default();
    let status = line.split(' ').nth(1).unwrap_or_default();
    if !matches!(status, "100" | "200") {
        return Err(format!("{host} refused: {}", line.trim()));
    }
    let mut generation = None;
    let mut entries = first;
    let mut fresh = false;
    loop {
        let mut bytes = Vec::new();
        for entry in &entries {
            let Kind::Chunk(chunk) = &entry.kind else {
                continue;
            };
            if fresh || generation != Some(chunk.generation.number) {
                fresh = false;
                generation = Some(chunk.generation.number);
                let intro = chunk.generation.intro(chunk.wire.payload());
                bytes.extend_from_slice(intro.bytes(Framing::HttpRaw));
            }
            bytes.extend_from_slice(chunk.wire.payload());
        }
        if !bytes.is_empty() {
            tokio::time::timeout(TIMEOUT, socket.write_all(&bytes))
                .await
                .map_err(|_| within("took nothing"))?
                .map_err(write)?;
            target.sent(bytes.len());
        }
        (fresh, entries) = follower.next().await;
        if let Some(why) = follower.complaint() {
            target.failed(&why);
        }
        let other = entries.iter().any(|entry| {
            matches!(&entry.kind, Kind::Chunk(chunk)
                if crate::mount::container_type(&chunk.generation.config.container) != kind)
        });
        if other {
            return Err("the mount changed its container; connecting anew".to_owned());
        }
    }
}
