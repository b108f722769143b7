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
        // Blocks of the logs come from the system and go back to it. Once set,
        // the threshold does not grow with what is freed.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 << 10);
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn share_heap() {}

/// Names the setting that [`plain_heap`] starts the program again with.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Starts the program again, in the same process, without glibc's caches of
/// free blocks for each thread, unless the operator has set tunables; to be
/// called first. Each cached block holds its page for good, 1.2 MB after a
/// join storm, and neither trimming nor `mallopt` empties a cache.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn plain_heap() {
    use std::os::unix::process::CommandExt as _;
    if std::env::var_os(TUNABLES).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // Returns only when it failed; then all stays as it is.
    let _ = again
        .args(arguments)
        .env(TUNABLES, "glibc.malloc.tcache_count=0")
        .exec();
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn plain_heap() {}
