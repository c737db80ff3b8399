//! Who moves when one snapshot becomes another.

mod draws;

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::assign::{Arm, Decision, Plan, Subject};
use crate::id::{ExperimentId, VariationId};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;
use draws::{Draws, Fate, Fates, WHOLE};

/// What becomes of subjects when one snapshot becomes another, be it by changes that are only
/// considered: nothing is published.
///
/// ```
/// # use variate::{Engine, Subject};
/// # let engine = Engine::from_json(r#"{"format": "variate/1",
/// #     "flags": [{"id": "flg_a", "name": "A flag", "status": "active",
/// #         "parameters": {"x": {"type": "number", "value": 1}},
/// #         "variations": [{"id": "var_today", "name": "one"}, {"id": "var_short", "name": "two"}]}],
/// #     "experiments": [{"id": "exp_signin", "name": "Sign-in", "flag_id": "flg_a",
/// #         "strategy": "percentage", "status": "active", "traffic": 20,
/// #         "allocations": [{"variation_id": "var_today", "weight": 50, "is_control": true},
/// #             {"variation_id": "var_short", "weight": 50}]}]}"#)?;
/// use variate::{Change, ExperimentPatch, Timestamp};
///
/// let raise = ExperimentPatch::new().traffic(60.try_into()?);
/// let raise = Change::patch_experiment(&"exp_signin".parse()?, raise);
/// let (now, then) = (engine.snapshot(), engine.dry_run(raise)?.snapshot);
/// let preview = now.preview(&then);
///
/// let moves = preview.shares("exp_signin", Timestamp::now()).unwrap();
/// assert_eq!(moves.to_string(), "\
/// from       to         share
/// var_short  var_short  10.0000 %
/// var_today  var_today  10.0000 %
/// nothing    var_short  20.0000 %  moves
/// nothing    var_today  20.0000 %  moves
/// nothing    nothing    40.0000 %
/// 40.0000 % move");
///
/// let ids = ["device-1", "device-2", "device-3"];
/// let counted = preview.counts("exp_signin", ids.into_iter().map(Subject::new));
/// assert_eq!(counted.count(), Some(3));
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Preview<'s> {
    before: &'s Snapshot,
    after: &'s Snapshot,
}

impl Snapshot {
    /// What becomes of subjects when this snapshot becomes that one.
    pub fn preview<'s>(&'s self, after: &'s Self) -> Preview<'s> {
        Preview { before: self, after }
    }
}

impl<'s> Preview<'s> {
    /// The experiments of either snapshot that do not assign as they did, in the order of their
    /// ids. One is listed also when only the config of its arms has become different, and when an
    /// experiment before it in its [chain](crate::Chain) has; what comes after it there does not count.
    pub fn experiments(&self) -> Vec<&'s ExperimentId> {
        let Self { before, after } = *self;
        let ids = |snapshot: &'s Snapshot| snapshot.experiments().map(|own| own.id());
        let mut differing: Vec<_> = ids(before)
            .filter(|id| before.plan(id) != after.plan(id))
            .chain(ids(after).filter(|id| before.plan(id).is_none()))
            .collect();
        differing.sort_unstable();
        differing
    }

    /// Which share of all subjects that have an id of the experiment's kind goes from where to
    /// where, when asked at this moment, if they bring no assignments: not sampled but worked out
    /// from the partitions. Each share is off by less than 2^-90.
    ///
    /// `None` when attributes decide in either snapshot, in an audience or segments, or an active
    /// experiment before it in its [chain](crate::Chain) does, or when they go by different kinds of
    /// subject: then [`counts`](Self::counts) has an answer. An experiment that is in neither serves
    /// nothing.
    pub fn shares(&self, experiment: impl AsRef<str>, now: Timestamp) -> Option<Moves> {
        let plan = |snapshot: &'s Snapshot| snapshot.plan(experiment.as_ref());
        let [before, after] = [plan(self.before), plan(self.after)];
        if let (Some(before), Some(after)) = (before, after)
            && before.subject_kind() != after.subject_kind()
        {
            return None;
        }
        let fates = Fates::new([Draws::of(before, now)?, Draws::of(after, now)?]);
        Some(Moves::of_shares(fates.shares()))
    }

    /// How many of these subjects go from where to where.
    pub fn counts<'a>(
        &self,
        experiment: impl AsRef<str>,
        subjects: impl IntoIterator<Item = Subject<'a>>,
    ) -> Moves {
        let mut counter = self.counter(experiment);
        for subject in subjects {
            counter.add(&subject);
        }
        counter.moves()
    }

    /// The same, one subject at a time: for subjects that do not outlive each other, or to count in
    /// several experiments at once.
    ///
    /// ```
    /// # use variate::{Snapshot, Subject};
    /// # let (now, then) = (Snapshot::new(), Snapshot::new());
    /// let preview = now.preview(&then);
    /// let mut counter = preview.counter("exp_signin");
    /// for number in 0..1_000 {
    ///     let id = format!("device-{number}");
    ///     counter.add(&Subject::new(&id));
    /// }
    /// assert_eq!(counter.moves().count(), Some(1_000));
    /// ```
    pub fn counter(&self, experiment: impl AsRef<str>) -> Counter<'s> {
        let plan = |snapshot: &'s Snapshot| snapshot.plan(experiment.as_ref());
        Counter { before: plan(self.before), after: plan(self.after), counts: BTreeMap::new() }
    }
}

/// How many subjects go from where to where in one experiment, of those that have been added.
#[derive(Debug, Clone)]
pub struct Counter<'s> {
    before: Option<&'s Plan>,
    after: Option<&'s Plan>,
    counts: BTreeMap<(Place, Place), u64>,
}

impl Counter<'_> {
    /// Counts a subject.
    pub fn add(&mut self, subject: &Subject<'_>) {
        let [from, to] = [self.before, self.after]
            .map(|plan| plan.map_or(Place::NOTHING, |plan| Place::of(&plan.assign(subject))));
        *self.counts.entry((from, to)).or_insert(0) += 1;
    }

    /// What the count has come to.
    pub fn moves(&self) -> Moves {
        Moves::of_counts(&self.counts)
    }
}

/// What a subject is served, and whether it is part of the experiment.
///
/// Displays as the variation, followed by `(outside)` when it is served as no part of the
/// experiment, or as `nothing`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Place {
    /// The variation; `None` when nothing is served.
    pub variation_id: Option<VariationId>,
    /// Whether the subject counts in the experiment's analysis.
    pub in_experiment: bool,
}

impl Place {
    const NOTHING: Self = Self { variation_id: None, in_experiment: false };

    fn of(decision: &Decision<'_>) -> Self {
        Self {
            variation_id: decision.variation_id().cloned(),
            in_experiment: decision.in_experiment(),
        }
    }

    fn arm(arm: Option<&Arm>, in_experiment: bool) -> Self {
        let variation_id = arm.map(|arm| arm.variation_id.clone());
        Self { in_experiment: in_experiment && variation_id.is_some(), variation_id }
    }
}

/// Those in the experiment first, then those outside, then those who get nothing; each by variation.
impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |place: &Self| (!place.in_experiment, place.variation_id.is_none());
        key(self).cmp(&key(other)).then_with(|| self.variation_id.cmp(&other.variation_id))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.variation_id {
            None => f.pad("nothing"),
            Some(id) if self.in_experiment => f.pad(id.as_str()),
            Some(id) => f.pad(&format!("{id} (outside)")),
        }
    }
}

/// How many subjects go from where to where, those who stay included.
///
/// Displays as a table, and under it the share that moves. Serialises as an object with `rows` and
/// `moved`.
#[derive(Debug, Clone, PartialEq)]
pub struct Moves {
    rows: Vec<Move>,
}

/// The subjects that go from one place to another, or stay.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Move {
    /// Where they are.
    pub from: Place,
    /// Where they will be.
    pub to: Place,
    /// Their share of all, from 0 to 1.
    pub share: f64,
    /// How many they are, if they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl Moves {
    /// The rows of the table, none of them empty, in the order of [`Place`]s.
    pub fn rows(&self) -> &[Move] {
        &self.rows
    }

    /// The share of those who move, from 0 to 1.
    pub fn moved(&self) -> f64 {
        let moving = self.rows.iter().filter(|row| row.from != row.to);
        // The sum of none would be -0.
        moving.fold(0.0, |sum, row| sum + row.share)
    }

    /// How many subjects there are in all, if they were counted.
    pub fn count(&self) -> Option<u64> {
        self.rows.iter().map(|row| row.count).sum()
    }

    fn of_shares(shares: BTreeMap<(Fate, Fate), u128>) -> Self {
        let rows = shares.into_iter().filter(|(_, share)| *share > 0);
        let rows = rows.map(|((from, to), share)| {
            let (from, to) = (from.into_place(), to.into_place());
            Move { from, to, share: to_f64(share) / to_f64(WHOLE), count: None }
        });
        Self { rows: rows.collect() }
    }

    fn of_counts(counts: &BTreeMap<(Place, Place), u64>) -> Self {
        let all: u64 = counts.values().sum();
        let rows = counts.iter().map(|((from, to), count)| Move {
            from: from.clone(),
            to: to.clone(),
            share: to_f64((*count).into()) / to_f64(all.into()),
            count: Some(*count),
        });
        Self { rows: rows.collect() }
    }
}

impl fmt::Display for Moves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |place: fn(&Move) -> &Place| {
            let widths = self.rows.iter().map(|row| place(row).to_string().chars().count());
            widths.max().unwrap_or(0).max("from".len())
        };
        let (from, to) = (width(|row| &row.from), width(|row| &row.to));
        let counts: Option<Vec<String>> =
            self.rows.iter().map(|row| row.count.map(|count| count.to_string())).collect();
        let count = counts.iter().flatten().map(String::len).max().unwrap_or(0).max("count".len());
        let percent = |row: &Move| format!("{:.4}", row.share * 100.0);
        let share = self.rows.iter().map(|row| percent(row).len()).max().unwrap_or(0);
        write!(f, "{:from$}  {:to$}", "from", "to")?;
        if counts.is_some() {
            write!(f, "  {:>count$}", "count")?;
        }
        writeln!(f, "  share")?;
        for row in &self.rows {
            write!(f, "{:from$}  {:to$}", row.from, row.to)?;
            if let Some(own) = row.count {
                write!(f, "  {own:>count$}")?;
            }
            write!(f, "  {:>share$} %", percent(row))?;
            writeln!(f, "{}", if row.from == row.to { "" } else { "  moves" })?;
        }
        write!(f, "{:.4} % move", self.moved() * 100.0)
    }
}

impl Serialize for Moves {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("rows", &self.rows)?;
        map.serialize_entry("moved", &self.moved())?;
        map.end()
    }
}

#[expect(clippy::cast_precision_loss, reason = "the nearest float is what is wanted")]
fn to_f64(count: u128) -> f64 {
    count as f64
}
