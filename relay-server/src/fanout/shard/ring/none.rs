//! Systems without io_uring: sockets are written to one by one.

use std::io;
use std::os::fd::BorrowedFd;

use super::super::cursor::Batch;

/// What is to be written, and where.
pub(super) type Write<'a> = (BorrowedFd<'a>, Batch<'a>);

/// There is none.
pub(super) enum Ring {}

impl Ring {
    /// Most writes at once.
    pub(super) const ROOM: usize = 64;

    /// # Errors
    /// Always.
    pub(super) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// # Errors
    /// Never called.
    pub(super) fn write(
        &mut self,
        _: &[Write<'_>],
        _: &mut Vec<Option<io::Result<usize>>>,
    ) -> io::Result<()> {
        match *self {}
    }
}
