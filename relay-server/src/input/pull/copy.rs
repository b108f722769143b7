//! An upstream's answer for somebody else beside the mount, bounded in bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::{Semaphore, mpsc};

/// Bytes of a [`Copy`] that may wait.
const WAITING: usize = 32 << 20;

/// An answer for somebody else. Who drops it before [`Copy::finish`] has cut
/// the answer short.
pub(crate) struct Copy {
    /// Bounded by `room`.
    pieces: mpsc::UnboundedSender<Bytes>,
    shared: Arc<Shared>,
}

/// The other end of a [`Copy`].
pub(crate) struct Copied {
    pieces: mpsc::UnboundedReceiver<Bytes>,
    shared: Arc<Shared>,
}

struct Shared {
    /// One permit for each byte.
    room: Semaphore,
    whole: AtomicBool,
}

/// What a piece takes of the room: no more than there is in all.
fn permits(piece: &Bytes) -> usize {
    piece.len().min(WAITING)
}

impl Copy {
    /// Nothing waits yet.
    pub(crate) fn new() -> (Self, Copied) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            room: Semaphore::new(WAITING),
            whole: AtomicBool::new(false),
        });
        let copied = Copied {
            pieces: receiver,
            shared: shared.clone(),
        };
        let pieces = sender;
        (Self { pieces, shared }, copied)
    }

    /// Passes a piece on; false when there is no room, or nobody.
    pub(super) fn try_send(&self, piece: Bytes) -> bool {
        let room = self.shared.room.try_acquire_many(permits(&piece) as u32);
        room.is_ok_and(|taken| {
            taken.forget();
            self.pieces.send(piece).is_ok()
        })
    }

    /// As [`Copy::try_send`], once there is room.
    pub(crate) async fn send(&self, piece: Bytes) -> bool {
        let room = self.shared.room.acquire_many(permits(&piece) as u32).await;
        room.is_ok_and(|taken| {
            taken.forget();
            self.pieces.send(piece).is_ok()
        })
    }

    /// That was all of it.
    pub(crate) fn finish(self) {
        self.shared.whole.store(true, Ordering::Release);
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // Nobody waits for room any more.
        self.shared.room.close();
    }
}

impl http_body::Body for Copied {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(match ready!(self.pieces.poll_recv(cx)) {
            Some(piece) => {
                self.shared.room.add_permits(permits(&piece));
                Some(Ok(Frame::data(piece)))
            }
            None if self.shared.whole.load(Ordering::Acquire) => None,
            // The caller must not take it for complete.
            None => Some(Err(std::io::Error::other("the answer is cut short"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_copy_that_is_cut_short_does_not_look_complete() {
        for whole in [true, false] {
            let (copy, mut copied) = Copy::new();
            assert!(copy.try_send(Bytes::from_static(b"a")));
            if whole {
                copy.finish();
            } else {
                drop(copy);
            }
            let piece = copied.frame().await.expect("a piece").expect("sound");
            assert_eq!(piece.into_data().expect("bytes"), "a");
            let end = copied.frame().await;
            assert_eq!(end.is_none(), whole, "{end:?}");
            assert!(whole || end.is_some_and(|end| end.is_err()));
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_slow_caller_is_bounded_in_bytes() {
        let (copy, mut copied) = Copy::new();
        let half = Bytes::from(vec![0; WAITING / 2]);
        assert!(copy.try_send(half.clone()) && copy.try_send(half));
        assert!(!copy.try_send(Bytes::from_static(b"a")), "no room");
        copied.frame().await.expect("a piece").expect("sound");
        assert!(copy.send(Bytes::from_static(b"a")).await);
        // One that is larger than all the room waits until that is empty.
        let large = tokio::spawn(async move { copy.send(vec![0; WAITING + 1].into()).await });
        for _ in 0..3 {
            copied.frame().await.expect("a piece").expect("sound");
        }
        assert!(large.await.expect("no panic"));

        let (copy, copied) = Copy::new();
        assert!(copy.try_send(vec![0; WAITING].into()));
        let waiting = tokio::spawn(async move { copy.send(Bytes::from_static(b"a")).await });
        drop(copied);
        assert!(!waiting.await.expect("no panic"), "nobody is there");
    }
}
