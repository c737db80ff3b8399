//! How what is held is shared: one current snapshot, swapped whole.

mod reader;

use std::borrow::Borrow;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};

use parking_lot::{Mutex, RwLock};

pub use reader::Reader;

use crate::change::{Commit, Event, Transaction};
use crate::error::{Code, Error};
use crate::id::{Entropy, SystemEntropy};
use crate::snapshot::Snapshot;
use crate::time::{Clock, Timestamp};

/// Holds the current [`Snapshot`] and commits [`Transaction`]s to it, from any number of threads.
///
/// A clone is another handle on the same engine. Commits happen one at a time; while one is being
/// worked out, readers go on with the snapshot that there is, and the new one replaces it in one
/// step.
///
/// ```
/// use variate::{
///     Allocation, Change, Engine, FlagStatus, NewExperiment, NewFlag, NewVariation, Status,
///     Subject,
/// };
///
/// let engine = Engine::new();
/// let (flag, exp) = ("flg_signin".parse()?, "exp_signin".parse()?);
/// engine.commit([
///     NewFlag::new("Sign-in screen")
///         .id("flg_signin".parse()?)
///         .parameter("headline", "Welcome back")
///         .variation(NewVariation::new("control").id("var_a".parse()?))
///         .variation(NewVariation::new("short").id("var_b".parse()?).with("headline", "Hi"))
///         .into(),
///     Change::set_flag_status(&flag, FlagStatus::Active),
///     NewExperiment::by_percentage("Sign-in headline", flag)
///         .id("exp_signin".parse()?)
///         .allocation(Allocation::share("var_a".parse()?, "50".parse()?).control())
///         .allocation(Allocation::share("var_b".parse()?, "50".parse()?))
///         .into(),
///     Change::set_experiment_status(&exp, Status::Active),
/// ])?;
///
/// let snapshot = engine.snapshot();
/// let decision = snapshot.assign(&exp, &Subject::new("device-42"));
/// assert!(decision.in_experiment());
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

type Listener = Box<dyn Fn(&Event, &Snapshot) + Send + Sync>;

type Journal = Box<dyn Fn(&Event, &Snapshot) -> io::Result<()> + Send + Sync>;

struct Shared {
    current: RwLock<Arc<Snapshot>>,
    generation: Generation,
    writer: Mutex<Writer>,
    /// The thread that is committing, to tell a call from within its commit from another's.
    committing: Mutex<Option<ThreadId>>,
    clock: Box<dyn Clock>,
}

/// How often another snapshot has been published. On a cache line of its own: readers look at it
/// all the time, and nothing else may take it from them.
#[repr(align(128))]
struct Generation(AtomicU64);

struct Writer {
    entropy: Box<dyn Entropy + Send>,
    journals: Vec<Journal>,
    listeners: Vec<Listener>,
}

impl Engine {
    /// An engine that holds nothing yet.
    pub fn new() -> Self {
        Self::from_snapshot(Snapshot::new())
    }

    /// An engine that begins with this snapshot.
    pub fn from_snapshot(snapshot: impl Into<Arc<Snapshot>>) -> Self {
        Self::with(snapshot, Timestamp::now, SystemEntropy)
    }

    /// An engine that begins with this snapshot, with a clock and a source of ids of the caller's.
    pub fn with(
        snapshot: impl Into<Arc<Snapshot>>,
        clock: impl Clock + 'static,
        entropy: impl Entropy + Send + 'static,
    ) -> Self {
        let writer =
            Writer { entropy: Box::new(entropy), journals: Vec::new(), listeners: Vec::new() };
        Self {
            shared: Arc::new(Shared {
                current: RwLock::new(snapshot.into()),
                generation: Generation(AtomicU64::new(0)),
                writer: Mutex::new(writer),
                committing: Mutex::new(None),
                clock: Box::new(clock),
            }),
        }
    }

    /// An engine that begins with the snapshot of a document; see [`Snapshot::from_json`].
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, Error> {
        Ok(Self::from_snapshot(Snapshot::from_json(json)?))
    }

    /// An engine that begins with what a whole history of events leads to; see
    /// [`Snapshot::replay`], which also goes on from a document.
    pub fn replay(events: impl IntoIterator<Item: Borrow<Event>>) -> Result<Self, Error> {
        Ok(Self::from_snapshot(Snapshot::new().replay(events)?))
    }

    /// The current snapshot. Costs a short read lock and a reference count; a [`Reader`] saves both.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.current.read())
    }

    /// A handle for one thread that reads often.
    pub fn reader(&self) -> Reader {
        Reader::new(self.clone())
    }

    /// The current snapshot as a document; see [`Snapshot::to_json`].
    pub fn to_json(&self) -> String {
        self.snapshot().to_json()
    }

    /// Applies a transaction, publishes the snapshot that it leads to and tells the listeners.
    ///
    /// A transaction that makes no difference publishes nothing and tells nobody.
    ///
    /// # Errors
    /// When any of its changes breaks a rule; then nothing has happened. [`Code::NotRecorded`] when
    /// a [journal](Self::journal) failed; then nothing has happened here. [`Code::ReentrantCommit`]
    /// from within a journal or listener, or from the clock or source of ids of this engine.
    pub fn commit(&self, transaction: impl Into<Transaction>) -> Result<Commit, Error> {
        self.commit_with(|_| Ok::<_, Error>(transaction))
    }

    /// Commits the transaction that a function makes of the current snapshot, with no commit in
    /// between: to read, decide and write in one step.
    ///
    /// The function runs in the calling thread, and other commits wait for it; like a
    /// [listener](Self::listen) it can read, but not commit. If it fails, or makes an empty
    /// transaction, `Transaction::default()`, nothing has happened.
    ///
    /// ```
    /// use variate::{Change, Engine, Error, Transaction};
    ///
    /// let engine = Engine::new();
    /// let commit = engine.commit_with(|snapshot| {
    ///     let unused = snapshot.segments().filter(|s| snapshot.used_by(s.id()).next().is_none());
    ///     Ok::<_, Error>(unused.map(|s| Change::delete_segment(s.id())).collect::<Transaction>())
    /// })?;
    /// assert_eq!(commit.event, None);
    /// # Ok::<(), variate::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the function returns, and what [`commit`](Self::commit) does.
    pub fn commit_with<T: Into<Transaction>, E: From<Error>>(
        &self,
        make: impl FnOnce(&Snapshot) -> Result<T, E>,
    ) -> Result<Commit, E> {
        self.check_not_committing()?;
        let mut writer = self.shared.writer.lock();
        // For as long as the clock, the source of ids and the listeners can call back.
        let committing = Committing::begin(&self.shared.committing);
        let current = self.snapshot();
        let transaction = make(&current)?;
        let now = self.shared.clock.now();
        let mut commit = current.apply(transaction, now, &mut *writer.entropy)?;
        let Some(event) = &commit.event else {
            commit.snapshot = current;
            return Ok(commit);
        };
        for journal in &writer.journals {
            journal(event, &commit.snapshot).map_err(|cause| not_recorded(&cause))?;
        }
        {
            let mut published = self.shared.current.write();
            *published = Arc::clone(&commit.snapshot);
            // Under the lock, so that no reader is behind what another way of reading shows.
            self.shared.generation.0.fetch_add(1, Ordering::Release);
        }
        for listener in &writer.listeners {
            listener(event, &commit.snapshot);
        }
        drop(committing);
        drop(writer);
        // The snapshot before is freed only now, when nobody waits for a lock.
        drop(current);
        Ok(commit)
    }

    /// What a commit would come to now, without committing it.
    ///
    /// Ids and salts that the changes leave open are drawn for the answer and not kept.
    pub fn dry_run(&self, transaction: impl Into<Transaction>) -> Result<Commit, Error> {
        let now = self.shared.clock.now();
        self.snapshot().apply(transaction, now, &mut SystemEntropy)
    }

    /// Has a function write down every commit from now on, in order, before it is published: what
    /// readers see is then on record, and what cannot be recorded does not happen.
    ///
    /// It runs in the thread that commits, like a [listener](Self::listen). If it fails or panics,
    /// nothing has happened here, and the next event gets the same sequence number; so a journal
    /// that fails has to leave nothing behind. Of several, those that were asked before it have the
    /// event on record nevertheless.
    ///
    /// ```
    /// use std::fs::OpenOptions;
    /// use std::io::Write;
    /// use variate::{Engine, Event, NewFlag};
    ///
    /// let path = std::env::temp_dir().join(format!("variate-{}.jsonl", std::process::id()));
    /// let file = OpenOptions::new().create(true).append(true).open(&path)?;
    /// let engine = Engine::new();
    /// engine.journal(move |event, _| {
    ///     let line = serde_json::to_string(event)? + "\n";
    ///     let end = file.metadata()?.len();
    ///     let written = (&file).write_all(line.as_bytes()).and_then(|()| file.sync_data());
    ///     // Half a line must not stay.
    ///     written.or_else(|cause| file.set_len(end).and(Err(cause)))
    /// })?;
    /// engine.commit(NewFlag::new("Sign-in screen").parameter("headline", "Welcome back"))?;
    ///
    /// let lines = std::fs::read_to_string(&path)?;
    /// let events = lines.lines().map(Event::from_json).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(Engine::replay(events)?.to_json(), engine.to_json());
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Code::ReentrantCommit`] from within a journal or listener.
    pub fn journal(
        &self,
        journal: impl Fn(&Event, &Snapshot) -> io::Result<()> + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.check_not_committing()?;
        self.shared.writer.lock().journals.push(Box::new(journal));
        Ok(())
    }

    /// Has a function told of every commit from now on, in order, after it is published.
    ///
    /// It runs in the thread that commits, and the next commit waits for it. It can read and take
    /// snapshots, but not commit or listen. The commit stands whatever it does: if it panics, the
    /// panic reaches whoever committed. A record that must never miss an event is a
    /// [journal](Self::journal).
    ///
    /// # Errors
    /// [`Code::ReentrantCommit`] from within a journal or listener.
    pub fn listen(
        &self,
        listener: impl Fn(&Event, &Snapshot) + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.check_not_committing()?;
        self.shared.writer.lock().listeners.push(Box::new(listener));
        Ok(())
    }

    fn check_not_committing(&self) -> Result<(), Error> {
        if *self.shared.committing.lock() == Some(thread::current().id()) {
            let rule = "must wait: the commit that this was called from is still under way";
            return Err(Error::new(Code::ReentrantCommit, rule));
        }
        Ok(())
    }
}

fn not_recorded(cause: &io::Error) -> Error {
    Error::new(Code::NotRecorded, format!("must be recorded before it is published, but {cause}"))
}

/// Notes the thread that commits, until it is done or unwinds.
struct Committing<'s>(&'s Mutex<Option<ThreadId>>);

impl<'s> Committing<'s> {
    fn begin(slot: &'s Mutex<Option<ThreadId>>) -> Self {
        *slot.lock() = Some(thread::current().id());
        Self(slot)
    }
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("snapshot", &self.snapshot()).finish_non_exhaustive()
    }
}
