//! The program: everything is in the library's `cli` room.

use std::process::ExitCode;

/// glibc's allocator spends a tenth of a backup's CPU time, and a third of a listing's, on buffers that go from thread to thread
/// (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tenantvault::cli::main()
}
