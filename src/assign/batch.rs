//! Many subjects at once.

use std::sync::Arc;

use super::plan::{Arm, Share};
use super::{Attribute, Attributes, Decision, Plan, Reason, Subject, ToAttribute};
use crate::time::Clock;

/// Many subjects as columns: their ids, and what is known of them.
///
/// Row i of every column belongs to subject i. A value that a column does not have, since it is
/// shorter or holds `None` there, is missing; so is an id that is empty.
///
/// ```
/// # let snapshot = variate::Snapshot::from_json(r#"{"format": "variate/1",
/// #     "flags": [{"id": "flg_a", "name": "A flag", "status": "active",
/// #         "parameters": {"x": {"type": "number", "value": 1}},
/// #         "variations": [{"id": "var_today", "name": "one"}, {"id": "var_short", "name": "two"}]}],
/// #     "segments": [{"id": "seg_germany", "name": "Germany", "rules": [{"match": {"country": ["DE"]}}]}],
/// #     "experiments": [{"id": "exp_signin", "name": "Sign-in", "flag_id": "flg_a",
/// #         "strategy": "segment", "status": "active",
/// #         "allocations": [{"variation_id": "var_short", "segment_id": "seg_germany", "priority": 1},
/// #             {"variation_id": "var_today", "is_fallback": true, "is_control": true}]}]}"#)?;
/// use variate::{Batch, Outcome};
///
/// let ids = ["device-1", "device-2", "device-3"];
/// let countries = [Some("DE"), None, Some("AT")];
/// let batch = Batch::new(&ids).with_attribute("country", &countries);
///
/// let plan = snapshot.plan("exp_signin").unwrap();
/// let mut outcomes = [Outcome::default(); 3];
/// plan.assign_batch(&batch, &mut outcomes);
///
/// let variation = |outcome| plan.decision(outcome).variation_id().unwrap().as_str();
/// assert_eq!(outcomes.map(variation), ["var_short", "var_today", "var_today"]);
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Clone)]
pub struct Batch<'a> {
    ids: Ids<'a>,
    columns: Vec<(&'a str, &'a dyn Column)>,
    clock: Option<&'a dyn Clock>,
}

#[derive(Clone)]
enum Ids<'a> {
    Texts(Arc<dyn Texts + 'a>),
    Hashes(&'a [u64]),
}

/// A list of texts of whatever type.
trait Texts: Send + Sync {
    fn rows(&self) -> usize;

    fn text(&self, row: usize) -> Option<&str>;
}

impl<T: AsRef<str> + Sync> Texts for &[T] {
    fn rows(&self) -> usize {
        self.len()
    }

    fn text(&self, row: usize) -> Option<&str> {
        self.get(row).map(AsRef::as_ref)
    }
}

/// The values of one attribute, by row. Implemented for lists of what can be an attribute.
pub trait Column: Sync {
    /// How many rows there are.
    fn rows(&self) -> usize;

    /// The value in a row; `None` if it is missing.
    fn value(&self, row: usize) -> Option<Attribute<'_>>;
}

macro_rules! columns {
    ($($(#[$meta:meta])* [$($generics:tt)*] $list:ty;)+) => {$(
        impl<T: ToAttribute + Sync, $($generics)*> Column for $list {
            fn rows(&self) -> usize {
                self.len()
            }

            fn value(&self, row: usize) -> Option<Attribute<'_>> {
                self.get(row)?.to_attribute()
            }
        }
    )+};
}

columns! {
    [] Vec<T>;
    [] Box<[T]>;
    [] &[T];
    [const N: usize] [T; N];
}

impl<'a> Batch<'a> {
    /// Subjects with these ids, of the kind that the experiment goes by.
    pub fn new<T: AsRef<str> + Sync>(ids: &'a [T]) -> Self {
        Self { ids: Ids::Texts(Arc::new(ids)), columns: Vec::new(), clock: None }
    }

    /// Subjects whose ids have been hashed, by [`subject_hash`](super::hash::subject_hash), so
    /// that many experiments can go by them.
    ///
    /// An experiment under [`HashVersion::Sha1V1`](crate::HashVersion::Sha1V1) or
    /// [`HashVersion::Sha1F32V1`](crate::HashVersion::Sha1F32V1) hashes the ids themselves: to it,
    /// these subjects have none.
    pub fn hashed(hashes: &'a [u64]) -> Self {
        Self { ids: Ids::Hashes(hashes), columns: Vec::new(), clock: None }
    }

    /// The same subjects with one more attribute.
    pub fn with_attribute(mut self, name: &'a str, values: &'a dyn Column) -> Self {
        self.columns.push((name, values));
        self
    }

    /// The same subjects at another time than the system's clock says; see
    /// [`Subject::with_clock`].
    pub fn with_clock(self, clock: &'a dyn Clock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// How many subjects there are.
    pub fn rows(&self) -> usize {
        match &self.ids {
            Ids::Texts(ids) => ids.rows(),
            Ids::Hashes(hashes) => hashes.len(),
        }
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Batch").field("rows", &self.rows()).field("columns", &names).finish()
    }
}

/// One subject of a batch, as attributes.
struct Row<'b> {
    columns: &'b [(&'b str, &'b dyn Column)],
    row: usize,
}

impl Attributes for Row<'_> {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.columns.iter().find(|(own, _)| *own == name)?.1.value(self.row)
    }
}

/// A decision in two bytes, which [`Plan::decision`] of the plan that made it turns into a
/// [`Decision`]. Equal outcomes of one plan are equal decisions. The default is that of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outcome {
    arm: u8,
    reason: u8,
}

impl Outcome {
    fn of(decision: Decision<'_>) -> Self {
        let arm = decision.served.map_or(Arm::NONE, |arm| arm.number);
        Self { arm, reason: code(decision.reason) }
    }

    /// That of an arm drawn by weight.
    #[inline]
    fn split(arm: usize) -> Self {
        // No experiment has more arms than fit.
        Self { arm: u8::try_from(arm).unwrap_or(Arm::NONE), reason: code(Reason::Split) }
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Self { arm: Arm::NONE, reason: code(Reason::Draft) }
    }
}

/// Every reason, in the order of their codes; that of a segment is told by the arm.
const REASONS: [Reason<'static>; 21] = [
    Reason::NotFound,
    Reason::Forced,
    Reason::Draft,
    Reason::Kept,
    Reason::Paused,
    Reason::Completed,
    Reason::Archived,
    Reason::BeforeStart,
    Reason::AfterEnd,
    Reason::MissingSubjectId,
    Reason::HeldOut,
    Reason::OutsideLayerSlot,
    Reason::NotTargeted,
    Reason::NotSampled,
    Reason::Split,
    Reason::Fallback,
    Reason::Fallback,
    Reason::FlagOff,
    Reason::Shipped,
    Reason::Elsewhere,
    Reason::Attached,
];

/// The code of the reason that is a segment.
const SEGMENT: u8 = 16;

const fn code(reason: Reason<'_>) -> u8 {
    match reason {
        Reason::NotFound => 0,
        Reason::Forced => 1,
        Reason::Draft => 2,
        Reason::Kept => 3,
        Reason::Paused => 4,
        Reason::Completed => 5,
        Reason::Archived => 6,
        Reason::BeforeStart => 7,
        Reason::AfterEnd => 8,
        Reason::MissingSubjectId => 9,
        Reason::HeldOut => 10,
        Reason::OutsideLayerSlot => 11,
        Reason::NotTargeted => 12,
        Reason::NotSampled => 13,
        Reason::Split => 14,
        Reason::Fallback => 15,
        Reason::Segment(_) => SEGMENT,
        Reason::FlagOff => 17,
        Reason::Shipped => 18,
        Reason::Elsewhere => 19,
        Reason::Attached => 20,
    }
}

impl Plan {
    /// What each subject of a batch gets, as [`assign`](Self::assign) says: outcome i is that of
    /// subject i. There are as many as `outcomes` has room for; one beyond the batch is that of a
    /// subject without an id. Allocates nothing.
    pub fn assign_batch(&self, batch: &Batch<'_>, outcomes: &mut [Outcome]) {
        let done = match &batch.ids {
            Ids::Hashes(hashes) => self.assign_hashes(hashes, outcomes),
            Ids::Texts(_) => 0,
        };
        for (row, outcome) in outcomes.iter_mut().enumerate().skip(done) {
            *outcome = Outcome::of(self.assign_row(batch, row));
        }
    }

    /// What subjects get of whom only a hash counts, if that is so: returns how many are done.
    fn assign_hashes(&self, hashes: &[u64], outcomes: &mut [Outcome]) -> usize {
        let rows = hashes.iter().zip(outcomes);
        if let Some(pair) = &self.pair {
            rows.for_each(|(hash, outcome)| *outcome = Outcome::split(pair.draw(*hash)));
        } else if let Some((open, partition)) = self.gate.lot() {
            rows.for_each(|(hash, outcome)| {
                let decision = self.weigh(open, partition, *hash, open.traffic_end, &mut ());
                *outcome = Outcome::of(decision);
            });
        } else {
            return 0;
        }
        hashes.len()
    }

    /// What each subject of a batch gets, one after the other.
    ///
    /// ```
    /// # use variate::{Batch, Plan};
    /// # fn count(plan: &Plan) -> usize {
    /// let ids = vec!["device-1", "device-2"];
    /// plan.decisions(&Batch::new(&ids)).filter(|decision| decision.in_experiment()).count()
    /// # }
    /// ```
    pub fn decisions(&self, batch: &Batch<'_>) -> impl Iterator<Item = Decision<'_>> {
        (0..batch.rows()).map(|row| self.assign_row(batch, row))
    }

    /// The decision that an outcome of this plan stands for.
    pub fn decision(&self, outcome: Outcome) -> Decision<'_> {
        let served = self.numbered(outcome.arm);
        let reason = match outcome.reason {
            SEGMENT => self.segment_of(outcome.arm),
            code => REASONS.get(usize::from(code)).copied().unwrap_or(Reason::Draft),
        };
        Decision { experiment_id: Some(self.experiment_id()), served, reason }
    }

    fn assign_row(&self, batch: &Batch<'_>, row: usize) -> Decision<'_> {
        let kind = self.subject_kind();
        let attributes = Row { columns: &batch.columns, row };
        let subject = match &batch.ids {
            Ids::Hashes(hashes) => hashes.get(row).map(|hash| Subject::hashed(kind, *hash)),
            Ids::Texts(ids) => ids.text(row).map(|id| Subject::of(kind.as_str(), id)),
        };
        let subject = subject.unwrap_or_else(|| Subject::of(kind.as_str(), ""));
        let subject = subject.with_attributes(&attributes);
        self.assign(&match batch.clock {
            Some(clock) => subject.with_clock(clock),
            None => subject,
        })
    }

    /// The reason of those whom a segment gives this arm.
    fn segment_of(&self, arm: u8) -> Reason<'_> {
        let own = |share: &Share| match share {
            Share::Whole(number) => *number == arm,
            Share::Split(partition) => {
                partition.slices().any(|(_, _, own)| own == usize::from(arm))
            }
        };
        let mut targets = self.targets();
        let target = targets.find(|(_, share)| own(share));
        target.map_or(Reason::Fallback, |(segment, _)| Reason::Segment(segment.id()))
    }
}
