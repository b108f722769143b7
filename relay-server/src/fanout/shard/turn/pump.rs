//! Writing to one listener.

use std::io;
use std::sync::Arc;

use super::super::conn::{Conn, Wrote};
use super::super::past::{Reel, Want};
use super::slot::Slot;
use crate::fanout::session::{Next, Now, View};
use crate::mount::log::Entry;

/// Entries fetched at once for a listener that is behind the window.
const FETCH: usize = 32;
/// Writes for one listener before others get their turn.
const ROUNDS: usize = 16;

/// How far it got.
pub(super) enum Pumped {
    /// Nothing more now.
    Idle,
    /// There is more, but others wait.
    More,
    /// It goes on when this is found.
    Ask(Want),
    Finished,
}

/// Writes until there is nothing more or the socket is full.
pub(super) fn pump(
    conn: &mut Conn,
    mount: &mut Slot,
    fetched: &mut Vec<Arc<Entry>>,
    now: Now,
) -> io::Result<Pumped> {
    if conn.pipe.flush()? {
        conn.blocked = true;
        return Ok(Pumped::Idle);
    }
    fetched.clear();
    for _ in 0..ROUNDS {
        let view = View {
            log: &mount.shared.log,
            head: mount.head,
            window: if fetched.is_empty() {
                &mount.window
            } else {
                fetched
            },
        };
        match conn.session.prepare(now, &view) {
            Next::Write => {
                let batch = conn.session.fill(&view);
                let wrote = conn.pipe.write(batch.slices())?;
                let Wrote::Some { n, full } = wrote else {
                    conn.blocked = true;
                    return Ok(Pumped::Idle);
                };
                conn.session.advance(now, &view, n);
                if full {
                    conn.blocked = true;
                    return Ok(Pumped::Idle);
                }
            }
            Next::Fetch(index) => {
                fetched.clear();
                mount.head = mount.shared.log.head();
                if index < mount.head.oldest {
                    let reel = conn.reel.get_or_insert_default();
                    fetched.extend(reel.from(index).iter().take(FETCH).cloned());
                    if fetched.is_empty() {
                        return Ok(ask(reel, Want::Entries(index)));
                    }
                    continue;
                }
                conn.reel = conn.reel.take().filter(|reel| reel.asked);
                if mount.shared.log.read(index, FETCH, fetched) && fetched.is_empty() {
                    return Ok(Pumped::Idle);
                }
            }
            Next::Locate => {
                let Some(from) = conn.session.sought().cloned() else {
                    continue;
                };
                let want = Want::Join(from, conn.session.burst());
                return Ok(ask(conn.reel.get_or_insert_default(), want));
            }
            Next::Wait(wait) => {
                if let Some(wait) = wait {
                    let due = now.mono_ms + wait;
                    mount.recheck = Some(mount.recheck.map_or(due, |at| at.min(due)));
                }
                return Ok(Pumped::Idle);
            }
            Next::Linger => {
                // A WebSocket ends when the peer's Close has come (RFC 6455 §7.1.1): an end that
                // comes with the handshake makes Firefox forget all that was sent between.
                if !conn.shut && !conn.session.framing().is_ws() {
                    conn.shut = conn.pipe.shut_down();
                    conn.blocked = !conn.shut;
                }
                return Ok(Pumped::Idle);
            }
            Next::Finished => return Ok(Pumped::Finished),
        }
    }
    Ok(Pumped::More)
}

/// One question at a time.
fn ask(reel: &Reel, want: Want) -> Pumped {
    if reel.asked {
        Pumped::Idle
    } else {
        Pumped::Ask(want)
    }
}
