//! Folders for temporary files, on a machine that may lack any of them.
//!
//! Owns the list of folders and unpredictable names. Must not know what is stored there.

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;

/// Environment variables that name folders for services and users. The first one may hold several paths.
const VARIABLES: &[&str] = &["RUNTIME_DIRECTORY", "TMPDIR", "XDG_RUNTIME_DIR"];
/// Folders that nearly every system has. `/dev/shm` is writable in a container with a read-only root.
const FOLDERS: &[&str] = &["/tmp", "/run", "/dev/shm", "/var/tmp"];

/// The folders to try, in this order. Does not check whether they exist or are writable.
pub(crate) fn temporary() -> impl Iterator<Item = PathBuf> {
    let named = VARIABLES.iter().filter_map(std::env::var_os);
    named
        .flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>())
        .filter(|path| path.is_absolute())
        .chain(FOLDERS.iter().map(PathBuf::from))
}

/// An unpredictable name for a file or a folder of this process.
pub(crate) fn random_name() -> String {
    // The system's randomness, which the standard library uses to seed its hash tables.
    format!("iperf3-exporter-{:016x}", RandomState::new().hash_one(()))
}
