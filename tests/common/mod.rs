//! What the tests share: a small world, and deterministic ways to change it.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::sync::atomic::{AtomicU64, Ordering};

use variate::{
    Allocation, Change, Commit, Error, Expression, FlagStatus, NewExperiment, NewFlag, NewSegment,
    NewVariation, Rule, Snapshot, Status, Timestamp, Transaction,
};

/// Parses what is known to be right.
#[track_caller]
pub fn p<T: std::str::FromStr<Err = Error>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// The moment this many seconds after the epoch.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_millis(seconds * 1_000).unwrap()
}

/// Applies one second after the last transaction, with ids that no other call in this process gets.
pub fn apply(snapshot: &Snapshot, transaction: impl Into<Transaction>) -> Result<Commit, Error> {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    let mut entropy =
        || u128::from(COUNTER.fetch_add(1, Ordering::Relaxed)).wrapping_mul(1 << 60 | 1 << 3);
    let now = Timestamp::from_unix_millis(snapshot.updated_at().unix_millis() + 1_000).unwrap();
    snapshot.apply(transaction, now, &mut entropy)
}

/// Applies what is known to be right.
#[track_caller]
pub fn ok(snapshot: &Snapshot, transaction: impl Into<Transaction>) -> Snapshot {
    match apply(snapshot, transaction) {
        Ok(commit) => Snapshot::clone(&commit.snapshot),
        Err(error) => panic!("{error}"),
    }
}

/// A flag `flg_a` (active; parameters `headline` and `size`; variations `var_a` to `var_d`, of which
/// `var_a` overrides nothing), segments `seg_germany` and `seg_ios`, and two drafts that are ready:
/// `exp_weights` by percentage (`var_a` 50 control, `var_b` 50) and `exp_segments` by segment
/// (`seg_germany` first: `var_b`; `seg_ios` second: `var_c`; fallback and control `var_a`).
pub fn world() -> Snapshot {
    let flag = NewFlag::new("Sign-in screen")
        .id(p("flg_a"))
        .parameter("headline", "Welcome back")
        .parameter("size", 12)
        .variation(NewVariation::new("control").id(p("var_a")))
        .variation(NewVariation::new("short").id(p("var_b")).with("headline", "Hi"))
        .variation(NewVariation::new("large").id(p("var_c")).with("size", 16))
        .variation(
            NewVariation::new("both").id(p("var_d")).with("headline", "Hi").with("size", 16),
        );
    let germany = Rule::new().when("country", Expression::one_of(["DE"]));
    let ios = Rule::new().when("platform", Expression::starts_with(["ios"]));
    let weights = NewExperiment::by_percentage("Weights", p("flg_a"))
        .id(p("exp_weights"))
        .allocation(share("var_a", "50").control())
        .allocation(share("var_b", "50"));
    let segments = NewExperiment::by_segment("Segments", p("flg_a"))
        .id(p("exp_segments"))
        .allocation(Allocation::segment(p("var_b"), p("seg_germany"), 1).unwrap())
        .allocation(Allocation::segment(p("var_c"), p("seg_ios"), 2).unwrap())
        .allocation(Allocation::fallback(p("var_a")).control());
    ok(
        &Snapshot::new(),
        vec![
            flag.into(),
            Change::set_flag_status(&p("flg_a"), FlagStatus::Active),
            NewSegment::new("Germany").id(p("seg_germany")).rule(germany).into(),
            NewSegment::new("iOS").id(p("seg_ios")).rule(ios).into(),
            weights.into(),
            segments.into(),
        ],
    )
}

/// An arm by weight.
pub fn share(variation: &str, weight: &str) -> Allocation {
    Allocation::share(p(variation), p(weight))
}

/// An experiment of the world, brought to this status by the shortest way.
#[track_caller]
pub fn brought_to(snapshot: &Snapshot, experiment: &str, status: Status) -> Snapshot {
    let way: &[Status] = match status {
        Status::Draft => &[],
        Status::Active => &[Status::Active],
        Status::Paused => &[Status::Active, Status::Paused],
        Status::Completed => &[Status::Active, Status::Completed],
        Status::Archived => &[Status::Active, Status::Completed, Status::Archived],
    };
    let step = |snapshot: Snapshot, to: &Status| {
        ok(&snapshot, Change::set_experiment_status(&p(experiment), *to))
    };
    way.iter().fold(snapshot.clone(), step)
}
