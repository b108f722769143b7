//! MPEG audio frames (ISO/IEC 11172-3, 13818-3): headers, framing with resync,
//! tags around them, and the gapless information of the Xing/Info frame.

mod framer;
mod header;
mod info;
mod opening;
mod tags;

pub use framer::{Found, Framer};
pub use header::{Header, Layer, Mode, Version};
pub use info::{DECODER_DELAY, Info};
pub use opening::{Opening, decodes_nothing, open};
pub use tags::{Id3Header, id3_tags};
