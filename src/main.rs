//! The program: everything is in the library's `cli` room.

use std::process::ExitCode;

// The buffers of a backup are large and go from thread to thread: glibc's allocator keeps twice the memory for them
// (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tenantvault::cli::main()
}
