//! The file that holds who got what.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use variate::{AssignmentStore, ExperimentId, KeptAssignment, MemoryStore, Snapshot};

use crate::owned::OwnedFile;
use crate::strict::WholeObject;

/// The first line, by which the file is known for one of these.
const FORMAT: &str = r#"{"format":"variate-kept/1"}"#;

/// Remembers assignments in memory, and every step of it as a line of a file, from which the next
/// server remembers them again.
///
/// Whoever is attached or detached has been written to the disk by the time that it is answered.
/// What was drawn is left to the system to write: it outlasts the end of the server and not a power
/// cut, after which a subject is drawn again, and differently only if the experiment has changed.
pub struct KeptFile {
    memory: MemoryStore,
    log: Mutex<Log>,
}

/// Entries by experiment and by the id of the subject.
pub type Entries = BTreeMap<ExperimentId, BTreeMap<String, KeptAssignment>>;

/// What a line says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    Put { experiment_id: ExperimentId, subject_id: String, kept: KeptAssignment },
    Remove { experiment_id: ExperimentId, subject_id: String },
    Clear { experiment_id: ExperimentId },
}

impl KeptFile {
    /// What is remembered in this file, of the experiments that there are, and of other subjects
    /// what is brought. The file, which is created if it is not there, then has a line for each entry
    /// and no more, and is on the disk.
    ///
    /// # Errors
    /// When another server has the file, or a line is faulty. A last line without an end was cut
    /// short, and is none.
    pub fn open(
        path: &Path,
        snapshot: &Snapshot,
        brought: Entries,
    ) -> Result<Self, Box<dyn Error>> {
        let file = OwnedFile::open(path)?;
        let mut entries = read(&file.read()?.unwrap_or_default())?;
        entries.retain(|experiment_id, _| snapshot.experiment(experiment_id).is_some());
        for (experiment_id, subjects) in brought {
            let own = entries.entry(experiment_id).or_default();
            for (subject_id, kept) in subjects {
                own.entry(subject_id).or_insert(kept);
            }
        }

        let memory = MemoryStore::new();
        let mut compact = format!("{FORMAT}\n").into_bytes();
        for (experiment_id, subjects) in entries {
            for (subject_id, kept) in subjects {
                memory.put(&experiment_id, &subject_id, &kept)?;
                let experiment_id = experiment_id.clone();
                compact.extend(Step::Put { experiment_id, subject_id, kept }.line()?);
            }
        }
        file.replace(&compact)?;
        let log = Log { file, length: compact.len() as u64, torn: false };
        Ok(Self { memory, log: Mutex::new(log) })
    }

    fn log(&self) -> io::Result<MutexGuard<'_, Log>> {
        self.log.lock().map_err(|_| io::Error::other("a write has failed"))
    }
}

impl AssignmentStore for KeptFile {
    fn get(
        &self,
        experiment_id: &ExperimentId,
        subject_id: &str,
    ) -> io::Result<Option<KeptAssignment>> {
        self.memory.get(experiment_id, subject_id)
    }

    fn put(
        &self,
        experiment_id: &ExperimentId,
        subject_id: &str,
        kept: &KeptAssignment,
    ) -> io::Result<()> {
        let mut log = self.log()?;
        let before = self.memory.get(experiment_id, subject_id)?;
        if before.as_ref() == Some(kept) {
            return Ok(());
        }
        let by_hand = kept.attached || before.is_some_and(|before| before.attached);
        let (experiment, subject) = (experiment_id.clone(), subject_id.to_owned());
        let put = Step::Put { experiment_id: experiment, subject_id: subject, kept: kept.clone() };
        log.append(&put, by_hand)?;
        self.memory.put(experiment_id, subject_id, kept)
    }

    fn remove(&self, experiment_id: &ExperimentId, subject_id: &str) -> io::Result<()> {
        let mut log = self.log()?;
        let Some(before) = self.memory.get(experiment_id, subject_id)? else { return Ok(()) };
        let (experiment, subject) = (experiment_id.clone(), subject_id.to_owned());
        let remove = Step::Remove { experiment_id: experiment, subject_id: subject };
        log.append(&remove, before.attached)?;
        self.memory.remove(experiment_id, subject_id)
    }

    fn clear(&self, experiment_id: &ExperimentId) -> io::Result<()> {
        let mut log = self.log()?;
        if self.memory.list(experiment_id)?.is_empty() {
            return Ok(());
        }
        log.append(&Step::Clear { experiment_id: experiment_id.clone() }, true)?;
        self.memory.clear(experiment_id)
    }

    fn list(&self, experiment_id: &ExperimentId) -> io::Result<Vec<(String, KeptAssignment)>> {
        self.memory.list(experiment_id)
    }
}

impl Step {
    fn line(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// The file, to which lines are added.
struct Log {
    file: OwnedFile,
    /// How long it is, up to the end of the last whole line.
    length: u64,
    /// Whether part of a line may stand after that.
    torn: bool,
}

impl Log {
    /// Adds a line, and waits for the disk if it is to. A line that fails leaves nothing behind.
    fn append(&mut self, step: &Step, synced: bool) -> io::Result<()> {
        let appended = step.line().map_err(io::Error::from).and_then(|line| {
            // Opened anew, so that a file that somebody has taken away is missed.
            let file = fs::File::options().write(true).open(self.file.path())?;
            if self.torn {
                file.set_len(self.length)?;
                self.torn = false;
            }
            if file.metadata()?.len() != self.length {
                return Err(io::Error::other("another program has changed it"));
            }
            let written = write(&file, self.length, &line, synced);
            match written {
                Ok(()) => self.length += line.len() as u64,
                Err(_) => self.torn = file.set_len(self.length).is_err(),
            }
            written
        });
        appended.inspect_err(|error| self.file.report(error))
    }
}

fn write(mut file: &fs::File, place: u64, line: &[u8], synced: bool) -> io::Result<()> {
    file.seek(SeekFrom::Start(place))?;
    file.write_all(line)?;
    if synced { file.sync_data() } else { Ok(()) }
}

/// What remains of all steps.
fn read(content: &[u8]) -> Result<Entries, String> {
    let mut entries = Entries::new();
    for (place, line) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let fault = |cause: &str| format!("line {}: {cause}", place + 1);
        let whole = line.strip_suffix(b"\n");
        // Never cut short: the file began with this line.
        if place == 0 {
            if whole != Some(FORMAT.as_bytes()) {
                return Err(fault(&format!(
                    "must be {FORMAT}, with which every file begins that serve has made for \
                     --kept; a document goes with --config, and what it remembers is taken from there"
                )));
            }
            continue;
        }
        let Some(line) = whole else { break };
        let WholeObject(step) =
            serde_json::from_slice(line).map_err(|error| fault(&error.to_string()))?;
        match step {
            Step::Put { subject_id, .. } if subject_id.is_empty() => {
                return Err(fault("subject_id must not be empty"));
            }
            Step::Put { experiment_id, subject_id, kept } => {
                entries.entry(experiment_id).or_default().insert(subject_id, kept);
            }
            Step::Remove { experiment_id, subject_id } => {
                if let Some(subjects) = entries.get_mut(&experiment_id) {
                    subjects.remove(&subject_id);
                }
            }
            Step::Clear { experiment_id } => {
                entries.remove(&experiment_id);
            }
        }
    }
    Ok(entries)
}
