//! What the end-to-end tests share: programs under a time limit, a relay of
//! one's own, scratch folders, PCM and its comparison with a reference.

mod align;
pub mod certificate;
pub mod http;
mod pcm;
mod pieces;
mod program;
mod reference;
mod relay;
mod scratch;

pub use align::{Alignment, align};
pub use pcm::{Match, Pcm, PcmError, compare, db, snr_db};
pub use pieces::{Pieces, Seeded};
pub use program::{Finished, Program, ProgramError, Running, require};
pub use reference::{Encoding, encode, ffmpeg_decode, mpg123_decode, opusdec_decode};
pub use relay::{Relay, RelayOptions, free_udp_port, http_request};
pub use scratch::{Scratch, artefact_dir, workspace_root};
