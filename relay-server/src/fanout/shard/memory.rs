//! Giving memory back after a leave storm.

/// Returns free pages to the system. glibc keeps them in its arenas: a join
/// storm passes through the request path's buffers, and one small allocation
/// that lives on pins the pages around it until this is called.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(super) fn trim() {
    // SAFETY: malloc_trim(3) is thread-safe and changes no live allocation.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators return memory by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn trim() {}

/// Makes all threads allocate from one heap; to be called before there are
/// any. Else each one keeps the pages its share of a join storm has touched,
/// 0.7 MB of it for good. Serving listeners does not allocate, so no thread
/// waits for another there.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn share_heap() {
    // SAFETY: mallopt(3) only sets a parameter; called before other threads exist.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn share_heap() {}
