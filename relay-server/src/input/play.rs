//! Inputs of bytes as they come: `growing`, `stdin` and `command`.

mod command;
mod growing;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use seamcast_media::wav;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Status, tracks};
use crate::config::{Input, InputKind};
use crate::ingest::feed::{self, Body, Feed, Refusal};
use crate::ingest::media_type::Declared;
use crate::server::Relay;

pub(super) fn enter(relay: &Arc<Relay>, input: &Input, peer: &str) -> Result<Feed, Refusal> {
    let unknown = match input.kind {
        InputKind::Growing => Declared::Growing,
        _ => Declared::Sniff,
    };
    let declared = input.format.map_or(unknown, |sample| {
        Declared::Pcm(wav::Format {
            sample,
            sample_rate: input.rate,
            channels: input.channels,
        })
    });
    let settings = super::mount_settings(&relay.config(), input);
    let info = super::info(input, peer.to_owned());
    Feed::with_settings(relay, &input.mount, settings, declared, info)
}

/// A stream as a source; complete at its end.
struct Stream<R> {
    reader: R,
    status: Arc<Status>,
}

impl<R: AsyncRead + Send + Unpin> feed::Source for Stream<R> {
    async fn next(&mut self) -> Body {
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        match self.reader.read_buf(&mut buffer).await {
            Ok(0) => Body::Closed,
            Ok(len) => {
                self.status.bytes.fetch_add(len as u64, Ordering::Relaxed);
                self.status.packets.fetch_add(1, Ordering::Relaxed);
                Body::More(buffer.freeze())
            }
            Err(error) => Body::Lost(error.to_string()),
        }
    }
}

/// `kind = "stdin"`: once.
pub(super) async fn stdin(relay: &Arc<Relay>, input: &Input, status: &Arc<Status>) {
    match tokio::fs::File::open("/dev/stdin").await {
        Ok(reader) => {
            let mut source = Stream {
                reader,
                status: status.clone(),
            };
            once(relay, input, status, "stdin", &mut source).await;
        }
        Err(error) => status.failed(&format!("standard input cannot be read: {error}")),
    }
    status.is("ended");
}

async fn once(
    relay: &Arc<Relay>,
    input: &Input,
    status: &Arc<Status>,
    peer: &str,
    source: &mut impl feed::Source,
) {
    let outcome = match enter(relay, input, peer) {
        Ok(feed) => {
            status.is("live");
            status.starts.fetch_add(1, Ordering::Relaxed);
            feed::run(feed, source).await
        }
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = outcome {
        status.failed(&refusal.message);
    }
}

/// Runs whichever kind it is.
pub(super) async fn run(relay: &Arc<Relay>, input: &Input, status: &Arc<Status>) {
    match input.kind {
        InputKind::File => tracks::files(relay, input, status).await,
        InputKind::Growing => growing::follow(relay, input, status).await,
        InputKind::Stdin => stdin(relay, input, status).await,
        _ => command::run(relay, input, status).await,
    }
}
