//! WebSocket close codes. 4000–4499: reconnecting makes sense; 4500–4999: it does not.

/// The relay restarts or moves; reconnect after the `goaway` delay.
pub const GOING_AWAY: u16 = 4000;
/// The listener stayed behind what the mount keeps (`complete` mode) or stopped reading.
pub const TOO_SLOW: u16 = 4001;
/// An administrator closed the connection.
pub const KICKED: u16 = 4002;
/// The mount is full. Seamcast's relay refuses the handshake instead, with 503.
pub const MOUNT_FULL: u16 = 4003;
/// The relay has no resources for another source (source sockets).
pub const OVERLOADED: u16 = 4004;
/// Another source took the mount over (source sockets).
pub const TAKEN_OVER: u16 = 4005;
/// The programme ended; there is nothing more to come.
pub const ENDED: u16 = 4500;
/// No such mount. Seamcast's relay refuses the handshake instead, with 404.
pub const NOT_FOUND: u16 = 4504;
/// Credentials are missing or wrong (source sockets).
pub const UNAUTHORIZED: u16 = 4501;
/// The request or a message made no sense; the reason says which.
pub const BAD_REQUEST: u16 = 4502;
/// The media is not of a kind the relay takes (source sockets).
pub const UNSUPPORTED_MEDIA: u16 = 4515;
/// A source is already connected and the mount forbids takeover (source sockets).
pub const CONFLICT: u16 = 4509;
