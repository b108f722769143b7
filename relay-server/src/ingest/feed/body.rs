//! A body from wherever it comes, fed until it ends.

use std::time::Duration;

use bytes::Bytes;

use super::{Feed, Refusal};

/// How a body went on.
#[derive(Debug)]
pub enum Body {
    /// More of it.
    More(Bytes),
    /// It is complete.
    End,
    /// The connection ended, which for a body without framing may mean either.
    Closed,
    /// The connection broke.
    Lost(String),
}

/// How long bytes that were left in the kernel may take to be read.
const GLANCE: Duration = Duration::from_millis(5);

/// Where a body comes from.
pub trait Source: Send {
    /// Lets [`Source::next`] wait until there are that many bytes, or the end. True when it may
    /// then leave fewer unread.
    fn wait_for(&mut self, _bytes: usize) -> bool {
        false
    }

    /// How long it may send nothing, when it is not the mount that says.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// The next piece; must be safe to cancel.
    fn next(&mut self) -> impl Future<Output = Body> + Send;
}

/// Feeds a body until it ends. Returns once the feed is finished or lost.
///
/// # Errors
/// When the source sent what cannot be carried, nothing for too long, or had
/// to stop.
pub async fn run(mut feed: Feed, source: &mut impl Source) -> Result<(), Refusal> {
    let timeout = source.patience();
    let timeout = timeout.unwrap_or_else(|| feed.mount.settings().source_timeout);
    let flush_after = feed.flush_after();
    let relay = feed.relay.clone();
    let mut idle = false;
    // It seems to pause, so that what it may have left is read first.
    let mut glance = false;
    let mut since = tokio::time::Instant::now();
    loop {
        // One wake-up per chunk, not per frame: reading costs less than waking.
        let leaves = source.wait_for(if idle || glance { 0 } else { feed.wanted() });
        let wake = if idle {
            since + timeout
        } else if glance {
            tokio::time::Instant::now() + GLANCE
        } else if leaves {
            // A chunk may be somewhat longer than asked for.
            since + (flush_after + flush_after / 2).min(timeout)
        } else {
            since + flush_after.min(timeout)
        };
        let body = tokio::select! {
            biased;
            refusal = feed.must_stop() => return Err(refusal),
            () = relay.drained() => return Err(Refusal::new(503, "the relay is shutting down")),
            body = source.next() => body,
            () = tokio::time::sleep_until(wake) => {
                if leaves {
                    glance = true;
                    continue;
                }
                if since.elapsed() >= timeout {
                    let secs = timeout.as_secs_f64();
                    let name = &feed.mount.name;
                    let why = format!("the source of mount {name} sent nothing for {secs} s");
                    tracing::warn!(mount = %name, "{why}");
                    return Err(Refusal::new(408, why));
                }
                feed.flush();
                (idle, glance) = (true, false);
                continue;
            }
        };
        match body {
            Body::More(bytes) => {
                feed.push_held_back(&bytes).await?;
                since = tokio::time::Instant::now();
                (idle, glance) = (false, false);
            }
            Body::End => return feed.finish(),
            // An Ogg stream says when it ends; when it did not, the source is lost.
            Body::Closed if feed.is_unfinished() => {
                tracing::info!(mount = %feed.mount.name, "source closed in the middle of its stream");
                return Ok(());
            }
            Body::Closed => return feed.finish(),
            Body::Lost(why) => {
                tracing::info!(mount = %feed.mount.name, "source connection broke: {why}");
                return Ok(());
            }
        }
    }
}
