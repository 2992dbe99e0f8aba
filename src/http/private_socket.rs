//! The private socket between the front end and the `tiny_http` backend, which no other user can reach.
//!
//! Owns the path of that Unix socket. Removes its name before the first request. So other users cannot connect to it,
//! and cannot use up the backend's descriptors or threads. If `/proc` does not reach the socket without a name, the
//! name stays, in a folder that only this user can enter. Must not know HTTP.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::{folders, sys};

/// The socket's name in its folder. Short, because a socket address has room for 107 bytes (unix(7)).
const NAME: &str = "s";

/// The address that the front end connects to.
#[derive(Debug)]
pub(super) struct Address {
    path: PathBuf,
    /// An `O_PATH` descriptor of the socket, by which `/proc/self/fd` reaches it.
    #[expect(dead_code, reason = "open as long as the address is used")]
    place: OwnedFd,
    /// The folder of the socket's name, if the name stays.
    folder: Option<Folder>,
}

/// A folder that is removed on drop.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn remove(&self) {
        let _ = fs::remove_file(self.0.join(NAME));
        let _ = fs::remove_dir(&self.0);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Address {
    /// Opens a connection.
    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.path)
    }

    /// Removes the socket's name, if it has one. Call it before the process exits: an exit drops nothing.
    pub(super) fn remove(&self) {
        if let Some(folder) = &self.folder {
            folder.remove();
        }
    }
}

/// Opens the socket. Returns its listener and its address.
///
/// # Errors
/// The reason why the last candidate folder cannot hold it.
pub(super) fn open() -> io::Result<(UnixListener, Address)> {
    first_of(folders::temporary())
}

/// Opens the socket in the first folder that can hold it. Otherwise returns why the last one cannot.
fn first_of(folders: impl IntoIterator<Item = PathBuf>) -> io::Result<(UnixListener, Address)> {
    let mut why = io::ErrorKind::NotFound.into();
    for folder in folders {
        match open_in(&folder, Path::new("/proc/self/fd")) {
            Ok(opened) => return Ok(opened),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// Opens a listener in a new folder with mode 0700 and an unpredictable name. If `descriptors` reaches the socket
/// without its name, the folder and the name are gone on return.
///
/// A Unix socket is found by its inode (unix(7)), and an open descriptor reaches the inode without a name
/// (`/proc/self/fd`, proc(5)). Only this process can use it, and those that may inspect this process: this user's and
/// root's. (Refused: an abstract name, which every user can connect to.) If someone removes a name that stayed, the
/// process ends: the backend cannot be reached any more.
fn open_in(parent: &Path, descriptors: &Path) -> io::Result<(UnixListener, Address)> {
    let mode = fs::metadata(parent)?.permissions().mode();
    let (writable_by_others, sticky) = (mode & 0o022 != 0, mode & 0o1000 != 0);
    // In such a folder others could rename ours, and put their own in its place.
    if writable_by_others && !sticky {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let folder = Folder(parent.join(folders::random_name()));
    fs::DirBuilder::new().mode(0o700).create(&folder.0)?;
    let path = folder.0.join(NAME);
    let listener = UnixListener::bind(&path)?;
    let place = sys::open_place(&path)?;
    let nameless = descriptors.join(place.as_raw_fd().to_string());
    // Try to connect: a security module may forbid it.
    let (path, folder) = if UnixStream::connect(&nameless).is_ok() {
        (nameless, None)
    } else {
        UnixStream::connect(&path)?;
        (path, Some(folder))
    };
    listener.accept()?;
    let address = Address {
        path,
        place,
        folder,
    };
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use super::{Address, first_of, open_in};
    use std::fs;
    use std::io::{self, Read, Write};
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};

    fn assert_it_works((listener, address): &(UnixListener, Address)) {
        let mut client = address.connect().unwrap();
        client.write_all(b"ping").unwrap();
        drop(client);
        let mut text = String::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "ping");
    }

    fn entries(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn the_private_socket_works_without_a_name() {
        let folder = folder("private-socket-nameless");
        let opened = open_in(&folder, Path::new("/proc/self/fd")).unwrap();
        assert!(entries(&folder).is_empty());
        assert_it_works(&opened);
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_named_private_socket_is_private_to_this_user_and_removed_with_its_address() {
        let folder = folder("private-socket-named");
        let opened = open_in(&folder, Path::new("/nonexistent")).unwrap();
        let own = entries(&folder);
        let [own] = own.as_slice() else {
            panic!("{own:?}");
        };
        assert_eq!(
            fs::metadata(own).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_it_works(&opened);
        drop(opened);
        assert!(entries(&folder).is_empty());
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_hold_the_socket_is_skipped() {
        let missing = PathBuf::from("/nonexistent");
        let error = first_of([missing.clone()]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let opened = first_of([missing, std::env::temp_dir()]).unwrap();
        assert_it_works(&opened);
    }
}
