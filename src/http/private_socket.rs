//! The private socket between the front end and the `tiny_http` backend, which no other user can reach.
//!
//! Owns where that socket is: a Unix socket whose name is gone before the first connection, so that another user has
//! nothing to connect to and cannot take the backend's descriptors or threads. Where `/proc` does not lead to it, it
//! keeps its name, in a folder that only this user can enter. Must not know HTTP.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::sys;

/// Folders that services and users have for what is theirs, by their variables. The first one may hold several.
const VARIABLES: &[&str] = &["RUNTIME_DIRECTORY", "TMPDIR", "XDG_RUNTIME_DIR"];
/// Folders that nearly every system has; `/dev/shm` is writable in a container whose root is not.
const FOLDERS: &[&str] = &["/tmp", "/run", "/dev/shm", "/var/tmp"];
/// The socket's name in its folder, short since an address has room for 107 bytes (unix(7)).
const NAME: &str = "s";

/// Where the front end connects to.
#[derive(Debug)]
pub(super) struct Address {
    path: PathBuf,
    /// The socket's inode, by which `/proc/self/fd` leads to it.
    #[expect(dead_code, reason = "open as long as the address is used")]
    place: Option<OwnedFd>,
    /// The folder that has its name.
    folder: Option<Folder>,
}

/// A folder of its own that goes with the value.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn remove(&self) {
        let _ = fs::remove_file(self.0.join(NAME));
        // Left behind only where somebody else can rename what is ours, and has.
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
    let folders = candidates();
    first_of(&folders, open_nameless).or_else(|_| first_of(&folders, open_named))
}

fn candidates() -> Vec<PathBuf> {
    let named = VARIABLES.iter().filter_map(std::env::var_os);
    let mut folders: Vec<PathBuf> = named
        .flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>())
        .filter(|path| path.is_absolute())
        .collect();
    folders.extend(FOLDERS.iter().map(PathBuf::from));
    folders
}

/// What the first folder gives that can hold the socket; why the last one could not.
fn first_of<T>(folders: &[PathBuf], open: fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let mut why = io::ErrorKind::NotFound.into();
    for folder in folders {
        match open(folder) {
            Ok(opened) => return Ok(opened),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// A new folder with mode 0700 and a name that nobody can know before.
fn new_folder(parent: &Path) -> io::Result<Folder> {
    let name = format!("iperf3-exporter-{:016x}", RandomState::new().hash_one(NAME));
    let folder = parent.join(name);
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(Folder(folder))
}

/// A listener whose name and whose folder are gone on return.
///
/// A Unix socket is found by its inode (unix(7)), and an open descriptor leads to that without a name (proc(5),
/// `/proc/self/fd`): to this process, and to others only where they may look into it, which is this user's and
/// root's right. An abstract name would be there for everybody.
fn open_nameless(parent: &Path) -> io::Result<(UnixListener, Address)> {
    let folder = new_folder(parent)?;
    let opened = sys::open_folder_place(&folder.0)?;
    // Whoever can rename what is ours could have put a folder of their own there.
    if !sys::is_of_this_user_alone(opened.as_fd())? {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // Through the descriptor, as the folder's path may be longer than an address.
    let listener = UnixListener::bind(path_of(&opened).join(NAME))?;
    let place = sys::open_place_in(opened.as_fd(), NAME);
    sys::unlink_in(opened.as_fd(), NAME)?;
    let place = place?;
    let address = Address {
        path: path_of(&place),
        place: Some(place),
        folder: None,
    };
    try_out(listener, address)
}

fn path_of(descriptor: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd()).into()
}

/// A listener that keeps its name, in a parent where nobody else can rename the folder. Whoever takes the name away
/// ends the process: the backend cannot be reached then.
fn open_named(parent: &Path) -> io::Result<(UnixListener, Address)> {
    let mode = fs::metadata(parent)?.permissions().mode();
    let (writable_by_others, sticky) = (mode & 0o022 != 0, mode & 0o1000 != 0);
    if writable_by_others && !sticky {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let folder = new_folder(parent)?;
    let path = folder.0.join(NAME);
    let listener = UnixListener::bind(&path)?;
    let address = Address {
        path,
        place: None,
        folder: Some(folder),
    };
    try_out(listener, address)
}

/// Whether it can be reached is seen by reaching it: security modules have their own opinion.
fn try_out(listener: UnixListener, address: Address) -> io::Result<(UnixListener, Address)> {
    let _tried = address.connect()?;
    listener.accept()?;
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use super::{Address, first_of, open_named, open_nameless};
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
        let opened = open_nameless(&folder).unwrap();
        assert!(entries(&folder).is_empty());
        assert_it_carries(&opened);
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn the_private_socket_with_a_name_is_this_users_and_goes_with_its_address() {
        let folder = folder("private-socket-named");
        let opened = open_named(&folder).unwrap();
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
        let error = first_of(std::slice::from_ref(&missing), open_nameless).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let opened = first_of(&[missing, std::env::temp_dir()], open_nameless).unwrap();
        assert_it_carries(&opened);
    }
}
