//! What the engine tells its owner.

use seamcast_media::units::MediaTime;

use crate::stream::{Format, StreamError};

/// Something happened; in the order in which it did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The stream's first format is known.
    LoadedMetadata(Format),
    /// A later link has another codec, rate or channel count. Playback goes on.
    CodecChange(Format),
    /// Enough is held to start without a foreseeable underrun.
    CanPlay,
    /// Output begins, or begins again, at this context frame.
    Playing {
        /// Programme position.
        media: MediaTime,
        /// Context frame.
        frame: u64,
    },
    /// Output is silent for want of input.
    Waiting {
        /// Programme position.
        media: MediaTime,
    },
    /// Output was silent for want of input and is about to be back.
    Underrun {
        /// Programme position of the silence.
        media: MediaTime,
        /// Its exact length in context frames.
        silence: u64,
    },
    /// Whatever was scheduled at or after this context frame must not be heard.
    Cancel {
        /// Context frame.
        frame: u64,
    },
    /// A live programme was skipped to return to its latency target.
    Skip {
        /// Position left.
        from: MediaTime,
        /// Position gone to.
        to: MediaTime,
    },
    /// Tags became audible.
    Metadata {
        /// Programme position they belong to.
        at: MediaTime,
        /// The tags.
        payload: Payload,
    },
    /// The prebuffer wants another amount.
    TargetLatency {
        /// Milliseconds.
        ms: f64,
    },
    /// Bad input was passed over or concealed; playback goes on.
    DecodeError(StreamError),
    /// Input had to be thrown away because it came far faster than it is
    /// played and the sender would not wait.
    Overflow,
    /// The last frame was heard.
    Ended,
}

/// Tags from the stream itself or from a control message.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// Names and values in stream order.
    Tags(Vec<(String, String)>),
    /// JSON as it came.
    Json(String),
}

/// Counters and measurements; see `PlayerStats` of the npm package. Times are
/// in seconds unless a name says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Times the output ran dry.
    pub underrun_events: u32,
    /// Silence that caused.
    pub underrun_duration: f64,
    /// Media heard.
    pub total_duration: f64,
    /// Mean depth of the buffer while playing.
    pub average_latency: f64,
    /// Depth of the buffer now: received and not yet heard.
    pub jitter_buffer_delay: f64,
    /// Depth aimed at.
    pub jitter_buffer_target_delay: f64,
    /// Media received per second, recent; 1 is real time.
    pub arrival_rate: f64,
    /// 95th percentile of the chunks' lateness.
    pub arrival_spread_p95: f64,
    /// From `play` to the first frame out; NaN before.
    pub startup_delay: f64,
    /// When a start will be safe, seconds on the caller's clock.
    pub predicted_safe_start: f64,
    /// Buffer wanted before a start.
    pub prebuffer: f64,
    /// Input consumed per output, 1 without drift correction.
    pub resample_ratio: f64,
    /// Source clock against output clock, parts per million.
    pub drift_ppm: f64,
    /// Frames made up for lost or broken packets.
    pub concealed_frames: u64,
    /// Frames skipped or thrown away.
    pub dropped_frames: u64,
    /// Frames repeated or left out by stretching time.
    pub stretched_frames: u64,
    /// Media bytes received.
    pub bytes_received: u64,
}
