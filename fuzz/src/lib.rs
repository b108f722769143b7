//! What several targets need.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, and a count of what is allocated.
pub struct Meter;

fn add(len: usize) {
    let live = LIVE.fetch_add(len, Ordering::Relaxed).wrapping_add(len);
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        add(len);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(at, layout, len) }
    }
}

/// What was allocated since then.
pub struct Since(usize);

impl Since {
    /// From now on.
    #[must_use]
    pub fn now() -> Self {
        let live = LIVE.load(Ordering::Relaxed);
        PEAK.store(live, Ordering::Relaxed);
        Self(live)
    }

    /// Bytes more than then.
    #[must_use]
    pub fn live(&self) -> usize {
        LIVE.load(Ordering::Relaxed).saturating_sub(self.0)
    }

    /// The most there were at once.
    #[must_use]
    pub fn peak(&self) -> usize {
        PEAK.load(Ordering::Relaxed).saturating_sub(self.0)
    }
}
