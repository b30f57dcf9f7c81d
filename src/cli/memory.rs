//! The C library's allocator, told to keep its memory together and to give back what is free.

/// How often free memory is given back.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const EVERY: std::time::Duration = std::time::Duration::from_secs(10);

/// Bounds the allocator's arenas. Buffers of a backup are large and go from thread to thread; left alone, glibc keeps free
/// memory of each thread apart, and the peak is twice as high (docs/performance.md). To be called before threads are started.
///
/// What is free between what is in use glibc keeps for good: a run of an hour has a third of its memory there. It is given back
/// every ten seconds.
#[allow(unsafe_code)]
pub fn keep_memory_small() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: mallopt has no preconditions; what it refuses it leaves as it was.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 2);
            // Every large buffer that is freed would sweep the lists of fast small ones: a tenth of a listing's time.
            libc::mallopt(libc::M_MXFAST, 0);
            libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 20);
        }
        // Without it all works as well, in more memory.
        let _ = std::thread::Builder::new().name("memory".to_owned()).stack_size(64 << 10).spawn(|| {
            loop {
                std::thread::sleep(EVERY);
                // SAFETY: malloc_trim has no preconditions, and may be called beside all else.
                unsafe { libc::malloc_trim(0) };
            }
        });
    }
}
