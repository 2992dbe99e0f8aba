//! Which files were read, and whether they have changed since.
//!
//! Must not know what they contain. Each check reads all files again, like the exporter-toolkit: they are few and
//! short, and stat(2) misses a second write within one tick of the file system's clock.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use crate::file;

/// Longest file that is read: four times a bundle of all public certificate authorities.
const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// Files in the order in which they were read.
#[derive(Clone, Default)]
pub(super) struct Files(Vec<Seen>);

#[derive(Clone, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    /// Whether it holds the server's certificate or its private key.
    is_pair: bool,
    /// Of the bytes, so that a private key is not kept in memory; or of the reason why the file could not be read.
    digest: u64,
}

impl Files {
    /// Reads a file and records the result, even a failure.
    pub(super) fn read(&mut self, path: &Path, is_pair: bool) -> io::Result<Vec<u8>> {
        let bytes = file::read(path, FILE_LIMIT_BYTES);
        self.0.push(Seen {
            path: path.to_owned(),
            is_pair,
            digest: digest(&bytes),
        });
        bytes
    }

    /// Whether any content has changed since it was read, or the reason why a file cannot be read.
    pub(super) fn have_changed(&self) -> bool {
        self.0
            .iter()
            .any(|seen| digest(&file::read(&seen.path, FILE_LIMIT_BYTES)) != seen.digest)
    }

    /// Whether `other` has the same files with the same contents.
    pub(super) fn are_as_in(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// The same, but ignores the certificate and its key.
    pub(super) fn are_as_in_but_for_the_pair(&self, other: &Self) -> bool {
        let others = other.0.iter().filter(|seen| !seen.is_pair);
        self.0.iter().filter(|seen| !seen.is_pair).eq(others)
    }
}

/// 64 bits suffice: whoever can choose a file's contents has no use for a collision. Of an error the text counts, not
/// only its kind: two reasons of one kind are two lines in the log.
fn digest(bytes: &io::Result<Vec<u8>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes
        .as_ref()
        .map_err(ToString::to_string)
        .hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::{FILE_LIMIT_BYTES, Files};
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("iperf3-exporter-files-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn every_write_is_detected_and_a_touch_is_not_a_change() {
        let folder = Folder::new("write");
        let file = folder.0.join("a");
        fs::write(&file, "one").expect("a file");
        let mut files = Files::default();
        files.read(&file, false).expect("its bytes");
        assert!(!files.have_changed());
        // The same size, and often the same tick of the clock.
        fs::write(&file, "two").expect("a file");
        assert!(files.have_changed());
        // Another inode with the same contents.
        fs::write(folder.0.join("b"), "one").expect("a file");
        fs::rename(folder.0.join("b"), &file).expect("a rename");
        assert!(!files.have_changed());
    }

    #[test]
    fn a_file_that_is_replaced_removed_or_restored_has_changed() {
        let folder = Folder::new("replace");
        let (one, two, link) = (
            folder.0.join("1"),
            folder.0.join("2"),
            folder.0.join("link"),
        );
        fs::write(&one, "one").expect("a file");
        fs::write(&two, "two").expect("a file");
        std::os::unix::fs::symlink(&one, &link).expect("a link");
        let seen = || {
            let mut files = Files::default();
            let _ = files.read(&link, false);
            assert!(!files.have_changed());
            files
        };
        // As kubelet does.
        let files = seen();
        std::os::unix::fs::symlink(&two, folder.0.join("next")).expect("a link");
        fs::rename(folder.0.join("next"), &link).expect("a rename");
        assert!(files.have_changed());
        let files = seen();
        fs::remove_file(&two).expect("a removal");
        assert!(files.have_changed());
        let files = seen();
        fs::write(&two, "two").expect("a file");
        assert!(files.have_changed());
    }

    #[test]
    fn another_reason_why_a_file_cannot_be_read_is_a_change() {
        let folder = Folder::new("reason");
        let file = folder.0.join("a");
        let seen = || {
            let mut files = Files::default();
            files.read(&file, false).expect_err("a reason");
            assert!(!files.have_changed());
            files
        };
        let missing = seen();
        let long = fs::File::create(&file).expect("a file");
        long.set_len(FILE_LIMIT_BYTES + 1).expect("a length");
        assert!(missing.have_changed());
        let too_long = seen();
        // An error of the same kind, with another text.
        fs::remove_file(&file).expect("a removal");
        let made = Command::new("mkfifo").arg(&file).status();
        assert!(made.expect("mkfifo").success());
        assert!(too_long.have_changed());
    }

    #[test]
    fn the_certificate_pair_can_be_left_out_of_a_comparison() {
        let folder = Folder::new("compare");
        let (config, cert) = (folder.0.join("w.yml"), folder.0.join("cert"));
        let both = || {
            let mut files = Files::default();
            let _ = files.read(&config, false);
            let _ = files.read(&cert, true);
            files
        };
        fs::write(&config, "1").expect("a file");
        let before = both();
        fs::write(&cert, "1").expect("a file");
        assert!(both().are_as_in_but_for_the_pair(&before));
        assert!(!both().are_as_in(&before));
        fs::write(&config, "2").expect("a file");
        assert!(!both().are_as_in_but_for_the_pair(&before));
    }
}
