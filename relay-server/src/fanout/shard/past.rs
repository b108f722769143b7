//! Reading the past for listeners: on threads of its own, because it waits
//! for the disk. A listener has one question open at most, and holds one
//! answer: that bounds both the queue and the memory.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use seamcast_media::units::MediaDuration;

use super::{Command, Mailbox};
use crate::fanout::session::entries_from;
use crate::fanout::{ListenerId, MountShared};
use crate::mount::log::{Entry, Join, JoinFrom};

/// Threads; a disk gains little from more.
const READERS: usize = 2;

/// What a listener wants.
#[derive(Clone, Debug)]
pub(super) enum Want {
    /// Entries from this one on.
    Entries(u64),
    /// A join point, with the burst for joins near the live edge.
    Join(JoinFrom, MediaDuration),
}

/// What was found.
pub(super) enum Found {
    /// Entries, wanted from the first number on; none when nothing is there.
    Entries(u64, Vec<Arc<Entry>>),
    /// A join point.
    Join(JoinFrom, Join),
}

/// A listener's question.
pub(super) struct Job {
    pub(super) mount: Arc<MountShared>,
    pub(super) want: Want,
    pub(super) key: usize,
    pub(super) id: ListenerId,
    pub(super) mailbox: Arc<Mailbox>,
}

/// What a listener in the past has at hand.
#[derive(Default)]
pub(super) struct Reel {
    window: Vec<Arc<Entry>>,
    /// A question is open.
    pub(super) asked: bool,
}

impl Reel {
    /// What it holds from `index` on.
    pub(super) fn from(&self, index: u64) -> &[Arc<Entry>] {
        entries_from(&self.window, index)
    }

    /// Takes an answer.
    pub(super) fn put(&mut self, window: Vec<Arc<Entry>>) {
        self.asked = false;
        self.window = window;
    }
}

/// The threads' queue; they end with the last sender.
#[derive(Clone)]
pub(super) struct Readers(mpsc::Sender<Job>);

impl Readers {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread cannot be had.
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for index in 0..READERS {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("past-{index}"))
                .spawn(move || {
                    loop {
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(job) = job else { return };
                        job.answer();
                    }
                })?;
        }
        Ok(Self(jobs))
    }

    /// Queues a question; the answer comes as [`Command::Found`].
    pub(super) fn ask(&self, job: Job) {
        // The threads live as long as there is a sender.
        let _ = self.0.send(job);
    }
}

impl Job {
    /// Whatever happens there is an answer: the listener waits for it.
    fn answer(self) {
        // What is read is not changed by it.
        let found = catch_unwind(AssertUnwindSafe(|| self.find()));
        let found = found.unwrap_or_else(|_| {
            tracing::error!(mount = %self.mount.name, "a fault of the relay hid a part of the past from a listener; report the panic above");
            match self.want {
                Want::Join(ref from, burst) => {
                    Found::Join(from.clone(), self.mount.log.join(from, burst))
                }
                Want::Entries(index) => Found::Entries(index, Vec::new()),
            }
        });
        self.mailbox
            .send(Command::Found(self.key, self.id, Box::new(found)));
    }

    fn find(&self) -> Found {
        match self.want {
            Want::Join(ref from, burst) => {
                Found::Join(from.clone(), self.mount.join_past(from, burst))
            }
            Want::Entries(index) => {
                let read = self.mount.log.past().map(|past| past.read(index));
                let entries = read.unwrap_or_else(|| Ok(Vec::new()));
                Found::Entries(
                    index,
                    entries.unwrap_or_else(|error| {
                        self.mount.unreadable(&error);
                        Vec::new()
                    }),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{WAKE, lock};
    use super::*;
    use crate::mount::log::{Limits, Log, Past};

    #[derive(Debug)]
    struct Broken;

    impl Past for Broken {
        fn join(&self, _: &JoinFrom, _: &Log) -> io::Result<Option<Join>> {
            panic!("what a bug would do");
        }

        fn read(&self, _: u64) -> io::Result<Vec<Arc<Entry>>> {
            panic!("what a bug would do");
        }
    }

    #[test]
    fn a_fault_leaves_no_listener_waiting() {
        let log = Log::new("e", Limits::default());
        log.keep_past(Arc::new(Broken));
        let mount = MountShared::new("/m", log);
        let poll = mio::Poll::new().expect("epoll");
        let mailbox = Arc::new(Mailbox {
            waker: mio::Waker::new(poll.registry(), WAKE).expect("a waker"),
            woken: false.into(),
            commands: Mutex::default(),
            grown: Mutex::default(),
            listeners: 0.into(),
        });
        let readers = Readers::start().expect("threads");
        // More than there are threads.
        for key in 0..3 * READERS {
            readers.ask(Job {
                mount: mount.clone(),
                want: Want::Entries(7),
                key,
                id: ListenerId(1),
                mailbox: mailbox.clone(),
            });
        }
        let answered = (0..6000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            lock(&mailbox.commands).len() == 3 * READERS
        });
        assert!(answered, "{} answers", lock(&mailbox.commands).len());
        for command in lock(&mailbox.commands).drain(..) {
            let Command::Found(_, _, found) = command else {
                panic!("an answer");
            };
            assert!(matches!(*found, Found::Entries(7, entries) if entries.is_empty()));
        }
    }
}
