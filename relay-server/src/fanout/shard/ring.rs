//! Many sockets written in one system call (io_uring).
//!
//! A chunk for a thousand listeners is a thousand small writes at once. One by one, each of them
//! ends in user space, where whoever the write has woken takes the processor; together they cost
//! one entry into the kernel and are not interrupted.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use io_uring::{IoUring, opcode, types};

use super::super::cursor::Batch;

/// What is to be written, and where.
pub(super) type Write<'a> = (BorrowedFd<'a>, Batch<'a>);

/// A queue of writes that the kernel does together.
pub(super) struct Ring {
    uring: IoUring,
}

impl Ring {
    /// Most writes at once; more gain nothing and keep others waiting.
    pub(super) const ROOM: usize = 64;

    /// # Errors
    /// When the kernel does not know io_uring (before 5.6) or this process may not use it.
    pub(super) fn new() -> io::Result<Self> {
        let uring = IoUring::new(Self::ROOM as u32)?;
        Ok(Self { uring })
    }

    /// Tries each of the first [`Ring::ROOM`] writes once, waiting for no socket. In `outcomes` are,
    /// in their order, the bytes taken, an error, or none for what was not tried.
    ///
    /// # Errors
    /// When the kernel takes no more writes this way; the ring is of no use then. `outcomes` tells
    /// of what was done before.
    #[allow(unsafe_code)]
    pub(super) fn write(
        &mut self,
        writes: &[Write<'_>],
        outcomes: &mut Vec<Option<io::Result<usize>>>,
    ) -> io::Result<()> {
        let writes = &writes[..writes.len().min(Self::ROOM)];
        let heads: Vec<libc::msghdr> = writes.iter().map(|(_, batch)| head(batch)).collect();
        outcomes.clear();
        outcomes.resize_with(writes.len(), || None);
        let mut queue = self.uring.submission();
        for (index, ((socket, batch), head)) in writes.iter().zip(&heads).enumerate() {
            let socket = types::Fd(socket.as_raw_fd());
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            let entry = match batch.slices() {
                [one] => opcode::Send::new(socket, one.as_ptr(), one.len() as u32)
                    .flags(flags)
                    .build(),
                _ => opcode::SendMsg::new(socket, head)
                    .flags(flags as u32)
                    .build(),
            };
            // SAFETY: sockets, slices and `heads` live until this function returns, and the kernel
            // is done with them by then: it tries a send with MSG_DONTWAIT when it takes it from
            // the queue, answers at once whether or not the socket is full, and all answers are
            // waited for below (io_uring_enter(2), io_uring_prep_send(3)). When it takes no more,
            // the rest of the queue goes with the ring, which is not used again.
            unsafe { queue.push(&entry.user_data(index as u64)) }
                .map_err(|_| io::Error::other("the queue of writes is not empty"))?;
        }
        drop(queue);
        let mut open = writes.len();
        while open > 0 {
            match self.uring.submit_and_wait(open) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(_) | Err(_) => {}
            }
            for answer in self.uring.completion() {
                open = open.saturating_sub(1);
                let index = usize::try_from(answer.user_data()).ok();
                if let Some(outcome) = index.and_then(|index| outcomes.get_mut(index)) {
                    let result = answer.result();
                    let taken = usize::try_from(result);
                    *outcome = Some(taken.map_err(|_| io::Error::from_raw_os_error(-result)));
                }
            }
        }
        Ok(())
    }
}

/// A message's head (sendmsg(2)).
#[allow(unsafe_code)]
fn head(batch: &Batch<'_>) -> libc::msghdr {
    // SAFETY: a msghdr of zeros is an empty message; it has pointers and integers only.
    let mut head: libc::msghdr = unsafe { std::mem::zeroed() };
    // An IoSlice is an iovec, by its documentation.
    head.msg_iov = batch.slices().as_ptr().cast_mut().cast();
    head.msg_iovlen = batch.slices().len() as _;
    head
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn batch<'a>(pieces: &[&'a [u8]]) -> Batch<'a> {
        let mut batch = Batch::new(usize::MAX);
        assert!(pieces.iter().all(|piece| batch.push(piece)));
        batch
    }

    /// A ring, where this machine has that.
    fn ring() -> Option<Ring> {
        let ring = Ring::new();
        if let Err(error) = &ring {
            println!("not tested, no io_uring here: {error}");
        }
        ring.ok()
    }

    #[test]
    fn every_write_has_its_own_outcome() {
        let Some(mut ring) = ring() else { return };
        let (one, mut one_far) = UnixStream::pair().expect("sockets");
        let (many, mut many_far) = UnixStream::pair().expect("sockets");
        let (full, mut full_far) = UnixStream::pair().expect("sockets");
        let (gone, gone_far) = UnixStream::pair().expect("sockets");
        drop(gone_far);
        let large = vec![7; 8 << 20];
        let mut outcomes = Vec::new();
        for round in 0..3 {
            let writes = [
                (full.as_fd(), batch(&[&large])),
                (one.as_fd(), batch(&[b"whole"])),
                (gone.as_fd(), batch(&[b"nobody"])),
                (many.as_fd(), batch(&[b"in ", b"three ", b"pieces"])),
            ];
            ring.write(&writes, &mut outcomes).expect("tried");
            let kind = |index: usize| match &outcomes[index] {
                Some(Err(error)) => Some(error.kind()),
                _ => None,
            };
            match (&outcomes[0], round) {
                (Some(Ok(n)), 0) => assert!((1..large.len()).contains(n), "{n} taken"),
                _ => assert_eq!(kind(0), Some(ErrorKind::WouldBlock), "round {round}"),
            }
            assert!(matches!(outcomes[1], Some(Ok(5))), "{outcomes:?}");
            assert_eq!(kind(2), Some(ErrorKind::BrokenPipe));
            assert!(matches!(outcomes[3], Some(Ok(15))), "{outcomes:?}");
        }
        let mut space = [0; 100];
        let n = one_far.read(&mut space).expect("sent");
        assert_eq!(&space[..n], b"wholewholewhole");
        let n = many_far.read(&mut space).expect("sent");
        assert_eq!(&space[..n], b"in three pieces".repeat(3));
        assert_eq!(full_far.read(&mut space).expect("sent"), 100);
    }

    #[test]
    fn more_than_there_is_room_for_is_left() {
        let Some(mut ring) = ring() else { return };
        let (near, mut far) = UnixStream::pair().expect("sockets");
        let bytes: Vec<u8> = (0..=255).collect();
        let writes: Vec<Write<'_>> = bytes
            .chunks(1)
            .map(|byte| (near.as_fd(), batch(&[byte])))
            .collect();
        let mut outcomes = Vec::new();
        ring.write(&writes, &mut outcomes).expect("tried");
        assert_eq!(outcomes.len(), Ring::ROOM);
        ring.write(&writes[Ring::ROOM..], &mut outcomes)
            .expect("tried");
        let mut space = [0; 300];
        let n = far.read(&mut space).expect("sent");
        assert_eq!(&space[..n], &bytes[..2 * Ring::ROOM], "in their order");
        ring.write(&[], &mut outcomes).expect("nothing to try");
        assert!(outcomes.is_empty());
    }
}
