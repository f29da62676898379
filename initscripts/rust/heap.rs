//! The heap of an initscript: memory that only grows. Scripts are short, and a smaller module starts sooner.

use std::alloc::{GlobalAlloc, Layout};
use std::arch::wasm32::{memory_grow, memory_size};
use std::cell::UnsafeCell;
use std::ptr::null_mut;

const PAGE: usize = 65_536;

struct Heap {
    /// Where the free part begins, and where it ends. 0 at first.
    free: UnsafeCell<(usize, usize)>,
}

// SAFETY: an initscript has one thread.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap { free: UnsafeCell::new((0, 0)) };

// SAFETY: what is given lies in pages that were grown for this heap, is aligned, and overlaps nothing that was given
// before, but for the last piece, which its owner gives back or makes longer.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (free, end) = &mut *self.free.get();
        let start = (*free + layout.align() - 1) & !(layout.align() - 1);
        match start.checked_add(layout.size()) {
            Some(next) if next <= *end => {
                *free = next;
                start as *mut u8
            }
            Some(_) => self.alloc_grown(layout),
            None => null_mut(),
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let (free, _) = &mut *self.free.get();
        if pointer as usize + layout.size() == *free {
            *free = pointer as usize;
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (free, end) = &mut *self.free.get();
        let last = pointer as usize + layout.size() == *free;
        match (pointer as usize).checked_add(size) {
            Some(next) if last && next <= *end => {
                *free = next;
                return pointer;
            }
            _ => {}
        }
        let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
        if !moved.is_null() {
            pointer.copy_to_nonoverlapping(moved, layout.size().min(size));
        }
        moved
    }
}

impl Heap {
    /// Grows the memory, and gives a piece of the new pages.
    #[cold]
    unsafe fn alloc_grown(&self, layout: Layout) -> *mut u8 {
        let pages = (layout.size() + layout.align() + PAGE - 1) / PAGE;
        let start = memory_size(0) * PAGE;
        if memory_grow(0, pages) == usize::MAX {
            return null_mut();
        }
        let (free, end) = &mut *self.free.get();
        // Pages that follow on the last ones are one piece with them.
        if start != *end {
            *free = start;
        }
        *end = start + pages * PAGE;
        self.alloc(layout)
    }
}
