//! The five C library functions libopus links against on
//! `wasm32-unknown-unknown`, on top of Rust's allocator.
//!
//! libopus allocates only when a decoder is created. Each block carries its
//! size in a 16-byte header, because `free` is not told it.

// C linkage and raw blocks cannot be had without unsafe code.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::null_mut;

const HEADER: usize = 16;

/// The layout of a block with `size` usable bytes.
fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size.checked_add(HEADER)?, HEADER).ok()
}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut u8 {
    let Some(layout) = layout(size) else {
        return null_mut();
    };
    // SAFETY: the layout is never empty, and the header lies inside the block.
    unsafe {
        let block = alloc(layout);
        if block.is_null() {
            return block;
        }
        block.cast::<usize>().write(size);
        block.add(HEADER)
    }
}

#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut u8 {
    let Some(total) = count.checked_mul(size) else {
        return null_mut();
    };
    let block = malloc(total);
    if !block.is_null() {
        // SAFETY: `malloc` returned `total` usable bytes.
        unsafe { block.write_bytes(0, total) };
    }
    block
}

#[unsafe(no_mangle)]
extern "C" fn realloc(old: *mut u8, size: usize) -> *mut u8 {
    let new = malloc(size);
    if !old.is_null() && !new.is_null() {
        // SAFETY: `old` came from `malloc`, so its size lies in its header;
        // the blocks are distinct and hold at least the smaller size.
        unsafe {
            let had = old.sub(HEADER).cast::<usize>().read();
            old.copy_to_nonoverlapping(new, had.min(size));
        }
        free(old);
    }
    new
}

#[unsafe(no_mangle)]
extern "C" fn free(block: *mut u8) {
    if block.is_null() {
        return;
    }
    // SAFETY: `block` came from `malloc`, so its size lies in its header and
    // describes the layout it was allocated with.
    unsafe {
        let start = block.sub(HEADER);
        if let Some(layout) = layout(start.cast::<usize>().read()) {
            dealloc(start, layout);
        }
    }
}

/// libopus aborts only on a broken invariant of its own.
#[unsafe(no_mangle)]
extern "C" fn abort() -> ! {
    core::arch::wasm32::unreachable()
}
