//! What an experiment does by the clock, and in steps by hand.

use serde::Serialize;

use super::{Strategy, check_count};
use crate::error::Error;
use crate::json::{Cursor, FromJson, Object, deserialize};
use crate::number::Percentage;
use crate::time::Timestamp;

/// The most stages of a schedule.
const MAX_STAGES: usize = 101;

/// The most levels of a ramp.
const MAX_LEVELS: usize = 101;

/// From a moment on, at least this share of subjects enters.
///
/// ```
/// use variate::Stage;
///
/// let monday = Stage { at: "2026-11-23T09:00:00Z".parse()?, traffic: 20.try_into()? };
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "plain data, made by literal")]
pub struct Stage {
    /// When it begins.
    pub at: Timestamp,
    /// The share in percent.
    pub traffic: Percentage,
}

/// What an experiment does by the clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Schedule {
    pub(crate) starts_at: Option<Timestamp>,
    pub(crate) ends_at: Option<Timestamp>,
    pub(crate) stages: Box<[Stage]>,
}

impl Schedule {
    /// Reads what an experiment with these levels says of it.
    pub(super) fn read(object: &Object<'_>, levels: &[Percentage]) -> Result<Self, Error> {
        let schedule = Self {
            starts_at: object.optional("starts_at")?,
            ends_at: object.optional("ends_at")?,
            stages: object.optional::<Vec<Stage>>("stages")?.unwrap_or_default().into(),
        };
        check_schedule(&schedule, levels).map_err(|error| object.locate(error))?;
        Ok(schedule)
    }

    /// What it says of a moment: the share that has entered by then, or on which side of the time in
    /// which the experiment assigns the moment lies.
    pub(crate) fn traffic_at(&self, now: Timestamp) -> Result<Percentage, Closed> {
        if self.starts_at.is_some_and(|start| now < start) {
            return Err(Closed::BeforeStart);
        }
        if self.ends_at.is_some_and(|end| now >= end) {
            return Err(Closed::AfterEnd);
        }
        Ok(self.staged(now))
    }

    /// The share of the last stage that has begun.
    pub(crate) fn staged(&self, now: Timestamp) -> Percentage {
        let begun = self.stages.partition_point(|stage| stage.at <= now);
        let last = begun.checked_sub(1).and_then(|last| self.stages.get(last));
        last.map_or(Percentage::ZERO, |stage| stage.traffic)
    }
}

/// On which side of its time a schedule is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    BeforeStart,
    AfterEnd,
}

/// The share that enters unless another is given: everyone, or nobody before the first stage.
pub(crate) fn initial_traffic(stages: &[Stage]) -> Percentage {
    if stages.is_empty() { Percentage::MAX } else { Percentage::ZERO }
}

/// Checks the levels of a ramp.
pub(crate) fn check_levels(levels: &[Percentage], strategy: Strategy) -> Result<(), Error> {
    if strategy != Strategy::Percentage && !levels.is_empty() {
        return Err(Error::invalid(format!(
            "is only for experiments that assign by {}",
            Strategy::Percentage
        )));
    }
    check_count(levels.len(), 0, MAX_LEVELS)?;
    match levels.windows(2).position(|pair| !pair.is_sorted_by(|low, high| low < high)) {
        Some(index) => Err(Error::invalid("must be higher than the level before")
            .with_value(&levels.get(index + 1))
            .at_index(index + 1)),
        None => Ok(()),
    }
}

/// Checks when an experiment begins and ends.
pub(crate) fn check_schedule(schedule: &Schedule, levels: &[Percentage]) -> Result<(), Error> {
    if let (Some(start), Some(end)) = (schedule.starts_at, schedule.ends_at)
        && end <= start
    {
        let rule = format!("must be later than starts_at, which is {start}");
        return Err(Error::invalid(rule).with_value(&end).at("ends_at"));
    }
    check_stages(&schedule.stages, levels).map_err(|error| error.at("stages"))
}

fn check_stages(stages: &[Stage], levels: &[Percentage]) -> Result<(), Error> {
    if !stages.is_empty() && !levels.is_empty() {
        return Err(Error::invalid("must not be given beside levels, which are advanced by hand"));
    }
    check_count(stages.len(), 0, MAX_STAGES)?;
    for (index, pair) in stages.windows(2).enumerate() {
        let [before, stage] = pair else { continue };
        let here = |error: Error, key| Err(error.at(key).at_index(index + 1));
        if stage.at <= before.at {
            let error = Error::invalid("must be later than the stage before");
            return here(error.with_value(&stage.at), "at");
        }
        if stage.traffic <= before.traffic {
            let error = Error::invalid("must be higher than in the stage before");
            return here(error.with_value(&stage.traffic), "traffic");
        }
    }
    Ok(())
}

impl FromJson for Stage {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["at", "traffic"])?;
        Ok(Self { at: object.read("at")?, traffic: object.read("traffic")? })
    }
}

deserialize!(Stage);
