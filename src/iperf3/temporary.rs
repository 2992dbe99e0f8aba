//! Where iperf3 puts what it sends: a file a stream, which it maps.
//!
//! Must not know how iperf3 is run.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where iperf3 looks for the folder's name, in this order.
const VARIABLES: [&str; 3] = ["TMPDIR", "TEMP", "TMP"];
const DEFAULT: &str = "/tmp";
/// The file of a stream of TCP, whose blocks are the longest.
const FILE_BYTES: usize = 128 * 1024;

/// The folder, when a stream's file has room in it.
///
/// # Errors
/// What is wrong with it, as one line.
pub(crate) fn check() -> Result<PathBuf, String> {
    let folder = VARIABLES.iter().find_map(env::var_os);
    let folder = folder.map_or_else(|| DEFAULT.into(), PathBuf::from);
    match try_out(&folder) {
        Ok(()) => Ok(folder),
        Err(error) => Err(format!(
            "cannot use the temporary folder `{}`, where iperf3 needs 128 KiB a stream: {error}",
            folder.display()
        )),
    }
}

fn try_out(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!("iperf3-exporter.{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    let written = file.write_all(&vec![0; FILE_BYTES]);
    fs::remove_file(&path)?;
    written
}

#[cfg(test)]
mod tests {
    use super::try_out;
    use std::path::Path;
    use std::{env, fs};

    #[test]
    fn a_folder_is_tried_out_and_left_as_it_was() {
        let folder =
            env::temp_dir().join(format!("iperf3-exporter-temporary-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        try_out(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(&folder).unwrap();
        assert!(try_out(&folder).is_err());
        assert!(try_out(Path::new("/proc")).is_err());
    }
}
