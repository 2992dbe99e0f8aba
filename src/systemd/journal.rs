//! Whether standard error goes to systemd's journal (`JOURNAL_STREAM` of systemd.exec(5)). The journal reads a priority
//! prefix from each line and strips it (sd-daemon(3)).
//!
//! Must not know the format of a line.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;

use crate::number;

/// Whether systemd connected standard error to the journal and it still goes there. The variable alone is not enough: a
/// child inherits it even if its output is redirected.
pub(crate) fn has_stderr() -> bool {
    let stream = env::var("JOURNAL_STREAM");
    stream.is_ok_and(|stream| names(&stream, io::stderr().as_fd()))
}

/// Whether `DEVICE:INODE` identifies the file behind a descriptor.
fn names(stream: &str, fd: BorrowedFd<'_>) -> bool {
    let Some((device, inode)) = stream.split_once(':') else {
        return false;
    };
    let (Some(device), Some(inode)) = (number::whole(device), number::whole(inode)) else {
        return false;
    };
    // On a copy, because a `File` closes its descriptor when dropped.
    let file = fd.try_clone_to_owned().map(File::from);
    let metadata = file.and_then(|file| file.metadata());
    metadata.is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (device, inode))
}

#[cfg(test)]
mod tests {
    use super::names;
    use std::fs::File;
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_stream_is_identified_by_device_and_inode() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let writer = File::from(OwnedFd::from(writer));
        let metadata = writer.metadata().unwrap();
        let (device, inode) = (metadata.dev(), metadata.ino());
        assert!(names(&format!("{device}:{inode}"), writer.as_fd()));
        for stream in [
            format!("{}:{inode}", device + 1),
            format!("{device}:{}", inode + 1),
            format!("{device}:"),
            format!("{device}:{inode} "),
            format!("{device}"),
            ":".to_owned(),
            String::new(),
        ] {
            assert!(!names(&stream, writer.as_fd()), "{stream:?}");
        }
    }
}
