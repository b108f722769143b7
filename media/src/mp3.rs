//! MPEG audio frames: headers, sync, tags, gapless information.
