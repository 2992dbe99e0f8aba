//! The folder for iperf3's temporary files: it makes one a stream, as long as a block, and maps it.
//!
//! Owns which folder that is: the one that iperf3 takes by itself, or the first other one where that does not work.
//! iperf3 itself does not say that its file could not be made or filled: without room it reads "/dev/urandom: Bad
//! address". Must not know how a test is asked for.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{folders, sync, sys};

/// Where iperf3 looks for the folder, in this order (`iperf_new_stream`), and sets it again.
const VARIABLES: [&str; 3] = ["TMPDIR", "TEMP", "TMP"];
/// Its folder without any of them.
const DEFAULT: &str = "/tmp";
/// Files take whole pages.
const PAGE_BYTES: u64 = 4096;
const KIB: u64 = 1024;

/// The files of a test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TempFiles {
    /// One for each stream, and each way.
    pub(crate) count: u64,
    pub(crate) bytes_each: u64,
}

impl TempFiles {
    /// Those of TCP with one stream: without room for them hardly any test runs.
    pub(crate) const ONE_STREAM: Self = Self {
        count: 1,
        bytes_each: 128 * KIB,
    };

    fn bytes(self) -> u64 {
        self.count * self.bytes_each.next_multiple_of(PAGE_BYTES)
    }
}

/// The folders of a machine.
#[derive(Debug)]
pub(crate) struct TempFolders {
    /// iperf3's own.
    usual: PathBuf,
    others: Vec<PathBuf>,
    /// None of them worked when it was last looked.
    is_broken: AtomicBool,
    /// The one that was found last, and whether that was news.
    latest: Mutex<(PathBuf, Option<Found>)>,
}

/// A folder that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) folder: PathBuf,
    /// Why iperf3's own one does not, where it is another.
    pub(crate) instead: Option<String>,
}

impl TempFolders {
    /// Those of this process' environment.
    pub(crate) fn from_environment() -> Self {
        let own = VARIABLES.iter().find_map(std::env::var_os);
        Self::new(own, folders::temporary())
    }

    /// `own` is what iperf3 finds in its variables; an empty one leads it to the root.
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

    /// A folder with room for these files.
    ///
    /// # Errors
    /// What iperf3's own folder lacks, when no other works either.
    pub(crate) fn find(&self, files: TempFiles) -> Result<Found, String> {
        let mut found = check(&self.usual, files).map(|()| Found {
            folder: self.usual.clone(),
            instead: None,
        });
        if let Err(fault) = &found
            && let Some(other) = self.others.iter().find(|path| check(path, files).is_ok())
        {
            found = Ok(Found {
                folder: other.clone(),
                instead: Some(fault.clone()),
            });
        }
        self.is_broken.store(found.is_err(), Ordering::Relaxed);
        if let Ok(found) = &found {
            let (folder, news) = &mut *sync::lock(&self.latest);
            if *folder != found.folder {
                folder.clone_from(&found.folder);
                *news = Some(found.clone());
            }
        }
        found.map_err(|fault| {
            let others = self.others.iter().map(|path| path.display().to_string());
            let others = others.collect::<Vec<_>>().join(", ");
            format!("{fault}; no other folder works either ({others})")
        })
    }

    /// The folder that was found last, when it is another one than before and that was not told yet.
    pub(crate) fn take_change(&self) -> Option<Found> {
        sync::lock(&self.latest).1.take()
    }

    /// What iperf3's environment needs to have so that its files have room: nothing where its own folder has, or none has.
    pub(super) fn variable(&self, files: TempFiles) -> Option<(&'static str, OsString)> {
        let found = self.find(files).ok()?;
        found.instead.map(|_| (VARIABLES[0], found.folder.into()))
    }

    /// Whether tests can run, as far as is known: a folder is looked at only when none worked the last time.
    pub(crate) fn health(&self) -> Result<(), String> {
        if self.is_broken.load(Ordering::Relaxed) {
            return self.find(TempFiles::ONE_STREAM).map(drop);
        }
        Ok(())
    }

    /// A test has succeeded: wherever its files were, there is such a place. A wrapper script may have one of its own.
    pub(super) fn note_success(&self) {
        self.is_broken.store(false, Ordering::Relaxed);
    }
}

/// Whether files can be made in a folder, which is seen by making one, and have room.
fn check(folder: &Path, files: TempFiles) -> Result<(), String> {
    let shown = folder.display();
    let path = folder.join(folders::random_name());
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    made.map_err(|error| format!("cannot create a file in the temporary folder {shown}: {error}"))?;
    let _ = fs::remove_file(&path);
    match sys::free_bytes(folder) {
        Some(free) if free < files.bytes() => Err(format!(
            "not enough space in the temporary folder {shown}: {} kB free, {} kB needed ({} kB per stream)",
            free / KIB,
            files.bytes() / KIB,
            files.bytes() / files.count.max(1) / KIB,
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, TempFiles, TempFolders};
    use std::path::PathBuf;

    fn folders(own: &str, others: &[PathBuf]) -> TempFolders {
        TempFolders::new(Some(own.into()), others.iter().cloned())
    }

    #[test]
    fn the_usual_folder_is_kept_as_long_as_it_works() {
        let temp = std::env::temp_dir();
        let folders = folders(temp.to_str().unwrap(), &[PathBuf::from("/dev/shm")]);
        let found = folders.find(TempFiles::ONE_STREAM).unwrap();
        assert_eq!((found.folder, found.instead), (temp, None));
        assert_eq!(folders.variable(TempFiles::ONE_STREAM), None);
    }

    #[test]
    fn another_folder_takes_its_place_and_the_first_that_works_does() {
        let temp = std::env::temp_dir();
        let folders = folders(
            "/nonexistent",
            &["/nonexistent".into(), "/nowhere".into(), temp.clone()],
        );
        let why = "cannot create a file in the temporary folder /nonexistent: No such file or directory (os error 2)";
        let found = Found {
            folder: temp.clone(),
            instead: Some(why.to_owned()),
        };
        assert_eq!(folders.find(TempFiles::ONE_STREAM), Ok(found));
        assert_eq!(
            folders.variable(TempFiles::ONE_STREAM),
            Some(("TMPDIR", temp.into()))
        );
    }

    #[test]
    fn each_change_of_the_folder_is_told_once() {
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
    fn what_is_missing_is_told_with_its_numbers() {
        let temp = std::env::temp_dir();
        let folders = folders(temp.to_str().unwrap(), &[]);
        let files = TempFiles {
            count: 1 << 30,
            bytes_each: 1 << 30,
        };
        let words = folders.find(files).unwrap_err();
        let needed = "kB free, 1125899906842624 kB needed (1048576 kB per stream)";
        assert!(words.contains(needed), "{words}");
    }

    #[test]
    fn it_is_broken_until_a_folder_works_or_a_test_succeeds() {
        let folders = folders("/nonexistent", &[]);
        assert_eq!(folders.health(), Ok(()));
        assert_eq!(folders.variable(TempFiles::ONE_STREAM), None);
        assert!(folders.health().is_err());
        folders.note_success();
        assert_eq!(folders.health(), Ok(()));
        // What is too much for one test is enough for others.
        let temp = std::env::temp_dir();
        let folders = super::tests::folders(temp.to_str().unwrap(), &[]);
        let files = TempFiles {
            count: 1 << 30,
            bytes_each: 1 << 30,
        };
        folders.find(files).unwrap_err();
        assert_eq!(folders.health(), Ok(()));
    }

    #[test]
    fn iperf3_takes_an_empty_variable_at_its_word() {
        assert_eq!(folders("", &[]).usual, PathBuf::from("/"));
        assert_eq!(
            TempFolders::new(None, [].into_iter()).usual,
            PathBuf::from("/tmp")
        );
    }
}
