//! The file that holds the snapshot.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::NamedTempFile;
use variate::{Engine, Snapshot};

use crate::shared::SAVED;

/// Where a snapshot is saved: always replaced whole, so that whoever reads the file finds one
/// document, and after a crash it is the last one that was committed or the one before.
pub struct Store {
    directory: PathBuf,
    file: PathBuf,
    /// What was last read or saved, by which another's hand is known: its hash, if the file is there.
    known: Mutex<Option<u64>>,
    /// Held as long as the server runs, so that no other one serves the same file.
    _lock: fs::File,
}

impl Store {
    /// An engine that begins with the document in this file, if it is there, and saves every
    /// commit to it.
    pub fn open(path: &Path) -> Result<Engine, Box<dyn Error>> {
        // What a link points to is replaced, and not the link.
        let target = match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            found => found?,
        };
        let store = Self::at(&target)?;
        let snapshot = match fs::read(&target) {
            Ok(document) => Snapshot::from_json_within(document, &SAVED)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Snapshot::new(),
            Err(error) => return Err(error.into()),
        };
        let engine = Engine::from_snapshot(snapshot);
        engine.journal(move |_, snapshot| {
            store.save(&snapshot.to_json()).inspect_err(|error| {
                let _ = writeln!(io::stderr(), "variate: {}: {error}", store.file.display());
            })
        })?;
        Ok(engine)
    }

    fn at(file: &Path) -> Result<Self, Box<dyn Error>> {
        let (Some(name), Some(parent)) = (file.file_name(), file.parent()) else {
            return Err("must be the name of a file".into());
        };
        let parent = if parent == Path::new("") { Path::new(".") } else { parent };
        let directory = parent.canonicalize().map_err(|error| format!("its directory: {error}"))?;
        let lock = fs::File::create(directory.join(beside(name, ".lock")))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => "another server has it".into(),
            fs::TryLockError::Error(error) => format!("its lock: {error}"),
        })?;
        let file = directory.join(name);
        Ok(Self { known: Mutex::new(hash_of(&file)?), file, directory, _lock: lock })
    }

    fn save(&self, document: &str) -> io::Result<()> {
        let mut known = self.known.lock().map_err(|_| io::Error::other("a save has failed"))?;
        if hash_of(&self.file)? != *known {
            return Err(io::Error::other("another program has changed it"));
        }
        let mut written = self.new_file()?;
        written.write_all(document.as_bytes())?;
        match fs::metadata(&self.file) {
            Ok(metadata) => written.as_file().set_permissions(metadata.permissions())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        written.as_file().sync_all()?;
        written.persist(&self.file).map_err(|error| error.error)?;
        *known = Some(hash(document.as_bytes()));
        // The rename stands whatever comes of this, which only makes it outlast a power cut.
        #[cfg(unix)]
        let _ = fs::File::open(&self.directory).and_then(|directory| directory.sync_all());
        Ok(())
    }

    /// A new file in the same directory, and so on the same file system, with the permissions that
    /// any new file of this process gets.
    fn new_file(&self) -> io::Result<NamedTempFile> {
        let name = beside(self.file.file_name().unwrap_or_default(), ".saving");
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

/// The hash of a file's content, if it is there.
fn hash_of(file: &Path) -> io::Result<Option<u64>> {
    match fs::read(file) {
        Ok(content) => Ok(Some(hash(&content))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
