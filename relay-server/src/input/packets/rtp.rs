//! RTP's part of a talk: what payload types mean, and packets back in order.

use seamcast_media::demux::{Codec, Container, LinkConfig};
use seamcast_media::opus;
use seamcast_media::rtp::{self, Depacketizer, Format, Receiver};

use crate::config::Input;

/// The formats of an input's payload types, its SDP file's included.
pub(super) async fn formats(input: &Input) -> Result<Vec<(u8, Format)>, String> {
    let mut formats = input.payload_types.clone();
    if let Some(path) = &input.sdp {
        let shown = path.display();
        let text = tokio::fs::read(path)
            .await
            .map_err(|error| format!("cannot read the sdp file {shown}: {error}"))?;
        let sdp = rtp::Session::from_sdp(&String::from_utf8_lossy(&text))
            .map_err(|error| format!("sdp file {shown}: {error}"))?;
        formats.extend(sdp.formats);
    }
    Ok(formats)
}

/// From packets to media.
pub(super) struct Rtp {
    pub(super) receiver: Receiver,
    pub(super) depacketizer: Depacketizer,
}

impl Rtp {
    pub(super) fn new(input: &Input, formats: &[(u8, Format)]) -> Self {
        Self {
            receiver: Receiver::new(rtp::Config {
                hold_back: input.hold_back,
                ..rtp::Config::default()
            }),
            depacketizer: Depacketizer::new(formats.to_vec()),
        }
    }
}

/// An Opus link that begins in the middle of somebody's stream.
pub(super) fn opus_config(channels: u8) -> LinkConfig {
    let tags = opus::Tags {
        vendor: "Seamcast".to_owned(),
        ..opus::Tags::default()
    };
    LinkConfig {
        codec: Codec::Opus,
        container: Container::Ogg,
        sample_rate: opus::SAMPLE_RATE,
        channels,
        pre_skip: 0,
        output_gain: 0,
        headers: vec![
            opus::Head::simple(channels, 0, opus::SAMPLE_RATE).to_bytes(),
            tags.to_bytes(),
        ],
    }
}
