//! What plays on a mount while no source is there: another mount, or files.
//! It has the mount like a source, but gives way to every other, at a chunk
//! boundary.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use seamcast_media::demux::Codec;
use seamcast_media::pace::Pacer;

use super::{Backoff, Status, playlist, tracks};
use crate::config::{self, Encode, Fallback};
use crate::decode::Kind;
use crate::fanout::wire::Framing;
use crate::forward::follow::Follower;
use crate::ingest::feed::Feed;
use crate::ingest::media_type::Declared;
use crate::ingest::session::codec_for;
use crate::mount::SourceInfo;
use crate::mount::log;
use crate::server::Relay;

/// How often mounts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A fallback mount that sends nothing for so long is away itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// A fallback that plays, or tries to.
struct Playing {
    fallback: Fallback,
    task: tokio::task::JoinHandle<()>,
    /// When somebody was last seen to listen.
    heard: Instant,
}

/// A mount with a fallback and without a source.
struct Away {
    name: String,
    settings: config::Mount,
    /// Has an entry in the configuration, and so plays whether or not
    /// somebody listens.
    stays: bool,
}

/// Starts a fallback wherever one is due, until the relay drains.
pub(super) async fn watch(relay: Arc<Relay>) {
    let mut playing: BTreeMap<String, Playing> = BTreeMap::new();
    let mut changes = relay.mounts.changes();
    loop {
        let idle = playing.is_empty() && !is_asked_for(&relay);
        tokio::select! {
            () = relay.drained() => return,
            _ = changes.changed(), if idle => {}
            () = tokio::time::sleep(LOOK_EVERY), if !idle => {}
        }
        let now = Instant::now();
        let away = away(&relay);
        playing.retain(|name, play| {
            // Where a source is, the task ends by itself.
            let asked = away.iter().find(|away| away.name == *name);
            let stale = match asked {
                Some(away) => away.settings.fallback != play.fallback,
                None => !has_source(&relay, name),
            };
            if stale {
                play.task.abort();
            }
            !play.task.is_finished()
        });
        for away in away {
            let is_heard = listeners(&relay, &away.name) > 0;
            let play = match playing.entry(away.name.clone()) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(free) => free.insert(Playing {
                    fallback: away.settings.fallback.clone(),
                    task: tokio::spawn(fill(
                        relay.clone(),
                        away.name.clone(),
                        away.settings.clone(),
                    )),
                    heard: now,
                }),
            };
            if is_heard {
                play.heard = now;
            } else if !away.stays
                && now.saturating_duration_since(play.heard) >= away.settings.grace
                && let Some(mount) = relay.mounts.find(&away.name)
            {
                // Its source asked for it and is gone, and so is everybody else.
                play.task.abort();
                mount.give_up(now);
            }
        }
    }
}

/// Whether any mount has a fallback.
fn is_asked_for(relay: &Relay) -> bool {
    let config = relay.config();
    let mounts = relay.mounts.all();
    let mut running = mounts.iter().map(|mount| mount.settings());
    config.mounts.iter().any(|(_, own)| own.fallback.is_some())
        || running.any(|settings| settings.fallback.is_some())
}

fn away(relay: &Relay) -> Vec<Away> {
    let config = relay.config();
    let asks = |settings: &config::Mount| settings.fallback.is_some();
    let configured = config.mounts.iter().filter(|(_, own)| asks(own));
    let mut found: Vec<Away> = configured
        .map(|(name, settings)| Away {
            name: name.clone(),
            settings: settings.clone(),
            stays: true,
        })
        .collect();
    for mount in relay.mounts.all() {
        let settings = mount.settings();
        let known = || found.iter().any(|away| away.name == mount.name);
        if asks(&settings) && !mount.is_over() && !known() {
            found.push(Away {
                name: mount.name.clone(),
                settings: config::Mount::clone(&settings),
                stays: false,
            });
        }
    }
    found.retain(|away| !has_source(relay, &away.name));
    found
}

fn listeners(relay: &Relay, name: &str) -> u64 {
    let mount = relay.mounts.find(name);
    mount.map_or(0, |mount| {
        mount.shared.stats.listeners.load(Ordering::Relaxed)
    })
}

fn has_source(relay: &Relay, name: &str) -> bool {
    let mount = relay.mounts.find(name);
    mount.is_some_and(|mount| mount.has_source())
}

/// Plays until a source is there.
async fn fill(relay: Arc<Relay>, name: String, settings: config::Mount) {
    let status = relay.board.only("fallback", &name);
    let _resting = Resting(status.clone());
    let mut backoff = Backoff::default();
    while !has_source(&relay, &name) {
        let began = Instant::now();
        let play = async {
            match &settings.fallback {
                Fallback::Nothing => Ok(()),
                Fallback::Mount(other) => mount(&relay, &name, &settings, other, &status).await,
                Fallback::File(path) => files(&relay, &name, &settings, path, &status).await,
            }
        };
        let outcome = tokio::select! {
            outcome = play => outcome,
            () = relay.drained() => return,
        };
        if let Err(why) = outcome
            && !has_source(&relay, &name)
        {
            status.failed(&why);
            status.is("backing off");
            tokio::time::sleep(backoff.after(began.elapsed(), rand::random())).await;
        }
    }
}

/// Says that nothing plays any more, however it came to that.
struct Resting(Arc<Status>);

impl Drop for Resting {
    fn drop(&mut self) {
        self.0.is("waiting");
    }
}

/// What the mount carries, or will.
fn codec(relay: &Relay, name: &str, settings: &config::Mount) -> Codec {
    let carried = relay.mounts.find(name).and_then(|mount| mount.codec());
    carried.unwrap_or_else(|| codec_for(name, settings.encode))
}

fn open(
    relay: &Arc<Relay>,
    name: &str,
    settings: &config::Mount,
    peer: &str,
    status: &Status,
) -> Result<Feed, String> {
    let mut settings = settings.clone();
    settings.encode = match codec(relay, name, &settings) {
        Codec::Opus => Encode::Opus,
        Codec::Mp3 => Encode::Mp3,
    };
    let info = SourceInfo {
        peer: peer.to_owned(),
        protocol: "fallback",
        ..SourceInfo::default()
    };
    let feed = Feed::fallback(relay, name, settings, Declared::Sniff, info);
    let feed = feed.map_err(|refusal| refusal.message)?;
    status.is("live");
    status.starts.fetch_add(1, Ordering::Relaxed);
    Ok(feed)
}

/// Copies the chunks of another mount.
async fn mount(
    relay: &Arc<Relay>,
    name: &str,
    settings: &config::Mount,
    other: &str,
    status: &Status,
) -> Result<(), String> {
    if other == name {
        return Err(format!("mount {name} cannot be its own fallback"));
    }
    let mut follower = Follower::new(relay.clone(), other);
    let mut feed: Option<Feed> = None;
    let mut generation = None;
    loop {
        let next = tokio::time::timeout(PATIENCE, follower.next());
        let next = match &feed {
            Some(feed) => tokio::select! {
                next = next => next,
                refusal = feed.must_stop() => return Err(refusal.message),
            },
            None => next.await,
        };
        let (fresh, entries) =
            next.map_err(|_| format!("nothing comes from the fallback mount {other}"))?;
        if let Some(why) = follower.complaint() {
            status.failed(&why);
        }
        if fresh {
            generation = None;
        }
        for entry in &entries {
            let log::Kind::Chunk(chunk) = &entry.kind else {
                continue;
            };
            let config = &chunk.generation.config;
            let ours = codec(relay, name, settings);
            if (config.codec == "mp3") != (ours == Codec::Mp3) {
                return Err(format!(
                    "the fallback mount {other} carries {}, and this mount does not; \
                     name one of the same codec, or a file",
                    config.codec
                ));
            }
            let mut started = false;
            let feed = match &mut feed {
                Some(feed) => feed,
                None => {
                    started = true;
                    feed.insert(open(relay, name, settings, other, status)?)
                }
            };
            let mut bytes = Vec::new();
            if generation.replace(chunk.generation.number) != Some(chunk.generation.number) {
                if !started {
                    feed.next_track().map_err(|refusal| refusal.message)?;
                }
                let intro = chunk.generation.intro(chunk.wire.payload());
                bytes.extend_from_slice(intro.bytes(Framing::HttpRaw));
            }
            bytes.extend_from_slice(chunk.wire.payload());
            status.packets.fetch_add(1, Ordering::Relaxed);
            status
                .bytes
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
            feed.push(&bytes).map_err(|refusal| refusal.message)?;
        }
    }
}

/// Plays files again and again.
async fn files(
    relay: &Arc<Relay>,
    name: &str,
    settings: &config::Mount,
    path: &Path,
    status: &Arc<Status>,
) -> Result<(), String> {
    let shown = path.display().to_string();
    let own = path.to_owned();
    let found = tokio::task::spawn_blocking(move || playlist::files(&own)).await;
    let found = found.map_err(|error| error.to_string())?;
    let found = found.map_err(|error| format!("cannot read {shown}: {error}"))?;
    let transcode = match codec(relay, name, settings) {
        Codec::Opus => Kind::Mp3,
        Codec::Mp3 => Kind::Opus,
    };
    let mut feed = open(relay, name, settings, &shown, status)?;
    let mut pacer = Pacer::new(tracks::LEAD);
    let origin = Instant::now();
    pacer.due(Duration::ZERO, feed.mount.log.head().end);
    loop {
        let before = feed.media_time();
        for file in &found {
            let track = tracks::track(&mut feed, file, Some(transcode), &mut pacer, origin, status);
            if let Err(why) = track.await? {
                status.malformed.fetch_add(1, Ordering::Relaxed);
                status.failed(&format!("{}: {why}", file.display()));
            }
        }
        if feed.media_time() == before {
            return Err(format!("{shown} holds nothing that can be played"));
        }
    }
}
