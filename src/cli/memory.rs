//! Where memory comes from: jemalloc, told to give back what is free. Without it, the C library's allocator, kept small.
//!
//! A backup of an hour takes and frees buffers of all sizes in all its threads. glibc keeps what is free between them, for good: of a tenant of
//! 541 mailboxes 340 MiB of 590 were in use after nine minutes. jemalloc keeps sizes apart, and gives pages back (docs/performance.md).

#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
mod jemalloc {
    #[global_allocator]
    static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

    /// What jemalloc is told before anything runs: few arenas, for buffers go from thread to thread, and pages that are free for a second
    /// go back to the system, which threads of its own see to.
    #[allow(unsafe_code)]
    // SAFETY: jemalloc reads a text that ends in a zero byte under this name, once, when it starts.
    #[unsafe(export_name = "malloc_conf")]
    #[used]
    static CONFIGURATION: Configuration =
        Configuration(c"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:true".as_ptr());

    /// A text of C's.
    #[repr(transparent)]
    struct Configuration(*const std::ffi::c_char);

    // SAFETY: it points to a constant.
    #[allow(unsafe_code)]
    unsafe impl Sync for Configuration {}
}

/// How often free memory is given back.
#[cfg(all(target_os = "linux", target_env = "gnu", not(feature = "jemalloc")))]
const EVERY: std::time::Duration = std::time::Duration::from_secs(10);

/// Keeps the memory of a program small; to be called before threads are started.
///
/// With jemalloc there is nothing to do. Of glibc's allocator it bounds the arenas: buffers of a backup are large and go from thread to
/// thread; left alone, it keeps free memory of each thread apart, and the peak is twice as high. What is free between what is in
/// use is given back every ten seconds.
#[allow(unsafe_code)]
pub fn keep_memory_small() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(feature = "jemalloc")))]
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

#[cfg(all(test, feature = "jemalloc", target_os = "linux"))]
mod tests {
    #[test]
    fn jemalloc_hears_what_it_is_told() {
        let held: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 1 << 20]).collect();
        let threads = std::fs::read_dir("/proc/self/task").expect("threads");
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        assert!(names.into_iter().any(|name| name.starts_with("jemalloc_bg")), "no thread gives memory back");
        assert_eq!(held.len(), 64);
    }
}
