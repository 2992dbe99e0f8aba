//! Which files were read, and whether they have changed since.
//!
//! Must not know what is in them. A look costs a stat(2) a file; contents are compared only when that says so, and
//! for a while after each reading: a file that is written twice within one tick of its clock looks the same to stat.

use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest file that is read: four times a bundle of all public authorities.
const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// Longest tick of a file system's clock: FAT counts in 2 s. Until a comparison this long after the reading has
/// shown no change, stat is not trusted. Counted by the monotonic clock, since a file server has a clock of its own.
const TICK: Duration = Duration::from_secs(2);

/// Files in the order of their reading.
#[derive(Clone)]
pub(super) struct Files {
    seen: Vec<Seen>,
    /// When the oldest of them that stat is not trusted about was read.
    read_at: Instant,
    /// Stat is trusted.
    is_settled: bool,
}

#[derive(Clone)]
struct Seen {
    /// The key that names it.
    field: &'static str,
    path: PathBuf,
    /// None when there is no such file.
    stamp: Option<Stamp>,
    /// Of the bytes, not the bytes: a private key is not kept. None when it could not be read.
    digest: Option<u64>,
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Files {
    /// None read yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            seen: Vec::new(),
            read_at: now,
            is_settled: false,
        }
    }

    /// Reads a file and remembers it, whether or not it could be read.
    pub(super) fn read(&mut self, field: &'static str, path: &Path) -> io::Result<Vec<u8>> {
        // Before the reading: a change during it shows at the next look.
        let stamp = stamp(path);
        let bytes = read(path);
        self.seen.push(Seen {
            field,
            path: path.to_owned(),
            stamp,
            digest: bytes.as_deref().ok().map(digest),
        });
        bytes
    }

    /// Whether contents have changed since they were read. A file that could not be read is tried at each look, since
    /// the cause may be elsewhere: descriptors, permissions of a folder.
    pub(super) fn have_changed(&mut self, now: Instant) -> bool {
        let is_same = self.seen.iter().all(|seen| stamp(&seen.path) == seen.stamp);
        if is_same && self.is_settled {
            return false;
        }
        let mut all_read = true;
        for seen in &mut self.seen {
            let stamp = stamp(&seen.path);
            let digest = read(&seen.path).as_deref().ok().map(digest);
            all_read &= digest.is_some();
            // Unreadable and yet the same to stat: there are no descriptors left, say. To be seen another time.
            let is_unknown = digest.is_none() && is_same;
            if digest != seen.digest && !is_unknown {
                return true;
            }
            seen.stamp = stamp;
        }
        if !is_same {
            self.read_at = now;
        }
        self.is_settled = all_read && now.saturating_duration_since(self.read_at) >= TICK;
        false
    }

    /// Whether these are the files of `other` with the same contents, those of `fields` left out.
    pub(super) fn are_as_in(&self, other: &Self, fields: &[&str]) -> bool {
        let rest = |files: &'_ Self| -> Vec<(PathBuf, Option<u64>)> {
            let seen = files.seen.iter();
            seen.filter(|seen| !fields.contains(&seen.field))
                .map(|seen| (seen.path.clone(), seen.digest))
                .collect()
        };
        rest(self) == rest(other)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let of = |metadata: Metadata| Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    };
    fs::metadata(path).ok().map(of)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // To open a pipe would wait for somebody to write, perhaps for ever.
    if fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other("it is a pipe, want a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_LIMIT_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LIMIT_BYTES {
        return Err(io::Error::other(format!(
            "it is longer than {FILE_LIMIT_BYTES} bytes"
        )));
    }
    Ok(bytes)
}

/// 64 bits are enough here: who can choose a file's contents needs no collision.
fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::{FILE_LIMIT_BYTES, Files, TICK, read, stamp};
    use std::path::PathBuf;
    use std::time::{Duration, Instant};
    use std::{fs, io};

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

    /// As if the last write had come within the same tick of the clock, with the same size, as the reading.
    fn forget_stat(files: &mut Files) {
        for seen in &mut files.seen {
            seen.stamp = stamp(&seen.path);
        }
    }

    #[test]
    fn a_write_that_stat_does_not_show_is_seen_until_a_tick_has_passed() {
        let folder = Folder::new("racy");
        let file = folder.0.join("a");
        let start = Instant::now();
        fs::write(&file, "one").expect("a file");
        let mut files = Files::new(start);
        files.read("a", &file).expect("its bytes");
        assert!(!files.have_changed(start));
        fs::write(&file, "two").expect("a file");
        forget_stat(&mut files);
        assert!(files.have_changed(start + TICK / 2));
        assert!(
            files.have_changed(start + TICK * 100),
            "it is compared however late the look is"
        );
        fs::write(&file, "one").expect("a file");
        forget_stat(&mut files);
        assert!(!files.have_changed(start + TICK / 2));
        assert!(!files.is_settled);
        assert!(!files.have_changed(start + TICK));
        assert!(files.is_settled);
        // From here on stat alone counts.
        fs::write(&file, "two").expect("a file");
        forget_stat(&mut files);
        assert!(!files.have_changed(start + TICK * 2));
    }

    #[test]
    fn a_touched_file_has_not_changed_and_is_watched_closely_again() {
        let folder = Folder::new("touch");
        let file = folder.0.join("a");
        let start = Instant::now();
        fs::write(&file, "one").expect("a file");
        let mut files = Files::new(start);
        files.read("a", &file).expect("its bytes");
        assert!(!files.have_changed(start + TICK));
        assert!(files.is_settled);
        // Another inode with the same contents.
        fs::write(folder.0.join("b"), "one").expect("a file");
        fs::rename(folder.0.join("b"), &file).expect("a rename");
        assert!(!files.have_changed(start + TICK * 2));
        assert!(!files.is_settled);
        assert!(!files.have_changed(start + TICK * 3));
        assert!(files.is_settled);
    }

    #[test]
    fn a_file_that_is_replaced_removed_or_back_has_changed() {
        let folder = Folder::new("replace");
        let (one, two, link) = (
            folder.0.join("1"),
            folder.0.join("2"),
            folder.0.join("link"),
        );
        fs::write(&one, "one").expect("a file");
        fs::write(&two, "two").expect("a file");
        std::os::unix::fs::symlink(&one, &link).expect("a link");
        let start = Instant::now();
        let settled = || {
            let mut files = Files::new(start);
            let _ = files.read("a", &link);
            assert!(!files.have_changed(start + TICK));
            files
        };
        // As kubelet does it.
        let mut files = settled();
        std::os::unix::fs::symlink(&two, folder.0.join("next")).expect("a link");
        fs::rename(folder.0.join("next"), &link).expect("a rename");
        assert!(files.have_changed(start + TICK * 2));
        let mut files = settled();
        fs::remove_file(&two).expect("a removal");
        assert!(files.have_changed(start + TICK * 2));
        let mut files = settled();
        assert!(!files.is_settled, "what cannot be read is tried again");
        fs::write(&two, "two").expect("a file");
        assert!(files.have_changed(start + TICK * 2));
    }

    #[test]
    fn what_is_no_file_of_bounded_length_is_not_read() {
        let folder = Folder::new("limits");
        assert_eq!(
            read(&folder.0.join("no")).map_err(|e| e.kind()),
            Err(io::ErrorKind::NotFound)
        );
        assert!(read(&folder.0).is_err());
        let file = folder.0.join("a");
        let limit = usize::try_from(FILE_LIMIT_BYTES).expect("a size");
        fs::write(&file, vec![b' '; limit]).expect("a file");
        assert_eq!(read(&file).expect("its bytes").len(), limit);
        fs::write(&file, vec![b' '; limit + 1]).expect("a file");
        assert_eq!(
            read(&file).map_err(|e| e.to_string()),
            Err("it is longer than 1048576 bytes".to_owned())
        );
        assert!(read("/dev/zero".as_ref()).is_err());
        assert_eq!(read("/dev/null".as_ref()).expect("nothing"), b"");
    }

    #[test]
    fn the_files_that_count_are_compared() {
        let folder = Folder::new("compare");
        let (config, cert) = (folder.0.join("w.yml"), folder.0.join("cert"));
        let both = || {
            let mut files = Files::new(Instant::now() + Duration::ZERO);
            let _ = files.read("config.file", &config);
            let _ = files.read("cert_file", &cert);
            files
        };
        fs::write(&config, "1").expect("a file");
        let before = both();
        fs::write(&cert, "1").expect("a file");
        assert!(both().are_as_in(&before, &["cert_file"]));
        assert!(!both().are_as_in(&before, &[]));
        fs::write(&config, "2").expect("a file");
        assert!(!both().are_as_in(&before, &["cert_file"]));
    }
}
