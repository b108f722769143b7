//! In builds without the feature `decoders`.

use std::path::Path;

use seamcast_media::wav::Format;

/// Decodes nothing.
#[derive(Debug)]
pub enum Decoder {}

impl Decoder {
    /// Says what is missing.
    ///
    /// # Errors
    /// Always.
    pub fn open(_: &Path) -> Result<Self, String> {
        Err("this build cannot decode it; build with the feature decoders".to_owned())
    }

    /// What comes out.
    pub fn format(&self) -> Format {
        match *self {}
    }

    /// The file's tags.
    pub fn tags(&mut self) -> Vec<(String, String)> {
        match *self {}
    }

    /// Packets that were skipped because they are broken.
    pub fn skipped(&self) -> u64 {
        match *self {}
    }

    /// Appends the next samples.
    ///
    /// # Errors
    /// None.
    pub fn next(&mut self, _: &mut Vec<u8>) -> Result<bool, String> {
        match *self {}
    }
}
