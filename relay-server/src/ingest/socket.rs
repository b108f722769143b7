//! Sources over WebSocket (`seamcast.source.v1`), for browsers and programs
//! that speak nothing else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use seamcast_protocol::control::{SourceMessage, SourceReply};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::feed::{Feed, Refusal, Request};
use crate::link::Link;
use crate::server::Relay;

/// Longest message taken.
const MAX_MESSAGE: usize = 1 << 20;
/// Answers that wait for a peer who does not read them; of its pings the newest is then answered.
const MAX_WAITING: usize = 64 << 10;
/// How long the first message may take when it must declare the format.
const FORMAT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the closing handshake may take.
const CLOSING: Duration = Duration::from_secs(2);
/// Least time between two acknowledgements.
const ACK_EVERY: Duration = Duration::from_millis(100);

/// Serves a source whose handshake was accepted: `head` is written first.
pub(crate) async fn serve(
    relay: &Arc<Relay>,
    mut socket: Link,
    received: BytesMut,
    head: &str,
    mut request: Request,
) -> io::Result<()> {
    socket.write_all(head.as_bytes()).await?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WAITING)
        .read_buffer_size(16 * 1024);
    let mut socket =
        WebSocketStream::from_partially_read(socket, received.to_vec(), Role::Server, Some(config))
            .await;
    if let Some(media) = request.target.query("type") {
        request.content_type = Some(media.to_owned());
    }
    let outcome = source(relay, &mut socket, request).await;
    let (code, reason) = match outcome {
        Ok(()) => (1000, String::new()),
        Err(Some(refusal)) => {
            let error = SourceReply::Error {
                code: refusal.code().to_owned(),
                message: refusal.message.clone(),
            };
            let _ = send(&mut socket, &error).await;
            (refusal.close_code(), refusal.message)
        }
        // The peer is gone, or closed without `end`: its Close is answered (RFC 6455 §5.5.1).
        Err(None) => {
            let _ = tokio::time::timeout(CLOSING, socket.flush()).await;
            return Ok(());
        }
    };
    let mut end = reason.len().min(120);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let frame = CloseFrame {
        code: code.into(),
        reason: reason[..end].to_owned().into(),
    };
    let closing = async {
        let _ = socket.close(Some(frame)).await;
        while let Some(Ok(_)) = socket.next().await {}
    };
    let _ = tokio::time::timeout(CLOSING, closing).await;
    Ok(())
}

type Socket = WebSocketStream<Link>;

async fn send(socket: &mut Socket, reply: &SourceReply) -> Result<(), Error> {
    let text = serde_json::to_string(reply).unwrap_or_default();
    socket.send(Message::text(text)).await
}

/// `Err(None)` when the peer is gone.
async fn source(
    relay: &Arc<Relay>,
    socket: &mut Socket,
    mut request: Request,
) -> Result<(), Option<Refusal>> {
    Feed::check(relay, &request).map_err(Some)?;
    let mut first = None;
    if request.content_type.is_none() && request.target.query("format").is_none() {
        let message = tokio::time::timeout(FORMAT_TIMEOUT, next(socket)).await;
        match message.map_err(|_| Some(Refusal::new(408, "no message within 10 s")))?? {
            Input::Control(SourceMessage::Format(format)) => {
                request.content_type = Some(format.media_type())
            }
            // Containers need no declaration.
            other => first = Some(other),
        }
    }
    let mut feed = Feed::open(relay, request).map_err(Some)?;
    let timeout = feed.mount.settings().source_timeout;
    let flush_after = feed.flush_after();
    let mut total = 0_u64;
    let mut acked = (0_u64, Instant::now());
    loop {
        let input = match first.take() {
            Some(input) => Some(input),
            None => tokio::select! {
                input = next(socket) => Some(input?),
                refusal = feed.must_stop() => return Err(Some(refusal)),
                () = relay.drained() => return Err(Some(Refusal::new(503, "the relay is shutting down"))),
                () = tokio::time::sleep(flush_after) => None,
            },
        };
        match input {
            Some(Input::Media(bytes)) => {
                total += bytes.len() as u64;
                feed.push_held_back(&bytes).await.map_err(Some)?;
            }
            Some(Input::Control(SourceMessage::Metadata { tags })) => {
                feed.set_tags(tags.into_iter().map(|(name, value)| {
                    let value = match value {
                        serde_json::Value::String(text) => text,
                        serde_json::Value::Null => String::new(),
                        other => other.to_string(),
                    };
                    (name, value)
                }));
            }
            Some(Input::Control(SourceMessage::Format(_))) => {
                let why = "format must be the first message, before any audio, \
                           and only where the url does not say it";
                return Err(Some(Refusal::new(400, why)));
            }
            Some(Input::Control(SourceMessage::End {})) => {
                let mount = feed.mount.clone();
                feed.finish().map_err(Some)?;
                let media_time = mount.log.head().end.as_secs_f64();
                let ack = SourceReply::Ack {
                    bytes: total,
                    media_time,
                };
                send(socket, &ack).await.map_err(|_| None)?;
                return Ok(());
            }
            None => {
                feed.flush();
                if acked.1.elapsed() >= timeout && acked.0 == total {
                    let secs = timeout.as_secs_f64();
                    let why = format!("nothing was sent for {secs} s");
                    return Err(Some(Refusal::new(408, why)));
                }
            }
        }
        if total > acked.0 && (acked.1.elapsed() >= ACK_EVERY || acked.0 == 0) {
            let ack = SourceReply::Ack {
                bytes: total,
                media_time: feed.position(),
            };
            send(socket, &ack).await.map_err(|_| None)?;
            acked = (total, Instant::now());
        }
    }
}

enum Input {
    Media(Bytes),
    Control(SourceMessage),
}

/// The next message that matters. Cancel-safe, as the stream is.
async fn next(socket: &mut Socket) -> Result<Input, Option<Refusal>> {
    loop {
        let message = match socket.next().await {
            None => return Err(None),
            Some(Ok(message)) => message,
            Some(Err(Error::Capacity(error))) => {
                let why = format!("{error}; send at most {MAX_MESSAGE} bytes in a message");
                return Err(Some(Refusal::new(400, why)));
            }
            Some(Err(_)) => return Err(None),
        };
        match message {
            Message::Binary(bytes) => return Ok(Input::Media(bytes)),
            Message::Text(text) => {
                return serde_json::from_str(&text)
                    .map(Input::Control)
                    .map_err(|error| {
                        let text = super::head::shorten(&text);
                        Some(Refusal::new(
                            400,
                            format!("message {text:?} is not understood: {error}"),
                        ))
                    });
            }
            Message::Close(frame) => {
                tracing::debug!(?frame, "source socket closed by its peer");
                return Err(None);
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}
