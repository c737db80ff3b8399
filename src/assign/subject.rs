//! Who is assigned.

use std::fmt;

use super::hash::subject_hash;
use super::{Attributes, Plan};
use crate::model::SubjectKind;
use crate::time::{Clock, Timestamp};

/// Who is assigned: ids by kind, and attributes.
///
/// Each experiment says which kind of id it goes by. An id is hashed once, when it is given here;
/// the subject then serves any number of experiments. An empty id counts as missing.
///
/// ```
/// use variate::Subject;
///
/// // A device, which is what an experiment goes by unless it says otherwise.
/// let device = Subject::new("device-42");
///
/// // A user on a device, in Germany.
/// let attributes = [("country", "DE")];
/// let user = Subject::of("user", "u-7").with_id("device", "d-42").with_attributes(&attributes);
/// ```
///
/// A subject can bring assignments of its own. One that is [forced](Self::forced), as by a tester's
/// link, holds whatever the experiment's status, and is no part of its analysis. One that is
/// [attached](Self::attached), by hand, holds while the experiment is active or paused. One that is
/// [kept](Self::kept), as in a cookie, holds when the experiment's [`Keep`](crate::Keep) says so, by
/// default while it is paused. They are looked at in this order, and each is passed over if the
/// experiment has no such arm. A [`Keeper`](crate::Keeper) remembers those of the last two kinds.
///
/// ```
/// # use variate::Subject;
/// let tester = Subject::new("device-42").forced("exp_signin", "var_short");
/// let guest = Subject::new("device-42").attached("exp_signin", "var_short");
/// let back_again = Subject::new("device-42").kept("exp_signin", "var_today");
/// ```
#[derive(Clone)]
pub struct Subject<'a> {
    first: Id<'a>,
    more: Option<Box<More<'a>>>,
    attributes: &'a dyn Attributes,
    clock: &'a dyn Clock,
}

/// What most subjects do without, so that those are made at little cost.
#[derive(Clone, Default)]
struct More<'a> {
    ids: Vec<Id<'a>>,
    brought: Vec<Brought<'a>>,
}

/// The clock of a subject that brings none.
static SYSTEM: fn() -> Timestamp = Timestamp::now;

/// An assignment that a subject brings.
#[derive(Clone, Copy)]
struct Brought<'a> {
    experiment_id: &'a str,
    variation_id: &'a str,
    by: BroughtBy,
}

/// How a subject came by an assignment that it brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BroughtBy {
    Forced,
    Attached,
    Kept,
}

#[derive(Clone, Copy)]
struct Id<'a> {
    /// Nothing for the default kind.
    kind: Option<&'a str>,
    /// Nothing if only the hash is known.
    text: Option<&'a str>,
    hash: u64,
}

impl<'a> Id<'a> {
    #[inline]
    fn new(kind: &'a str, id: &'a str) -> Self {
        Self { kind: own(kind), text: Some(id), hash: subject_hash(id) }
    }

    #[inline]
    fn is_of(&self, kind: Option<&str>) -> bool {
        match (self.kind, kind) {
            (None, None) => true,
            (Some(own), Some(kind)) => own == kind,
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

/// A kind unless it is the default.
#[inline]
fn own(kind: &str) -> Option<&str> {
    Some(kind).filter(|kind| *kind != SubjectKind::DEFAULT)
}

impl<'a> Subject<'a> {
    /// A subject with an id of the kind `device`.
    #[inline]
    pub fn new(id: &'a str) -> Self {
        Self::identified(Id { kind: None, text: Some(id), hash: subject_hash(id) })
    }

    /// A subject with an id of another kind.
    #[inline]
    pub fn of(kind: &'a str, id: &'a str) -> Self {
        Self::identified(Id::new(kind, id))
    }

    /// A subject whose id has been hashed elsewhere.
    #[inline]
    pub(crate) fn hashed(kind: &'a SubjectKind, hash: u64) -> Self {
        Self::identified(Id { kind: kind.own(), text: None, hash })
    }

    #[inline]
    fn identified(first: Id<'a>) -> Self {
        Self { first, more: None, attributes: &(), clock: &SYSTEM }
    }

    /// The same subject with an id of one more kind; a kind that it has already gets the new id.
    pub fn with_id(mut self, kind: &'a str, id: &'a str) -> Self {
        let id = Id::new(kind, id);
        let others = self.more.iter_mut().flat_map(|more| &mut more.ids);
        match std::iter::once(&mut self.first).chain(others).find(|known| known.is_of(id.kind)) {
            Some(known) => *known = id,
            None => self.more.get_or_insert_default().ids.push(id),
        }
        self
    }

    /// The same subject with these attributes.
    #[inline]
    pub fn with_attributes(self, attributes: &'a dyn Attributes) -> Self {
        Self { attributes, ..self }
    }

    /// The same subject at another time than the system's clock says. Only an experiment with a
    /// schedule asks, once for each decision.
    ///
    /// ```
    /// # use variate::{Subject, Timestamp};
    /// let noon: Timestamp = "2026-11-21T12:00:00Z".parse()?;
    /// let at_noon = Subject::new("device-42").with_clock(&noon);
    /// # Ok::<(), variate::Error>(())
    /// ```
    #[inline]
    pub fn with_clock(self, clock: &'a dyn Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same subject, forced into this variation of this experiment: by the first that is an arm
    /// of the experiment, if it is called more than once.
    pub fn forced(self, experiment_id: &'a str, variation_id: &'a str) -> Self {
        self.bring(Brought { experiment_id, variation_id, by: BroughtBy::Forced })
    }

    /// The same subject, attached to this variation of this experiment by hand: the first that is an
    /// arm of the experiment counts, if it is called more than once.
    ///
    /// It holds while the experiment is active or paused, its flag is on and its schedule is open,
    /// whatever its [`Keep`](crate::Keep), traffic, audience, segments, holdouts and layer say, and
    /// needs no id. The subject is in the experiment; an analysis that is to go without such subjects
    /// tells them by [`Reason::Attached`](crate::Reason::Attached).
    pub fn attached(self, experiment_id: &'a str, variation_id: &'a str) -> Self {
        self.bring(Brought { experiment_id, variation_id, by: BroughtBy::Attached })
    }

    /// The same subject, which this experiment once gave this variation: the first that is an arm of
    /// the experiment counts, if it is called more than once.
    pub fn kept(self, experiment_id: &'a str, variation_id: &'a str) -> Self {
        self.bring(Brought { experiment_id, variation_id, by: BroughtBy::Kept })
    }

    fn bring(mut self, brought: Brought<'a>) -> Self {
        self.more.get_or_insert_default().brought.push(brought);
        self
    }

    /// The id of a kind; `None` if it is missing or empty.
    pub fn id(&self, kind: &str) -> Option<&'a str> {
        self.find(own(kind)).and_then(|id| id.text)
    }

    /// The attributes.
    #[inline]
    pub fn attributes(&self) -> &'a dyn Attributes {
        self.attributes
    }

    /// The time at which it is assigned.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether it is forced into an arm of this experiment.
    pub(crate) fn is_forced_into(&self, plan: &Plan) -> bool {
        let mut forced = self.brought(plan.experiment_id().as_str(), BroughtBy::Forced);
        forced.any(|id| plan.arms.iter().any(|arm| arm.variation_id == *id))
    }

    #[inline]
    pub(crate) fn brings_assignments(&self) -> bool {
        self.more.as_ref().is_some_and(|more| !more.brought.is_empty())
    }

    /// The experiments that the subject is attached to, then those that once gave it an assignment,
    /// each in the order in which it says so.
    #[cfg(feature = "auth0")]
    pub(crate) fn kept_experiments(&self) -> impl Iterator<Item = &'a str> {
        let by = |by| {
            let own = move |brought: &&Brought<'a>| brought.by == by;
            self.all_brought().filter(own).map(|brought| brought.experiment_id)
        };
        by(BroughtBy::Attached).chain(by(BroughtBy::Kept))
    }

    /// The variations that the subject brings for an experiment in this way, in order.
    pub(crate) fn brought(
        &self,
        experiment_id: &str,
        by: BroughtBy,
    ) -> impl Iterator<Item = &'a str> {
        let own = move |b: &&Brought<'a>| b.experiment_id == experiment_id && b.by == by;
        self.all_brought().filter(own).map(|brought| brought.variation_id)
    }

    fn all_brought(&self) -> impl Iterator<Item = &Brought<'a>> {
        self.more.iter().flat_map(|more| &more.brought)
    }

    /// The hash of its id of the default kind, unless it brings assignments.
    pub(crate) fn default_hash(&self) -> Option<u64> {
        self.find(None).filter(|_| !self.brings_assignments()).map(|id| id.hash)
    }

    /// The hash of its id of a kind.
    #[inline]
    pub(crate) fn hash(&self, kind: &SubjectKind) -> Option<u64> {
        self.find(kind.own()).map(|id| id.hash)
    }

    #[inline]
    fn find(&self, kind: Option<&str>) -> Option<&Id<'a>> {
        let found = match self.first.is_of(kind) {
            true => Some(&self.first),
            false => self.find_other(kind),
        };
        found.filter(|id| id.text.is_none_or(|text| !text.is_empty()))
    }

    #[inline(never)]
    fn find_other(&self, kind: Option<&str>) -> Option<&Id<'a>> {
        self.more.as_ref()?.ids.iter().find(|id| id.is_of(kind))
    }
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = std::iter::once(&self.first)
            .chain(self.more.iter().flat_map(|more| &more.ids))
            .map(|id| (id.kind.unwrap_or(SubjectKind::DEFAULT), id.text.unwrap_or_default()));
        f.debug_map().entries(ids).finish()
    }
}
