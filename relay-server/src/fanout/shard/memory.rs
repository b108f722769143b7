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
