//! Memory that was freed and is still held.

/// Gives back to the system what the calling thread has freed, for threads that work on large things now and then; the
/// allocator would keep it for the next time. Takes a few milliseconds after much work.
pub fn give_back_memory() {
    // SAFETY: the call takes no pointer and may be made by any thread at any time; with another allocator in the process
    // it finds nothing.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_in_use_stays() {
        let text = "x".repeat(1 << 20);
        super::give_back_memory();
        assert!(text.bytes().all(|byte| byte == b'x'));
    }
}
