//! The way from the front end to the server behind it: a socket that nobody else can reach.
//!
//! Owns where that socket is. It is a Unix one whose name is gone before the first connection: another user has
//! nothing to connect to, and so cannot take the server's descriptors or threads. A port of the loopback address is
//! the second choice, for a system without `/proc` or without a folder to write in. Must not know HTTP.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::sys;

/// Folders that services and users have for what is theirs, by their variables. The first one may hold several.
const VARIABLES: &[&str] = &["RUNTIME_DIRECTORY", "TMPDIR", "XDG_RUNTIME_DIR"];
/// Folders that nearly every system has; `/dev/shm` is writable in a container whose root is not.
const FOLDERS: &[&str] = &["/tmp", "/run", "/dev/shm", "/var/tmp"];
/// The socket's name in its folder, as short as its life.
const NAME: &str = "s";

/// The server's end.
pub(crate) enum Listener {
    /// The private socket.
    Unix(UnixListener),
    /// The port of the loopback address.
    Tcp(TcpListener),
}

/// Where the front end connects to.
#[derive(Clone, Debug)]
pub(crate) struct Address(To);

#[derive(Clone, Debug)]
enum To {
    /// The socket's place, by which it is found as long as this is open.
    Unix(Arc<OwnedFd>),
    Tcp(SocketAddr),
}

/// A connection to the server.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Over the private socket.
    Unix(UnixStream),
    /// Over the port.
    Tcp(TcpStream),
}

/// Opens the way: its two ends, and why it is the second choice if it is.
pub(crate) fn open() -> io::Result<(Listener, Address, Option<io::Error>)> {
    match open_private(candidates()) {
        Ok((listener, to)) => Ok((Listener::Unix(listener), Address(to), None)),
        Err(why) => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            sys::set_nodelay(&listener)?;
            let to = To::Tcp(listener.local_addr()?);
            Ok((Listener::Tcp(listener), Address(to), Some(why)))
        }
    }
}

fn candidates() -> impl Iterator<Item = PathBuf> {
    let named = VARIABLES.iter().filter_map(std::env::var_os);
    let named: Vec<PathBuf> = named
        .flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>())
        .filter(|path| path.is_absolute())
        .collect();
    named.into_iter().chain(FOLDERS.iter().map(PathBuf::from))
}

/// The private socket in the first folder that can hold it; why the last one could not.
fn open_private(folders: impl Iterator<Item = PathBuf>) -> io::Result<(UnixListener, To)> {
    let mut why = io::ErrorKind::NotFound.into();
    for folder in folders {
        match open_private_in(&folder) {
            Ok(way) => return Ok(way),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// A listener in a folder of its own, with mode 0700, whose name and whose folder's name are gone on return.
///
/// A Unix socket is found by its inode (unix(7)), and an open descriptor leads to that without a name (proc(5),
/// `/proc/self/fd`): to this process, and to others only where they may look into it, which is this user's and
/// root's right. An abstract name would be there for everybody.
fn open_private_in(parent: &Path) -> io::Result<(UnixListener, To)> {
    // Nobody can be in the way by knowing the name; that the folder is ours is looked at below.
    let name = format!("iperf3-exporter-{:016x}", RandomState::new().hash_one(NAME));
    let folder = parent.join(name);
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let made = listen_in(&folder);
    // Left behind only where somebody else can rename what is ours, and has.
    let _ = fs::remove_dir(&folder);
    let (listener, place) = made?;
    // Whether it can be reached is seen by reaching it: security modules have their own opinion.
    let address = Address(To::Unix(Arc::new(place)));
    let _tried = address.connect()?;
    listener.accept()?;
    Ok((listener, address.0))
}

/// A listener in `folder`, and its place, whose name is gone.
fn listen_in(folder: &Path) -> io::Result<(UnixListener, OwnedFd)> {
    let folder = sys::open_folder_place(folder)?;
    if !sys::is_of_this_user_alone(folder.as_fd())? {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // Through the descriptor: the address has room for 107 bytes (unix(7)), and a folder's path may be longer.
    let listener = UnixListener::bind(path_of(&folder).join(NAME))?;
    let place = sys::open_place_in(folder.as_fd(), NAME);
    sys::unlink_in(folder.as_fd(), NAME)?;
    Ok((listener, place?))
}

fn path_of(descriptor: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd()).into()
}

impl Address {
    /// Makes a connection.
    pub(crate) fn connect(&self) -> io::Result<Stream> {
        match &self.0 {
            To::Unix(place) => UnixStream::connect(path_of(place)).map(Stream::Unix),
            To::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}

impl Stream {
    /// The longest a read may block; none for as long as it takes.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(timeout),
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, open_private, open_private_in};
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let name = format!("iperf3-exporter-way-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn the_private_socket_works_without_a_name() {
        // Longer than an address of a Unix socket can be.
        let folder = folder(&"x".repeat(150));
        let (listener, to) = open_private_in(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(&folder).unwrap();
        let mut stream = Address(to.clone()).connect().unwrap();
        stream.write_all(b"there").unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        let mut bytes = [0; 5];
        accepted.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"there");
        // Once the listener is gone nothing is taken for it.
        drop(listener);
        let error = Address(to).connect().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_folder_that_cannot_hold_it_is_passed_over() {
        let folder = folder("passed-over");
        let missing = folder.join("missing");
        let file = folder.join("file");
        fs::write(&file, "").unwrap();
        assert!(open_private([missing.clone(), file.clone()].into_iter()).is_err());
        assert!(open_private([missing, file.clone(), folder.clone()].into_iter()).is_ok());
        fs::remove_file(file).unwrap();
        // Empty again.
        fs::remove_dir(folder).unwrap();
    }
}
