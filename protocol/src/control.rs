//! JSON text messages. Times named `*_time` are seconds as JSON numbers unless
//! a field says otherwise; `seq` and ticks stay below 2^53 in practice.

use serde::{Deserialize, Serialize};

/// Relay → listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// First message on every connection.
    Welcome {
        /// The mount's path, with its leading slash.
        mount: String,
        /// Identity of the log; sequence numbers are comparable within one epoch only.
        epoch: String,
        /// Oldest sequence number still held.
        oldest: u64,
        /// Sequence number the next new chunk will get.
        head: u64,
        /// Whether a source is connected or expected.
        live: bool,
        /// Sequence number of the first chunk this listener gets.
        from: u64,
        /// Programme position of that chunk, seconds.
        media_time: f64,
        /// The relay's wall clock, ms since the Unix epoch.
        server_time: f64,
        /// Whether an `EPOCH:SEQ` join continues exactly where it asked to.
        recovered: bool,
        /// Programme positions that can be joined, `[from, to]` seconds.
        seekable: [f64; 2],
    },
    /// Codec configuration, before the first chunk and at every change.
    Config {
        /// Chunks name the configuration they need by this number.
        generation: u32,
        /// `ogg` or `mpeg`.
        container: String,
        /// `opus` or `mp3`.
        codec: String,
        /// Rate in Hz at which the codec delivers.
        sample_rate: u32,
        /// Channels.
        channels: u8,
        /// Header bytes to feed before the first chunk, base64; may be empty.
        headers: String,
    },
    /// Tags that belong to a position of the programme.
    Metadata {
        /// Programme position, seconds.
        at: f64,
        /// Tag names (upper case) and values.
        tags: serde_json::Map<String, serde_json::Value>,
    },
    /// Chunks this listener will not get.
    Gap {
        /// First sequence number missed.
        from: u64,
        /// First sequence number after the gap.
        to: u64,
        /// `lag`, `expired`, `epoch`, `missing` or `seek`.
        reason: String,
    },
    /// The source was lost; the mount waits for it.
    Offline {
        /// How long the relay will wait, ms.
        grace_ms: u64,
    },
    /// The source is back.
    Online {},
    /// The programme is over; nothing follows but the close.
    End {
        /// Sequence number after the last chunk.
        seq: u64,
        /// Programme position of the end, seconds.
        media_time: f64,
        /// `source_ended`, `source_lost` or `removed`.
        reason: String,
    },
    /// The relay will close this connection; connect again after the delay.
    Goaway {
        /// Delay before reconnecting, ms, jittered per listener.
        after_ms: u64,
        /// Where to reconnect; the same URL when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
    /// Answer to `time`.
    Time {
        /// The listener's own value.
        t0: f64,
        /// The relay's wall clock, ms since the Unix epoch.
        t1: f64,
    },
    /// Something was wrong with the connection or a message.
    Error {
        /// Stable identifier, e.g. `bad_message`.
        code: String,
        /// For people: what was wrong and what to do.
        message: String,
    },
}

/// Listener → relay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Continue from elsewhere: `live`, `start`, `-30`, `25.0` or `EPOCH:SEQ`.
    Seek {
        /// The join point, as in `?from=`; seconds may be a JSON number.
        #[serde(deserialize_with = "join_point")]
        from: String,
    },
    /// How playback stands; paces catch-up and feeds the metrics.
    Stats {
        /// Programme position now audible, seconds.
        media_time: f64,
        /// Audio buffered ahead of it, ms.
        buffered_ms: f64,
        /// Underruns so far.
        underruns: u64,
    },
    /// Ask for the relay's clock.
    Time {
        /// Echoed back.
        t0: f64,
    },
}

/// A join point as text, or as a number of seconds.
fn join_point<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Point {
        Text(String),
        Seconds(serde_json::Number),
    }
    Ok(match Point::deserialize(from)? {
        Point::Text(text) => text,
        Point::Seconds(seconds) => seconds.to_string(),
    })
}

/// Source → relay on a `seamcast.source.v1` socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SourceMessage {
    /// The stream's media type, when the URL does not say it; first message only.
    Format(SourceFormat),
    /// Tags from here on.
    Metadata {
        /// Tag names and values.
        tags: serde_json::Map<String, serde_json::Value>,
    },
    /// The programme is complete.
    End {},
}

/// What a source sends: a media type, or raw PCM by its properties.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceFormat {
    /// E.g. `audio/ogg` or `audio/x-raw;format=f32le;rate=24000;channels=1`.
    #[serde(
        alias = "media_type",
        alias = "content_type",
        skip_serializing_if = "Option::is_none"
    )]
    pub media: Option<String>,
    /// Raw PCM: `f32le`, `s16le` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Raw PCM: frames per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Raw PCM: channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u16>,
}

impl SourceFormat {
    /// All of it as one media type.
    pub fn media_type(&self) -> String {
        let media = self.media.as_deref();
        let raw = self.format.is_some() || self.rate.is_some() || self.channels.is_some();
        let mut text = match media {
            Some(media) => media.to_owned(),
            None if raw => "audio/x-raw".to_owned(),
            None => String::new(),
        };
        let parameters = [
            ("format", self.format.clone()),
            ("rate", self.rate.map(|rate| rate.to_string())),
            ("channels", self.channels.map(|count| count.to_string())),
        ];
        for (name, value) in parameters {
            if let Some(value) = value {
                text.push_str(&format!(";{name}={value}"));
            }
        }
        text
    }
}

/// Relay → source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SourceReply {
    /// Bytes taken into the log so far on this connection.
    Ack {
        /// Total payload bytes taken.
        bytes: u64,
        /// Programme position reached, seconds.
        media_time: f64,
    },
    /// Something was wrong; the close code says whether to retry.
    Error {
        /// Stable identifier.
        code: String,
        /// For people.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_snake_case() {
        let text = serde_json::to_string(&ServerMessage::Gap {
            from: 1,
            to: 3,
            reason: "lag".into(),
        });
        assert_eq!(
            text.ok().as_deref(),
            Some(r#"{"type":"gap","from":1,"to":3,"reason":"lag"}"#)
        );
        let seek: ClientMessage =
            serde_json::from_str(r#"{"type":"seek","from":"-30"}"#).expect("seek");
        assert_eq!(seek, ClientMessage::Seek { from: "-30".into() });
        for (number, from) in [("-30", "-30"), ("25.5", "25.5"), ("0", "0")] {
            let text = format!(r#"{{"type":"seek","from":{number}}}"#);
            let seek: ClientMessage = serde_json::from_str(&text).expect("seconds");
            assert_eq!(seek, ClientMessage::Seek { from: from.into() });
        }
    }

    #[test]
    fn sources_say_their_format_in_either_way() {
        for (text, media) in [
            (r#"{"type":"format","media":"audio/ogg"}"#, "audio/ogg"),
            (
                r#"{"type":"format","format":"s16le","rate":24000,"channels":1}"#,
                "audio/x-raw;format=s16le;rate=24000;channels=1",
            ),
            (
                r#"{"type":"format","content_type":"audio/L16","rate":8000}"#,
                "audio/L16;rate=8000",
            ),
        ] {
            match serde_json::from_str(text) {
                Ok(SourceMessage::Format(format)) => assert_eq!(format.media_type(), media),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(serde_json::from_str::<SourceMessage>(r#"{"type":"format","rat":1}"#).is_err());
    }
}
