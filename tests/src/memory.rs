//! Who holds how much memory: an allocator that charges every block to whoever was at work when it was made, until it is
//! freed, by whomever. Counted are the bytes that were asked for, without what the allocator adds.
#![allow(
    unsafe_code,
    reason = "a global allocator is an unsafe trait: each block gets a header with its owner"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use bytes::Bytes;
use mimalloc::MiMalloc;

/// mimalloc, with an owner for each block. Threads count for themselves: a run and all that it makes is of one thread.
#[derive(Debug, Default)]
pub struct Attributing;

/// Owners that can be told apart.
pub const OWNERS_MAX: usize = 15;
const NOBODY: u8 = 0;
/// Room before a block; the owner is its last byte. Blocks that are aligned to more have more.
const HEADER: usize = 8;

thread_local! {
    // Constant and without destructors: reading them never allocates and works while a thread ends.
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    static OWNER: Cell<u8> = const { Cell::new(NOBODY) };
    static HELD: [Cell<i64>; OWNERS_MAX + 1] = const { [const { Cell::new(0) }; OWNERS_MAX + 1] };
}

/// Nobody holds anything but what is allocated from now on, if it is to be counted in this thread at all.
pub fn count(counts: bool) {
    COUNTS.set(counts);
    HELD.with(|held| held.iter().for_each(|bytes| bytes.set(0)));
}

/// What is allocated meanwhile, in this thread, is charged to this owner, if anybody counts.
///
/// # Panics
/// When there are fewer owners.
pub fn owned_by<T>(owner: usize, run: impl FnOnce() -> T) -> T {
    if !COUNTS.get() {
        return run();
    }
    let place = u8::try_from(owner + 1).ok().filter(|place| usize::from(*place) <= OWNERS_MAX);
    at_work(place.expect("few owners"), run)
}

/// What is allocated meanwhile is charged to nobody.
pub fn owned_by_nobody<T>(run: impl FnOnce() -> T) -> T {
    at_work(NOBODY, run)
}

/// The bytes an owner holds now. 0 unless [`Attributing`] is the global allocator.
#[must_use]
pub fn held(owner: usize) -> u64 {
    HELD.with(|held| held[owner + 1].get().try_into().unwrap_or(0))
}

/// The same bytes, a block of their own for who is at work if anybody counts: what is handed over has another owner then.
#[must_use]
pub fn handed_over(bytes: &Bytes) -> Bytes {
    if COUNTS.get() { Bytes::copy_from_slice(bytes) } else { bytes.clone() }
}

/// Restores who was at work before, after a panic too.
struct Shift(u8);

impl Drop for Shift {
    fn drop(&mut self) {
        OWNER.set(self.0);
    }
}

fn at_work<T>(owner: u8, run: impl FnOnce() -> T) -> T {
    let _shift = Shift(OWNER.replace(owner));
    run()
}

fn charge(owner: u8, bytes: usize) {
    if owner != NOBODY {
        add(owner, bytes.cast_signed() as i64);
    }
}

fn discharge(owner: u8, bytes: usize) {
    if owner != NOBODY {
        add(owner, -(bytes.cast_signed() as i64));
    }
}

fn add(owner: u8, bytes: i64) {
    HELD.with(|held| {
        if let Some(place) = held.get(usize::from(owner)) {
            place.set(place.get().wrapping_add(bytes));
        }
    });
}

/// A block's layout with its header, and how long that is.
fn with_header(layout: Layout) -> Option<(Layout, usize)> {
    let align = layout.align().max(HEADER);
    let size = layout.size().checked_add(align)?;
    Some((Layout::from_size_align(size, align).ok()?, align))
}

/// Writes the header of a new block and charges it.
///
/// # Safety
/// `base` is null or begins at least `header` + 1 bytes that are ours.
unsafe fn begin(base: *mut u8, header: usize, size: usize) -> *mut u8 {
    if base.is_null() {
        return base;
    }
    let owner = OWNER.get();
    charge(owner, size);
    // SAFETY: the header is at least a byte long and lies in front of the block.
    unsafe {
        let block = base.add(header);
        block.sub(1).write(owner);
        block
    }
}

// SAFETY: every block is one of mimalloc's behind a header as long as the block's alignment demands, so it is as large
// and as aligned as asked for; each method goes back to mimalloc's own block and layout by the same rule. Counting
// touches neither and doesn't allocate.
unsafe impl GlobalAlloc for Attributing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((whole, header)) = with_header(layout) else { return std::ptr::null_mut() };
        // SAFETY: `whole` isn't empty; it has room for the header.
        unsafe { begin(MiMalloc.alloc(whole), header, layout.size()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some((whole, header)) = with_header(layout) else { return std::ptr::null_mut() };
        // SAFETY: as in `alloc`.
        unsafe { begin(MiMalloc.alloc_zeroed(whole), header, layout.size()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((whole, header)) = with_header(layout) else { return };
        // SAFETY: the block was made above with this layout: its header lies in front of it.
        unsafe {
            discharge(block.sub(1).read(), layout.size());
            MiMalloc.dealloc(block.sub(header), whole);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some((whole, header)) = with_header(layout) else { return std::ptr::null_mut() };
        let Some(longer) = size.checked_add(header) else { return std::ptr::null_mut() };
        // SAFETY: the block was made above with this layout; the header moves along with its owner.
        unsafe {
            let owner = block.sub(1).read();
            let base = MiMalloc.realloc(block.sub(header), whole, longer);
            if base.is_null() {
                return base;
            }
            discharge(owner, layout.size());
            charge(owner, size);
            base.add(header)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: Attributing = Attributing;

    #[test]
    fn a_block_is_charged_to_who_made_it_until_it_is_freed() {
        count(true);
        let mut block = owned_by(2, || vec![1u8; 1000]);
        let other = owned_by(3, || owned_by_nobody(|| vec![2u8; 500]));
        assert_eq!([held(2), held(3)], [1000, 0]);
        // It grows for whom it was made, whoever has it grow.
        block.reserve_exact(4000);
        assert_eq!(held(2), 5000);
        assert_eq!((block[999], other[499]), (1, 2));
        owned_by(3, || drop(block));
        assert_eq!([held(2), held(3)], [0, 0]);
        count(false);
        assert_eq!((owned_by(2, || vec![1u8; 1000]).len(), held(2)), (1000, 0));
    }

    #[test]
    fn every_alignment_is_kept() {
        #[repr(align(64))]
        struct Wide([u8; 65]);
        count(true);
        let wide = owned_by(0, || Box::new(Wide([7; 65])));
        assert_eq!((std::ptr::from_ref(&*wide).addr() % 64, wide.0[64]), (0, 7));
        assert_eq!(held(0), 128);
        drop(wide);
        let zeroed = owned_by(0, || vec![0u64; 100]);
        assert!(zeroed.iter().all(|word| *word == 0));
        assert_eq!(held(0), 800);
    }

    #[test]
    fn a_panic_ends_the_owners_work() {
        count(true);
        let _ = std::panic::catch_unwind(|| owned_by(4, || std::panic::resume_unwind(Box::new(()))));
        let nobodys = Box::new([0u8; 100]);
        assert_eq!((held(4), nobodys.len()), (0, 100));
    }
}
