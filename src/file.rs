//! Files: reads of bounded length, and change detection.
//!
//! Must not know what the files contain.

use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use crate::sys;

/// Attributes that change when a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Reads a file of at most `limit_bytes`.
pub(crate) fn read(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let file = sys::open_at_once(path)?;
    if file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("it is a pipe, want a file"));
    }
    let mut bytes = Vec::new();
    file.take(limit_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        let why = format!("it is longer than {limit_bytes} bytes");
        return Err(io::Error::other(why));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::read;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::Duration;
    use std::{fs, io, thread};

    const LIMIT_BYTES: usize = 1000;

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("iperf3-exporter-file-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
        read(path, LIMIT_BYTES as u64)
    }

    #[test]
    fn only_files_within_the_limit_are_read() {
        let folder = Folder::new("limits");
        let missing = read_limited(&folder.0.join("no"));
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(read_limited(&folder.0).is_err());
        let file = folder.0.join("a");
        fs::write(&file, [b' '; LIMIT_BYTES]).unwrap();
        assert_eq!(read_limited(&file).unwrap().len(), LIMIT_BYTES);
        fs::write(&file, [b' '; LIMIT_BYTES + 1]).unwrap();
        let words = read_limited(&file).unwrap_err().to_string();
        assert_eq!(words, "it is longer than 1000 bytes");
        assert!(read_limited("/dev/zero".as_ref()).is_err());
        assert_eq!(read_limited("/dev/null".as_ref()).unwrap(), b"");
    }

    #[test]
    fn a_pipe_that_replaces_a_file_does_not_block() {
        let folder = Folder::new("pipe");
        let [file, pipe, place, next] = ["a", "pipe", "place", "next"].map(|n| folder.0.join(n));
        fs::write(&file, "x").unwrap();
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let put = move |what: &Path| {
            fs::hard_link(what, &next).unwrap();
            fs::rename(&next, &place).unwrap();
        };
        put(&file);
        let read_place = folder.0.join("place");
        let is_over = Arc::new(AtomicBool::new(false));
        let (sender, ended) = mpsc::channel();
        let reader = {
            let is_over = Arc::clone(&is_over);
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    match read_limited(&read_place) {
                        Ok(bytes) => assert_eq!(bytes, b"x"),
                        Err(error) => assert_eq!(error.to_string(), "it is a pipe, want a file"),
                    }
                }
                sender.send(()).unwrap();
            }
        };
        thread::spawn(reader);
        // Alternates between pipe and file, also between the check and the opening.
        for _ in 0..5000 {
            put(&pipe);
            put(&file);
        }
        is_over.store(true, Ordering::Relaxed);
        let ended = ended.recv_timeout(Duration::from_secs(30));
        assert_eq!(ended, Ok(()), "a read did not end");
    }
}
