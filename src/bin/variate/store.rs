//! The file that holds the snapshot.

use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::Mutex;

use variate::{Engine, Snapshot};

use crate::owned::OwnedFile;
use crate::shared::SAVED;

/// Where a snapshot is saved: always replaced whole, so that whoever reads the file finds one
/// document, and after a crash it is the last one that was committed or the one before.
pub struct Store {
    file: OwnedFile,
    /// What was last read or saved, by which another's hand is known: its hash, if the file is there.
    known: Mutex<Option<u64>>,
}

impl Store {
    /// An engine that begins with the document in this file, if it is there, and saves every
    /// commit to it.
    pub fn open(path: &Path) -> Result<Engine, Box<dyn Error>> {
        let file = OwnedFile::open(path)?;
        let document = file.read()?;
        let known = Mutex::new(document.as_deref().map(hash));
        let snapshot = match document {
            Some(document) => Snapshot::from_json_within(document, &SAVED)?,
            None => Snapshot::new(),
        };
        let store = Self { file, known };
        let engine = Engine::from_snapshot(snapshot);
        engine.journal(move |_, snapshot| {
            store.save(&snapshot.to_json()).inspect_err(|error| store.file.report(error))
        })?;
        Ok(engine)
    }

    fn save(&self, document: &str) -> io::Result<()> {
        let mut known = self.known.lock().map_err(|_| io::Error::other("a save has failed"))?;
        if self.file.read()?.as_deref().map(hash) != *known {
            return Err(io::Error::other("another program has changed it"));
        }
        self.file.replace(document.as_bytes())?;
        *known = Some(hash(document.as_bytes()));
        Ok(())
    }
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
