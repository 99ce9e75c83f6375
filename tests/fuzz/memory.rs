//! Counts the memory that a case allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// More than this is never given: the allocation fails, which ends the process.
const LIMIT: usize = 4 << 30;

static CURRENT: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static START: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with the bytes in use and their maximum.
pub struct CountingAllocator;

fn add(bytes: usize) -> bool {
    let now = CURRENT.fetch_add(bytes, Relaxed).saturating_add(bytes);
    PEAK.fetch_max(now, Relaxed);
    now <= LIMIT
}

// SAFETY: every call is passed on to the system's allocator, or answered with null.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !add(layout.size()) {
            return std::ptr::null_mut();
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !add(layout.size()) {
            return std::ptr::null_mut();
        }
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CURRENT.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !add(size) {
            return std::ptr::null_mut();
        }
        CURRENT.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Begins a case.
pub fn start() {
    let now = CURRENT.load(Relaxed);
    START.store(now, Relaxed);
    PEAK.store(now, Relaxed);
}

/// The most bytes in use since [`start`], beyond those in use then.
pub fn peak() -> usize {
    PEAK.load(Relaxed).saturating_sub(START.load(Relaxed))
}
