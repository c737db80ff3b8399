//! An experiment's assignment as an expression for a warehouse.

mod chain;
mod columns;
mod condition;
mod dialect;

pub use columns::SqlColumns;
pub use dialect::Dialect;

use std::ops::Range;

use columns::Quoted;

#[cfg(feature = "launchdarkly")]
use crate::assign::Buckets;
use crate::assign::{Gate, Guards, Link, Open, Plan, Route, Share};
use crate::error::{Code, Error};
use crate::model::Status;
use crate::partition::Partition;
use crate::snapshot::Snapshot;
use crate::time::Timestamp;

impl Snapshot {
    /// An SQL expression for what [`assign`](Self::assign) gives the subject of each row: the id of
    /// its variation, or NULL when it has no part in the experiment. To find in a warehouse who was
    /// assigned to what, of logs that do not say so. [`Plan::sql`] does it for a draft, by its
    /// [trial plan](Self::trial_plan).
    ///
    /// It is one `CASE` expression, or NULL as a text while the flag is off, to stand in a `SELECT`
    /// list or a `WHERE` clause, and gives for every row the variation of
    /// [`Decision::assignment`](crate::Decision::assignment) of a subject
    /// with this id and these attributes. Whom an experiment before it in its chain has, it leaves out.
    /// It knows nothing of what a subject can bring: whoever was
    /// [forced](crate::Subject::forced) is drawn like anybody else. It says what the snapshot says
    /// now; after the next change of the experiment, print it anew.
    ///
    /// ```
    /// use variate::{Dialect, Snapshot, SqlColumns};
    ///
    /// let snapshot = Snapshot::from_json(r#"{
    ///     "format": "variate/1",
    ///     "flags": [{
    ///         "id": "flg_a", "name": "Sign-in screen", "status": "active",
    ///         "parameters": {"headline": {"type": "string", "value": "Welcome back"}},
    ///         "variations": [
    ///             {"id": "var_a", "name": "control"},
    ///             {"id": "var_b", "name": "short", "overrides": {"headline": "Hi"}}
    ///         ]
    ///     }],
    ///     "experiments": [{
    ///         "id": "exp_a", "name": "Sign-in headline", "status": "active",
    ///         "flag_id": "flg_a", "strategy": "percentage",
    ///         "allocations": [
    ///             {"variation_id": "var_a", "weight": 50, "is_control": true},
    ///             {"variation_id": "var_b", "weight": 50}
    ///         ]
    ///     }]
    /// }"#)?;
    /// assert_eq!(
    ///     snapshot.sql("exp_a", Dialect::Spark, &SqlColumns::new("device_id"))?,
    ///     "CASE
    ///   WHEN coalesce(CAST(`device_id` AS STRING), '') = '' THEN NULL
    ///   WHEN shiftrightunsigned(xxhash64(-365884300664092260L, \
    ///         xxhash64(-365884300664092260L, CAST(`device_id` AS STRING)) ^ \
    ///         1058832435288415517L), 32) < 2147483648 THEN 'var_a'
    ///   ELSE 'var_b'
    /// END",
    /// );
    /// # Ok::<(), variate::Error>(())
    /// ```
    ///
    /// # Columns
    /// [`SqlColumns`] names the columns of the id and the attributes, and says of what types they
    /// must be.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is no such experiment. [`Code::NotExpressible`] when it is not
    /// active; when it has a schedule and [`SqlColumns::at`] names no moment, or one at which it
    /// assigns nobody; when an attribute that a rule asks for has no column, or the dialect has no
    /// exact words for what a rule asks: then the path leads there, from the segment's id on. All this
    /// holds of the active experiments before it in its [chain](crate::Chain) too, but that one whose
    /// schedule is closed then has nobody; and so it is when one of them goes by another kind of
    /// subject: then the path begins with `chain` and its id.
    /// [`Code::InvalidValue`] when the name of a column cannot be quoted.
    pub fn sql(
        &self,
        experiment: impl AsRef<str>,
        dialect: Dialect,
        columns: &SqlColumns<'_>,
    ) -> Result<String, Error> {
        let id = experiment.as_ref();
        let Some(plan) = self.plan(id) else {
            let rule = "must be the id of an experiment that exists";
            return Err(Error::new(Code::NotFound, rule).with_value(id).at("experiment"));
        };
        plan.sql(dialect, columns)
    }
}

impl Plan {
    /// The same as [`Snapshot::sql`], of a plan that is at hand, such as a draft's
    /// [trial plan](Snapshot::trial_plan).
    pub fn sql(&self, dialect: Dialect, columns: &SqlColumns<'_>) -> Result<String, Error> {
        let open = match &self.gate {
            Gate::Open(open) => open,
            Gate::Off(off) if off.status == Status::Active => {
                columns.quote(dialect)?;
                return Ok(dialect.as_text("NULL"));
            }
            Gate::Off(off) => return Err(not_active(off.status)),
            Gate::Paused(_) => return Err(not_active(Status::Paused)),
            Gate::Shipped(_) => return Err(not_active(Status::Completed)),
            Gate::Closed(status) => return Err(not_active(*status)),
        };
        let quoted = columns.quote(dialect)?;
        Printer { plan: self, dialect, columns: quoted, at: columns.moment() }.open(open)
    }
}

#[cold]
fn not_active(status: Status) -> Error {
    let article = if status == Status::Archived { "an" } else { "a" };
    let rule = format!("must be active, since {article} {status} experiment assigns nobody");
    Error::new(Code::NotExpressible, rule).with_value(&status).at("status")
}

/// What prints the plan of one experiment.
struct Printer<'a> {
    plan: &'a Plan,
    dialect: Dialect,
    columns: Quoted<'a>,
    at: Option<Timestamp>,
}

impl Printer<'_> {
    /// The gates in the order in which a plan passes them, and then the way in.
    fn open(&self, open: &Open) -> Result<String, Error> {
        let mut case = Case::default();
        let mut traffic_end = open.traffic_end;
        case.when(format!("coalesce({}, '') = ''", self.columns.id), "NULL");
        if let Some(guards) = &open.guards {
            traffic_end = traffic_end.max(self.scheduled(guards)?);
            for condition in self.drawn_out(guards) {
                case.when(condition, "NULL");
            }
            for other in guards.chain.iter().flat_map(Link::before) {
                if let Some(condition) = self.taken(other)? {
                    case.when(condition, "NULL");
                }
            }
            if let Some(audience) = &guards.audience {
                case.when(format!("NOT ({})", self.segment(audience)?), "NULL");
            }
        }
        if traffic_end < Partition::POINTS {
            let outside = format!("{} >= {traffic_end}", self.point(open.traffic_seed));
            case.when(outside, open.rest.map_or_else(|| "NULL".to_owned(), |arm| self.arm(arm)));
        }
        let last = match &open.route {
            Route::Percentage(partition) => self.split(&mut case, open.variation_seed, partition),
            #[cfg(feature = "launchdarkly")]
            Route::Rollout(buckets) => self.roll(&mut case, buckets),
            Route::Segments(targets) => {
                for (segment, share) in targets.iter() {
                    let share = match share {
                        Share::Whole(arm) => self.arm(*arm),
                        Share::Split(partition) => {
                            let mut inner = Case::default();
                            let last = self.split(&mut inner, open.variation_seed, partition);
                            inner.otherwise(&last).replace('\n', "\n    ")
                        }
                    };
                    case.when(self.segment(segment)?, share);
                }
                match &targets.fallback {
                    Share::Whole(arm) => self.arm(*arm),
                    Share::Split(partition) => {
                        self.split(&mut case, open.variation_seed, partition)
                    }
                }
            }
        };
        Ok(case.otherwise(&last))
    }

    /// The conditions under which a holdout or the layer keeps a subject out.
    fn drawn_out(&self, guards: &Guards) -> Vec<String> {
        let holdouts = guards.holdouts.iter();
        let mut out: Vec<String> =
            holdouts.map(|gate| format!("{} < {}", self.point(gate.seed), gate.end)).collect();
        if let Some(gate) = &guards.layer {
            let slots = gate.slots();
            out.push(none_of(&self.point(gate.seed), slots));
        }
        out
    }

    /// The first traffic point that is not in by the schedule alone.
    fn scheduled(&self, guards: &Guards) -> Result<u64, Error> {
        self.staged(guards)?.ok_or_else(|| {
            let rule = "must lie in the time in which the experiment assigns";
            no_moment(rule).with_value(&self.at)
        })
    }

    /// The same, or `None` at a moment at which the schedule is closed.
    fn staged(&self, guards: &Guards) -> Result<Option<u64>, Error> {
        let Some(schedule) = &guards.schedule else { return Ok(Some(0)) };
        let rule = "must be given for an experiment that has a schedule";
        let at = self.at.ok_or_else(|| no_moment(rule))?;
        Ok(schedule.traffic_at(at).ok().map(|traffic| traffic.points()))
    }

    /// Adds all slices but the last, whose arm it returns.
    fn split(&self, case: &mut Case, seed: u64, partition: &Partition) -> String {
        let point = self.point(seed);
        let mut last = "NULL".to_owned();
        for (_, end, arm) in partition.slices() {
            last = u8::try_from(arm).map_or(last, |arm| self.arm(arm));
            if end < Partition::POINTS {
                case.when(format!("{point} < {end}"), last.clone());
            }
        }
        last
    }

    /// Adds all slices but the last, whose arm it returns.
    #[cfg(feature = "launchdarkly")]
    fn roll(&self, case: &mut Case, buckets: &Buckets) -> String {
        let point = self.dialect.sha1_point(&self.columns.id, buckets.salt.as_str());
        let mut last = "NULL".to_owned();
        for (points, share) in buckets.slices() {
            last = if share.tracked { self.arm(share.arm) } else { "NULL".to_owned() };
            if points.end < Buckets::POINTS {
                case.when(format!("{point} < {}", points.end), last.clone());
            }
        }
        last
    }

    /// The variation of an arm.
    fn arm(&self, number: u8) -> String {
        let arm = self.plan.arms.get(usize::from(number));
        arm.map_or_else(|| "NULL".to_owned(), |arm| self.dialect.text(arm.variation_id.as_str()))
    }

    fn point(&self, seed: u64) -> String {
        self.dialect.point(&self.columns.id, seed)
    }
}

#[cold]
fn no_moment(rule: &'static str) -> Error {
    Error::new(Code::NotExpressible, rule).at("at").at("columns")
}

/// Whether a point lies in none of these ranges.
fn none_of(point: &str, ranges: impl Iterator<Item = Range<u64>>) -> String {
    let ranges: Vec<String> = ranges
        .filter(|range| !range.is_empty())
        .map(|range| format!("{point} BETWEEN {} AND {}", range.start, range.end - 1))
        .collect();
    let any = if ranges.is_empty() { "false".to_owned() } else { ranges.join(" OR ") };
    format!("NOT ({any})")
}

/// A `CASE` expression under way.
#[derive(Default)]
struct Case(String);

impl Case {
    fn when(&mut self, condition: impl AsRef<str>, then: impl AsRef<str>) {
        self.0 += "\n  WHEN ";
        self.0 += condition.as_ref();
        self.0 += " THEN ";
        self.0 += then.as_ref();
    }

    fn otherwise(self, value: &str) -> String {
        if self.0.is_empty() {
            return value.to_owned();
        }
        format!("CASE{}\n  ELSE {value}\nEND", self.0)
    }
}
