//! A response body made of byte strings and ranges of one file, in constant
//! memory; its last range may follow the file as it grows.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tokio::task::JoinHandle;

/// Bytes read from the file at once: few system calls, little memory.
const READ_LEN: usize = 64 * 1024;

/// One piece of a body.
#[derive(Debug)]
pub(crate) enum Piece {
    /// These bytes.
    Bytes(Bytes),
    /// This range of the file, which must exist.
    Range(std::ops::Range<u64>),
}

type Wait = Pin<Box<dyn Future<Output = Option<u64>> + Send>>;

/// Given the position reached, waits until the file has more and returns its
/// length then, or `None` when it has ended.
pub(crate) type Follow = Box<dyn FnMut(u64) -> Wait + Send>;

/// See the module.
pub(crate) struct FileBody {
    file: Arc<File>,
    pieces: VecDeque<Piece>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// Position from which to follow the file's growth after the pieces.
    position: u64,
    follow: Option<Follow>,
    waiting: Option<Wait>,
}

impl std::fmt::Debug for FileBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileBody")
            .field("pieces", &self.pieces)
            .finish_non_exhaustive()
    }
}

impl FileBody {
    /// The pieces in order, then, with `follow`, everything the file grows by
    /// from `position` on.
    pub(crate) fn new(file: Arc<File>, pieces: Vec<Piece>, follow: Option<(u64, Follow)>) -> Self {
        let (position, follow) = match follow {
            Some((position, follow)) => (position, Some(follow)),
            None => (0, None),
        };
        Self {
            file,
            pieces: pieces.into(),
            reading: None,
            position,
            follow,
            waiting: None,
        }
    }

    fn read(file: &Arc<File>, start: u64, end: u64) -> JoinHandle<io::Result<Bytes>> {
        let file = Arc::clone(file);
        let want = (end - start).min(READ_LEN as u64) as usize;
        tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; want];
            let got = loop {
                match file.read_at(&mut buffer, start) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
            if got == 0 {
                // The promised length cannot be kept; the connection is cut so that
                // nobody takes the answer for complete.
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "file was truncated while being served",
                ));
            }
            buffer.truncate(got);
            Ok(Bytes::from(buffer))
        })
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        loop {
            if let Some(reading) = &mut this.reading {
                let read = ready!(Pin::new(reading).poll(cx));
                this.reading = None;
                let bytes = match read.map_err(io::Error::other).and_then(|read| read) {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        this.pieces.clear();
                        this.follow = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                };
                if let Some(Piece::Range(range)) = this.pieces.front_mut() {
                    range.start += bytes.len() as u64;
                    if range.start >= range.end {
                        this.pieces.pop_front();
                    }
                }
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            match this.pieces.pop_front() {
                Some(Piece::Bytes(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Piece::Range(range)) if range.is_empty() => continue,
                Some(Piece::Range(range)) => {
                    this.reading = Some(Self::read(&this.file, range.start, range.end));
                    this.pieces.push_front(Piece::Range(range));
                    continue;
                }
                None => {}
            }
            let Some(follow) = &mut this.follow else {
                return Poll::Ready(None);
            };
            let waiting = this.waiting.get_or_insert_with(|| follow(this.position));
            let grown = ready!(waiting.as_mut().poll(cx));
            this.waiting = None;
            match grown {
                Some(len) if len > this.position => {
                    this.pieces.push_back(Piece::Range(this.position..len));
                    this.position = len;
                }
                _ => {
                    this.follow = None;
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        if self.follow.is_some() {
            return http_body::SizeHint::new();
        }
        let len = self.pieces.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Range(range) => range.end - range.start,
        });
        http_body::SizeHint::with_exact(len.sum())
    }
}
