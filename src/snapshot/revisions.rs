//! Earlier versions of flags and segments, which runs still rest on, in a document.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::Snapshot;
use super::json::each;
use crate::error::Error;
use crate::id::{FlagId, SegmentId};
use crate::json::Object;
use crate::model::{Experiment, Flag, Segment};

/// What runs rest on and the snapshot no longer has: earlier versions, and what has been deleted
/// since.
#[derive(Serialize)]
pub(super) struct Earlier<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'a Flag>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    segments: Vec<&'a Segment>,
}

impl<'a> Earlier<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut flags = BTreeMap::new();
        let mut segments = BTreeMap::new();
        for design in snapshot.experiments().flat_map(Experiment::designs) {
            let flag = &*design.flag;
            if snapshot.flag(flag.id()).is_none_or(|now| now.version() != flag.version()) {
                flags.insert((flag.id(), flag.version()), flag);
            }
            for segment in &design.segments {
                let now = snapshot.segment(segment.id());
                if now.is_none_or(|now| now.version() != segment.version()) {
                    segments.insert((segment.id(), segment.version()), &**segment);
                }
            }
        }
        Self { flags: flags.into_values().collect(), segments: segments.into_values().collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flags.is_empty() && self.segments.is_empty()
    }
}

/// What the document's runs rest on and its entities no longer are, by id and version.
#[derive(Default)]
pub(super) struct Past {
    pub(super) flags: Revisions<FlagId, Flag>,
    pub(super) segments: Revisions<SegmentId, Segment>,
}

pub(super) struct Revisions<I, T>(BTreeMap<(I, u64), Revision<T>>);

struct Revision<T> {
    entity: Arc<T>,
    index: usize,
    used: Cell<bool>,
}

impl Past {
    pub(super) fn from_json(document: &Object<'_>, snapshot: &Snapshot) -> Result<Self, Error> {
        let mut past = Self::default();
        if let Some(cursor) = document.get("revisions") {
            let object = cursor.object(&["flags", "segments"])?;
            each(&object, "flags", |cursor| {
                let flag: Flag = cursor.read()?;
                let key = (flag.id().clone(), flag.version());
                let present = snapshot.flag(flag.id()).map(Flag::version);
                past.flags.add(key, flag, present).map_err(|error| cursor.locate(error))
            })?;
            each(&object, "segments", |cursor| {
                let segment: Segment = cursor.read()?;
                let key = (segment.id().clone(), segment.version());
                let present = snapshot.segment(segment.id()).map(Segment::version);
                past.segments.add(key, segment, present).map_err(|error| cursor.locate(error))
            })?;
        }
        Ok(past)
    }

    /// Checks that there is no revision that nothing rests on.
    pub(super) fn check_used(&self) -> Result<(), Error> {
        match self
            .flags
            .unused()
            .map(|index| ("flags", index))
            .or_else(|| self.segments.unused().map(|index| ("segments", index)))
        {
            Some((key, index)) => {
                let error = Error::invalid("must be a version that a run rests on, and stand once");
                Err(error.at_index(index).at(key).at("revisions"))
            }
            None => Ok(()),
        }
    }
}

impl<I, T> Default for Revisions<I, T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<I: Ord, T> Revisions<I, T> {
    fn add(&mut self, key: (I, u64), entity: T, present: Option<u64>) -> Result<(), Error> {
        // The versions that the entity goes through from now on must not meet the past ones.
        if let Some(present) = present.filter(|present| key.1 >= *present) {
            let rule = format!("must be earlier than the present version, {present}");
            return Err(Error::invalid(rule).with_value(&key.1).at("version"));
        }
        let index = self.0.len();
        let revision = Revision { entity: Arc::new(entity), index, used: Cell::new(false) };
        match self.0.insert(key, revision) {
            Some(_) => Err(Error::invalid("must be a version that a run rests on, and stand once")),
            None => Ok(()),
        }
    }

    /// The revision of this id and version.
    pub(super) fn find(&self, key: &(I, u64)) -> Option<&Arc<T>> {
        let revision = self.0.get(key)?;
        revision.used.set(true);
        Some(&revision.entity)
    }

    fn unused(&self) -> Option<usize> {
        self.0.values().filter(|revision| !revision.used.get()).map(|revision| revision.index).min()
    }
}
