//! The private socket between the front end and the `tiny_http` backend, which no other user can reach.
//!
//! Owns where that socket is: a Unix socket whose name is gone before the first request, so that another user has
//! nothing to connect to and cannot take the backend's descriptors or threads. Where `/proc` does not lead to it, it
//! keeps its name, in a folder that only this user can enter. Must not know HTTP.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::{folders, sys};

/// The socket's name in its folder, short since an address has room for 107 bytes (unix(7)).
const NAME: &str = "s";

/// Where the front end connects to.
#[derive(Debug)]
pub(super) struct Address {
    path: PathBuf,
    /// The socket's inode, by which `/proc/self/fd` leads to it.
    #[expect(dead_code, reason = "open as long as the address is used")]
    place: OwnedFd,
    /// The folder that has its name, where it keeps one.
    folder: Option<Folder>,
}

/// A folder of its own that goes with the value.
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
    /// Makes a connection.
    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.path)
    }

    /// Takes the socket's name away, if it has one: for the end of the process, which drops nothing.
    pub(super) fn remove(&self) {
        if let Some(folder) = &self.folder {
            folder.remove();
        }
    }
}

/// Opens the socket: its two ends.
///
/// # Errors
/// Why the last of the folders cannot hold it.
pub(super) fn open() -> io::Result<(UnixListener, Address)> {
    first_of(folders::temporary())
}

/// The socket in the first folder that can hold it; why the last one could not.
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

/// A listener in a new folder with mode 0700 and a name that nobody can know before; both are gone on return where
/// `descriptors` leads to the socket without them.
///
/// A Unix socket is found by its inode (unix(7)), and an open descriptor leads to that without a name (proc(5),
/// `/proc/self/fd`): to this process, and to others only where they may look into it, which is this user's and
/// root's right. An abstract name would be there for everybody. Whoever takes a name away that is kept ends the
/// process: the backend cannot be reached then.
fn open_in(parent: &Path, descriptors: &Path) -> io::Result<(UnixListener, Address)> {
    let mode = fs::metadata(parent)?.permissions().mode();
    let (writable_by_others, sticky) = (mode & 0o022 != 0, mode & 0o1000 != 0);
    // There others could rename the folder, and put one of their own in its place.
    if writable_by_others && !sticky {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let folder = Folder(parent.join(folders::random_name()));
    fs::DirBuilder::new().mode(0o700).create(&folder.0)?;
    let path = folder.0.join(NAME);
    let listener = UnixListener::bind(&path)?;
    let place = sys::open_place(&path)?;
    let nameless = descriptors.join(place.as_raw_fd().to_string());
    // Whether it can be reached is seen by reaching it: security modules have their own opinion.
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

    fn assert_it_carries((listener, address): &(UnixListener, Address)) {
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
        assert_it_carries(&opened);
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn the_private_socket_with_a_name_is_this_users_and_goes_with_its_address() {
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
        assert_it_carries(&opened);
        drop(opened);
        assert!(entries(&folder).is_empty());
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_hold_it_is_passed_over() {
        let missing = PathBuf::from("/nonexistent");
        let error = first_of([missing.clone()]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let opened = first_of([missing, std::env::temp_dir()]).unwrap();
        assert_it_carries(&opened);
    }
}
