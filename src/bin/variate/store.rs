//! The file that holds the snapshot.

use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use variate::{Engine, Keeper};

use crate::kept::Entries;
use crate::owned::OwnedFile;
use crate::shared::SAVED;

/// Where a snapshot is saved: always replaced whole, so that whoever reads the file finds one
/// document, and after a crash it is the last one that was committed or the one before.
pub struct Store {
    file: OwnedFile,
    /// What was last read or saved, by which another's hand is known: its hash, if the file is there.
    known: Mutex<Option<u64>>,
}

/// A store that has been opened.
pub struct Opened {
    /// Begins with the document in the file, if it is there, and saves every commit to it.
    pub engine: Engine,
    /// Who got what, as the document says. No save has it any more.
    pub kept: Entries,
    pub store: Arc<Store>,
}

impl Store {
    pub fn open(path: &Path) -> Result<Opened, Box<dyn Error>> {
        let file = OwnedFile::open(path)?;
        let document = file.read()?;
        let known = Mutex::new(document.as_deref().map(hash));
        let (engine, kept) = match document {
            Some(document) => read(&document)?,
            None => (Engine::new(), Entries::new()),
        };
        let store = Arc::new(Self { file, known });
        let saving = Arc::clone(&store);
        engine.journal(move |_, snapshot| {
            saving.save(&snapshot.to_json()).inspect_err(|error| saving.file.report(error))
        })?;
        Ok(Opened { engine, kept, store })
    }

    /// Replaces the document in the file.
    ///
    /// # Errors
    /// When it cannot be written, or another program has changed it.
    pub fn save(&self, document: &str) -> io::Result<()> {
        let mut known = self.known.lock().map_err(|_| io::Error::other("a save has failed"))?;
        if self.file.read()?.as_deref().map(hash) != *known {
            return Err(io::Error::other("another program has changed it"));
        }
        self.file.replace(document.as_bytes())?;
        *known = Some(hash(document.as_bytes()));
        Ok(())
    }
}

/// What a document holds, and who got what.
fn read(document: &[u8]) -> Result<(Engine, Entries), variate::Error> {
    let keeper = Keeper::from_json_within(document, &SAVED)?;
    let snapshot = keeper.engine().snapshot();
    let mut kept = Entries::new();
    for experiment in snapshot.experiments() {
        let subjects = keeper.list(experiment.id())?;
        if !subjects.is_empty() {
            kept.insert(experiment.id().clone(), subjects.into_iter().collect());
        }
    }
    Ok((Engine::from_snapshot(snapshot), kept))
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
