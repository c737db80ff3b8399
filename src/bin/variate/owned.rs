//! A file that one server has to itself.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file that need not be there yet, and that no other server uses meanwhile.
pub struct OwnedFile {
    directory: PathBuf,
    path: PathBuf,
    /// Held as long as the server runs.
    _lock: fs::File,
}

impl OwnedFile {
    /// The file of this path; of a link, what it points to.
    ///
    /// # Errors
    /// When another server has it, or it cannot be a file.
    pub fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        // What a link points to is replaced, and not the link.
        let target = match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            found => found?,
        };
        let (Some(name), Some(parent)) = (target.file_name(), target.parent()) else {
            return Err("must be the name of a file".into());
        };
        let parent = if parent == Path::new("") { Path::new(".") } else { parent };
        let directory = parent.canonicalize().map_err(|error| format!("its directory: {error}"))?;
        let lock = fs::File::create(directory.join(beside(name, ".lock")))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => "another server has it".into(),
            fs::TryLockError::Error(error) => format!("its lock: {error}"),
        })?;
        Ok(Self { path: directory.join(name), directory, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content, if the file is there.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the content whole, so that whoever reads the file finds the old or the new one, also
    /// after a crash.
    pub fn replace(&self, content: &[u8]) -> io::Result<()> {
        let mut written = self.new_file()?;
        written.write_all(content)?;
        match fs::metadata(&self.path) {
            Ok(metadata) => written.as_file().set_permissions(metadata.permissions())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        written.as_file().sync_all()?;
        written.persist(&self.path).map_err(|error| error.error)?;
        // The rename stands whatever comes of this, which only makes it outlast a power cut.
        #[cfg(unix)]
        let _ = fs::File::open(&self.directory).and_then(|directory| directory.sync_all());
        Ok(())
    }

    /// Tells whoever started the server why the file cannot be written.
    pub fn report(&self, error: &io::Error) {
        let _ = writeln!(io::stderr(), "variate: {}: {error}", self.path.display());
    }

    /// A new file in the same directory, and so on the same file system, with the permissions that
    /// any new file of this process gets.
    fn new_file(&self) -> io::Result<NamedTempFile> {
        let name = beside(self.path.file_name().unwrap_or_default(), ".saving");
        // A save that was cut short leaves it behind.
        match fs::remove_file(self.directory.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(&name).rand_bytes(0);
        #[cfg(unix)]
        let anyone: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        #[cfg(unix)]
        builder.permissions(anyone);
        builder.tempfile_in(&self.directory)
    }
}

/// The name of a hidden file that goes with another.
fn beside(name: &OsStr, suffix: &str) -> OsString {
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(suffix);
    beside
}
