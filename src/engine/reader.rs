//! Reading without contention.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Engine;
use crate::snapshot::Snapshot;

/// A handle for one thread that reads often: it keeps the snapshot that it last read, and fetches
/// another only when one has been published.
///
/// As long as nothing is committed, reading touches no memory that another thread writes, so any
/// number of threads read at full speed.
///
/// ```
/// use variate::{Engine, Subject};
///
/// let engine = Engine::new();
/// let mut reader = engine.reader();
/// for id in ["device-1", "device-2"] {
///     let decision = reader.snapshot().assign("exp_signinScreen", &Subject::new(id));
///     assert_eq!(decision.reason().as_str(), "not_found");
/// }
/// ```
#[derive(Clone)]
pub struct Reader {
    engine: Engine,
    generation: u64,
    snapshot: Arc<Snapshot>,
}

impl Reader {
    pub(super) fn new(engine: Engine) -> Self {
        // Before the snapshot, so that one published in between is fetched again, never missed.
        let generation = engine.shared.generation.0.load(Ordering::Acquire);
        let snapshot = engine.snapshot();
        Self { engine, generation, snapshot }
    }

    /// The current snapshot: whatever was committed before this call is in it. Take it once for
    /// each piece of work that has to be consistent; its decisions borrow from it, and to keep them
    /// across calls, clone the `Arc`.
    #[inline]
    pub fn snapshot(&mut self) -> &Arc<Snapshot> {
        let generation = self.engine.shared.generation.0.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.snapshot = self.engine.snapshot();
        }
        &self.snapshot
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}
