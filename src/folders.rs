//! Folders in which a file may be made for a while, on a machine of which nothing is known.
//!
//! Owns which they are, and names that nobody can know before; must not know what is put there.

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;

/// Folders that services and users have for what is theirs, by their variables. The first one may hold several.
const VARIABLES: &[&str] = &["RUNTIME_DIRECTORY", "TMPDIR", "XDG_RUNTIME_DIR"];
/// Folders that nearly every system has; `/dev/shm` is writable in a container whose root is not.
const FOLDERS: &[&str] = &["/tmp", "/run", "/dev/shm", "/var/tmp"];

/// The folders to try, in this order; which of them are there and writable is not looked at.
pub(crate) fn temporary() -> impl Iterator<Item = PathBuf> {
    let named = VARIABLES.iter().filter_map(std::env::var_os);
    named
        .flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>())
        .filter(|path| path.is_absolute())
        .chain(FOLDERS.iter().map(PathBuf::from))
}

/// A name that nobody can know before, for a file or a folder of this process.
pub(crate) fn random_name() -> String {
    // Randomness of the system's, which the standard library gives to its hash tables.
    format!("iperf3-exporter-{:016x}", RandomState::new().hash_one(()))
}
