//! The folder for iperf3's temporary files. iperf3 creates one file per stream, as long as one block, and maps it.
//!
//! Owns the choice of that folder: iperf3's default folder, or the first alternative that works if the default does
//! not. iperf3's own message hides the cause if it cannot create or fill its file: without space it reads
//! "/dev/urandom: Bad address". Must not know how a test is requested.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::log::Value;
use crate::{folders, sync, sys};

/// The variables in which iperf3 looks for the folder, in this order (`iperf_new_stream`). The exporter sets `TMPDIR`.
const VARIABLES: [&str; 3] = ["TMPDIR", "TEMP", "TMP"];
/// iperf3's folder if none of them is set.
const DEFAULT: &str = "/tmp";
/// A file occupies whole pages.
const PAGE_BYTES: u64 = 4096;
const KIB: u64 = 1024;

/// The temporary files of one test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TempFiles {
    /// One per stream and direction.
    pub(crate) count: u64,
    pub(crate) bytes_each: u64,
}

impl TempFiles {
    /// The file of a TCP test with one stream. Almost no test runs without space for it.
    pub(crate) const ONE_STREAM: Self = Self {
        count: 1,
        bytes_each: 128 * KIB,
    };

    fn bytes(self) -> u64 {
        self.count * self.bytes_each.next_multiple_of(PAGE_BYTES)
    }
}

/// The candidate folders on a machine.
#[derive(Debug)]
pub(crate) struct TempFolders {
    /// The folder that iperf3 uses by default.
    usual: PathBuf,
    others: Vec<PathBuf>,
    /// Whether no folder worked at the last check.
    is_broken: AtomicBool,
    /// The folder found last, and the change to it until `take_change` takes it.
    latest: Mutex<(PathBuf, Option<Found>)>,
}

/// A folder that works.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) folder: PathBuf,
    /// Why iperf3's default folder does not work, if this is another one.
    pub(crate) instead: Option<Arc<FolderError>>,
}

/// Why a folder does not work.
#[derive(Debug)]
pub(crate) enum FolderError {
    CannotCreateFile {
        folder: PathBuf,
        error: io::Error,
    },
    /// It has only this many bytes free.
    NotEnoughSpace {
        folder: PathBuf,
        free: u64,
        files: TempFiles,
    },
}

impl Value for FolderError {}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotCreateFile { folder, error } => {
                let folder = folder.display();
                write!(
                    f,
                    "cannot create a file in the temporary folder {folder}: {error}"
                )
            }
            Self::NotEnoughSpace {
                folder,
                free,
                files,
            } => write!(
                f,
                "not enough space in the temporary folder {}: {} kB free, {} kB needed ({} kB per stream)",
                folder.display(),
                free / KIB,
                files.bytes() / KIB,
                files.bytes() / files.count.max(1) / KIB,
            ),
        }
    }
}

/// No folder works.
#[derive(Debug)]
pub(crate) struct NoFolder {
    /// Why iperf3's default folder does not work.
    usual: FolderError,
    others: Vec<PathBuf>,
}

impl Value for NoFolder {}

impl fmt::Display for NoFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.others.iter().map(|path| path.display().to_string());
        let others = others.collect::<Vec<_>>().join(", ");
        let usual = &self.usual;
        write!(f, "{usual}; no other folder works either ({others})")
    }
}

impl TempFolders {
    /// The folders according to this process's environment.
    pub(crate) fn from_environment() -> Self {
        let own = VARIABLES.iter().find_map(std::env::var_os);
        Self::new(own, folders::temporary())
    }

    /// `own` is the value that iperf3 finds in its variables. An empty value leads iperf3 to the root folder.
    fn new(own: Option<OsString>, others: impl Iterator<Item = PathBuf>) -> Self {
        let usual = PathBuf::from(own.unwrap_or_else(|| DEFAULT.into()));
        let is_empty = usual.as_os_str().is_empty();
        let usual = if is_empty { "/".into() } else { usual };
        let mut several = Vec::new();
        for folder in others {
            if folder != usual && !several.contains(&folder) {
                several.push(folder);
            }
        }
        Self {
            latest: Mutex::new((usual.clone(), None)),
            usual,
            others: several,
            is_broken: AtomicBool::new(false),
        }
    }

    /// Finds a folder with space for these files.
    pub(crate) fn find(&self, files: TempFiles) -> Result<Found, NoFolder> {
        let found = match check(&self.usual, files) {
            Ok(()) => Ok(Found {
                folder: self.usual.clone(),
                instead: None,
            }),
            Err(error) => self.other(error, files),
        };
        self.is_broken.store(found.is_err(), Ordering::Relaxed);
        if let Ok(found) = &found {
            let (folder, news) = &mut *sync::lock(&self.latest);
            if *folder != found.folder {
                folder.clone_from(&found.folder);
                *news = Some(found.clone());
            }
        }
        found
    }

    /// The first other folder that works, instead of the usual one with its error.
    fn other(&self, usual: FolderError, files: TempFiles) -> Result<Found, NoFolder> {
        let mut others = self.others.iter();
        match others.find(|path| check(path, files).is_ok()) {
            Some(other) => Ok(Found {
                folder: other.clone(),
                instead: Some(Arc::new(usual)),
            }),
            None => Err(NoFolder {
                usual,
                others: self.others.clone(),
            }),
        }
    }

    /// Returns the latest change of the folder, once.
    pub(crate) fn take_change(&self) -> Option<Found> {
        sync::lock(&self.latest).1.take()
    }

    /// The variable that iperf3's environment needs so that its files have space. `None` if iperf3's default folder
    /// works, or if no folder works.
    pub(super) fn variable(&self, files: TempFiles) -> Option<(&'static str, OsString)> {
        let found = self.find(files).ok()?;
        found.instead.map(|_| (VARIABLES[0], found.folder.into()))
    }

    /// Whether tests can run, as far as known. Checks the folders only if none worked the last time.
    pub(crate) fn health(&self) -> Result<(), NoFolder> {
        if self.is_broken.load(Ordering::Relaxed) {
            return self.find(TempFiles::ONE_STREAM).map(drop);
        }
        Ok(())
    }

    /// Records that a test succeeded: wherever its files were, there was space. A wrapper script may use its own
    /// folder.
    pub(super) fn note_success(&self) {
        self.is_broken.store(false, Ordering::Relaxed);
    }
}

/// Checks that a folder accepts a new file, by creating one, and that it has enough space.
fn check(folder: &Path, files: TempFiles) -> Result<(), FolderError> {
    create_file(folder).map_err(|error| FolderError::CannotCreateFile {
        folder: folder.to_owned(),
        error,
    })?;
    match sys::free_bytes(folder) {
        Some(free) if free < files.bytes() => Err(FolderError::NotEnoughSpace {
            folder: folder.to_owned(),
            free,
            files,
        }),
        _ => Ok(()),
    }
}

/// Creates a file and removes it. One without a name is not left behind when this process ends meanwhile, but not every
/// file system has them.
fn create_file(folder: &Path) -> io::Result<()> {
    if sys::create_unnamed(folder).is_ok() {
        return Ok(());
    }
    let path = folder.join(folders::random_name());
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    let _ = fs::remove_file(&path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{TempFiles, TempFolders};
    use std::path::PathBuf;

    fn folders(own: &str, others: &[PathBuf]) -> TempFolders {
        TempFolders::new(Some(own.into()), others.iter().cloned())
    }

    #[test]
    fn the_usual_folder_is_kept_as_long_as_it_works() {
        let temp = std::env::temp_dir();
        let folders = folders(temp.to_str().unwrap(), &[PathBuf::from("/dev/shm")]);
        let found = folders.find(TempFiles::ONE_STREAM).unwrap();
        assert!(found.instead.is_none());
        assert_eq!(found.folder, temp);
        assert_eq!(folders.variable(TempFiles::ONE_STREAM), None);
    }

    #[test]
    fn the_first_alternative_that_works_replaces_the_usual_folder() {
        let temp = std::env::temp_dir();
        let folders = folders(
            "/nonexistent",
            &["/nonexistent".into(), "/nowhere".into(), temp.clone()],
        );
        let why = "cannot create a file in the temporary folder /nonexistent: No such file or directory (os error 2)";
        let found = folders.find(TempFiles::ONE_STREAM).unwrap();
        assert_eq!(found.folder, temp);
        assert_eq!(found.instead.unwrap().to_string(), why);
        assert_eq!(
            folders.variable(TempFiles::ONE_STREAM),
            Some(("TMPDIR", temp.into()))
        );
    }

    #[test]
    fn each_change_of_the_folder_is_reported_once() {
        let temp = std::env::temp_dir();
        let usual = temp.join(crate::folders::random_name());
        std::fs::create_dir(&usual).unwrap();
        let folders = folders(usual.to_str().unwrap(), std::slice::from_ref(&temp));
        let change = || {
            folders.find(TempFiles::ONE_STREAM).unwrap();
            let change = folders.take_change();
            change.map(|found| (found.folder, found.instead.is_some()))
        };
        assert_eq!(change(), None);
        std::fs::remove_dir(&usual).unwrap();
        assert_eq!(change(), Some((temp, true)));
        assert_eq!(change(), None);
        std::fs::create_dir(&usual).unwrap();
        assert_eq!(change(), Some((usual.clone(), false)));
        assert_eq!(change(), None);
        std::fs::remove_dir(&usual).unwrap();
    }

    #[test]
    fn missing_space_is_reported_with_numbers() {
        let temp = std::env::temp_dir();
        let folders = folders(temp.to_str().unwrap(), &[]);
        let files = TempFiles {
            count: 1 << 30,
            bytes_each: 1 << 30,
        };
        let message = folders.find(files).unwrap_err().to_string();
        let needed = "kB free, 1125899906842624 kB needed (1048576 kB per stream)";
        assert!(message.contains(needed), "{message}");
    }

    #[test]
    fn it_is_broken_until_a_folder_works_or_a_test_succeeds() {
        let folders = folders("/nonexistent", &["/nowhere".into(), "/dev/null".into()]);
        folders.health().unwrap();
        assert_eq!(folders.variable(TempFiles::ONE_STREAM), None);
        let error = folders.health().unwrap_err().to_string();
        let expected = "cannot create a file in the temporary folder /nonexistent: No such file or directory \
                        (os error 2); no other folder works either (/nowhere, /dev/null)";
        assert_eq!(error, expected);
        folders.note_success();
        folders.health().unwrap();
        // A folder with too little space for one test is enough for others.
        let temp = std::env::temp_dir();
        let folders = super::tests::folders(temp.to_str().unwrap(), &[]);
        let files = TempFiles {
            count: 1 << 30,
            bytes_each: 1 << 30,
        };
        folders.find(files).unwrap_err();
        folders.health().unwrap();
    }

    #[test]
    fn an_empty_variable_leads_to_the_root_folder() {
        assert_eq!(folders("", &[]).usual, PathBuf::from("/"));
        assert_eq!(
            TempFolders::new(None, [].into_iter()).usual,
            PathBuf::from("/tmp")
        );
    }
}
