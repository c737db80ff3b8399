//! Two experiments, from a document that a person wrote to decisions that explain themselves.
//!
//! ```text
//! cargo run --release --example quickstart
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use variate::{
    Allocation, Change, Decision, Engine, Experiment, ExperimentId, ExperimentPatch, Partition,
    Snapshot, Status, Subject, Transaction, VariationId, Weight,
};

fn main() -> Result<(), Box<dyn Error>> {
    // Two flags, three segments, two experiments that have not started.
    let engine = Engine::from_json(include_str!("quickstart.json"))?;
    // Whatever is committed from here on, this snapshot stays what it is.
    let drafts = engine.snapshot();
    let devices: Vec<String> = (1..=100_000).map(|number| format!("device-{number}")).collect();

    start(&engine)?;
    split(&engine.snapshot(), &devices)?;
    reweigh(&engine, &devices)?;
    explain(&drafts, &engine, &devices)?;
    refuse(&engine)
}

fn start(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let both = Transaction::from([
        Change::set_experiment_status(&"exp_signin".parse()?, Status::Active),
        Change::set_experiment_status(&"exp_upgrade".parse()?, Status::Active),
    ]);
    let commit = engine.commit(both.comment("the autumn tests"))?;

    println!("Two experiments start in one transaction.\n");
    // The event says what came of it, for a log or for another process.
    for effect in commit.event.iter().flat_map(|event| &event.effects) {
        if let (Some(id), Some(from), Some(to)) = (&effect.id, &effect.from, &effect.to) {
            let experiment = commit.snapshot.experiment(id).ok_or("an effect on nothing")?;
            println!("  {id:<11}  {from} → {to}  {}", experiment.name());
        }
    }
    Ok(())
}

fn split(snapshot: &Snapshot, devices: &[String]) -> Result<(), Box<dyn Error>> {
    let arms = arms(snapshot, devices);
    let entered = count(arms.iter().flatten());

    println!("\nOf {} devices {} enter.\n", grouped(count(devices)), grouped(entered));
    println!("  arm            target    devices    share");
    let mut chi_square = 0.0;
    for arm in signin(snapshot)?.allocations() {
        let (id, weight) = (&arm.variation_id, arm.weight.unwrap_or_default());
        let own = count(arms.iter().flatten().filter(|own| **own == id));
        println!("  {id:<11}  {weight:>6} %  {:>9}  {}", grouped(own), share(own, entered));
        let expected = float(entered) * weight.as_f64() / 100.0;
        chi_square += (float(own) - expected).powi(2) / expected;
    }
    // Three arms leave two degrees of freedom, for which this formula is exact.
    let p = (-chi_square / 2.0_f64).exp();
    println!("\n  χ² = {chi_square:.2} with 2 degrees of freedom, p = {p:.2}");
    Ok(())
}

fn reweigh(engine: &Engine, devices: &[String]) -> Result<(), Box<dyn Error>> {
    let id: ExperimentId = "exp_signin".parse()?;
    let arms_now = [
        Allocation::share("var_today".parse()?, "34".parse()?).control(),
        Allocation::share("var_passkey".parse()?, "33".parse()?),
        Allocation::share("var_short".parse()?, "33".parse()?),
    ];
    let before = engine.snapshot();
    // Together, so that nobody ever finds the experiment paused.
    engine.commit([
        Change::set_experiment_status(&id, Status::Paused),
        Change::patch_experiment(&id, ExperimentPatch::new().allocations(arms_now)),
        Change::set_experiment_status(&id, Status::Active),
    ])?;
    let after = engine.snapshot();

    let (old, new) = (partition(&before)?, partition(&after)?);
    let (old_weights, new_weights) = (weights(&before)?, weights(&after)?);
    // Whatever the shrinking arms lose has to go.
    let loss = |arm| old.points(arm).saturating_sub(new.points(arm));
    let least = (0..old_weights.len()).map(loss).sum();
    let anew = Partition::new(&old_weights)?.moved(&Partition::new(&new_weights)?);

    println!("\nThe weights change from {} to {}.\n", list(&old_weights), list(&new_weights));
    let moved = signin(&before)?.iteration().moved(signin(&after)?.iteration());
    let moved = moved.ok_or("a reshuffle moves nearly everyone")?;
    let rows = [("moved", moved), ("least possible", least), ("cut anew in order", anew)];
    for (what, points) in rows {
        println!("  {what:<32}  {}", share(points, Partition::POINTS));
    }
    println!();
    let pairs = arms(&before, devices).into_iter().zip(arms(&after, devices));
    let pairs: Vec<_> = pairs.filter_map(|(from, to)| from.zip(to)).collect();
    let entered = count(&pairs);
    let mut moves = BTreeMap::new();
    for (from, to) in pairs.into_iter().filter(|(from, to)| from != to) {
        *moves.entry(format!("{from} → {to}")).or_insert(0) += 1;
    }
    let stay = entered - moves.values().sum::<u64>();
    for (what, own) in moves.into_iter().chain([("everyone else stays".to_owned(), stay)]) {
        println!("  {what:<23}  {:>7}  {}", grouped(own), share(own, entered));
    }
    Ok(())
}

fn explain(drafts: &Snapshot, engine: &Engine, devices: &[String]) -> Result<(), Box<dyn Error>> {
    let id: ExperimentId = "exp_signin".parse()?;
    let set = |status| Change::set_experiment_status(&id, status);
    // A dry run shows the snapshot that a commit would lead to.
    let paused = engine.dry_run(set(Status::Paused))?.snapshot;
    let completed = engine.dry_run(set(Status::Completed))?.snapshot;
    let archived = engine.dry_run([set(Status::Completed), set(Status::Archived)])?.snapshot;
    let now = engine.snapshot();

    let device = Subject::new("device-1");
    let mut subjects = devices.iter().map(|id| Subject::new(id));
    let outsider = subjects.find(|subject| !now.assign(&id, subject).in_experiment());
    let outsider = outsider.ok_or("every device is in the experiment")?;
    let team = [("plan", "team"), ("country", "NO"), ("platform", "web")];
    let team = Subject::of("user", "user-1").with_attributes(&team);
    let old_app = [("plan", "free"), ("country", "DE"), ("platform", "ios/2")];
    let old_app = Subject::of("user", "user-2").with_attributes(&old_app);

    println!("\nEvery decision says why.\n");
    row(&device, &now.assign("exp_unknown", &device));
    row(&device, &drafts.assign(&id, &device));
    row(&device, &paused.assign(&id, &device));
    row(&device, &completed.assign(&id, &device));
    row(&device, &archived.assign(&id, &device));
    row(&team, &now.assign(&id, &team));
    row(&outsider, &now.assign(&id, &outsider));
    row(&device, &now.assign(&id, &device));
    row(&team, &now.assign("exp_upgrade", &team));
    row(&old_app, &now.assign("exp_upgrade", &old_app));
    Ok(())
}

fn row(subject: &Subject<'_>, decision: &Decision<'_>) {
    let id = subject.id("device").or(subject.id("user")).unwrap_or_default();
    let variation = decision.variation_id().map_or("–", VariationId::as_str);
    let config = decision.config().into_iter().flat_map(|config| config.iter());
    let config: Vec<_> = config.map(|(name, value)| format!("{name}={value}")).collect();
    let row =
        format!("  {:<18}  {id:<8}  {variation:<12}  {}", decision.reason(), config.join(" "));
    println!("{}", row.trim_end());
}

fn refuse(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let before = engine.snapshot();

    println!("\nA change with a bad value is refused.\n");
    let json = r#"{"change": "patch_experiment", "id": "exp_signin", "patch": {"traffic": 120}}"#;
    let error = Change::from_json(json).err().ok_or("no share is larger than the whole")?;
    println!("  {json}");
    println!("  path   {}", error.path());
    println!("  value  {}", error.value().unwrap_or_default());
    println!("  rule   {}", error.rule());

    println!("\nSo is an experiment that is not ready, and the transaction with it.\n");
    let id: ExperimentId = "exp_signin".parse()?;
    let unfit = [
        Allocation::share("var_short".parse()?, "50".parse()?),
        Allocation::share("var_short".parse()?, "40".parse()?),
    ];
    let refused = engine.commit([
        Change::set_experiment_status(&id, Status::Paused),
        Change::patch_experiment(&id, ExperimentPatch::new().allocations(unfit)),
        Change::set_experiment_status(&id, Status::Active),
    ]);
    let error = refused.err().ok_or("these arms should not be ready")?;
    println!("  changes[{}]: {}", error.change().unwrap_or_default(), error.rule());
    for violation in error.violations() {
        println!("  – {}", violation.message());
    }

    if Arc::ptr_eq(&before, &engine.snapshot()) {
        println!("\nNothing has changed: transaction {} is still the last.", before.sequence());
    }
    Ok(())
}

/// The arm of each device, if it is in the experiment.
fn arms<'s>(snapshot: &'s Snapshot, devices: &[String]) -> Vec<Option<&'s VariationId>> {
    let decide = |id: &String| snapshot.assign("exp_signin", &Subject::new(id));
    let assignments = devices.iter().map(|id| decide(id).assignment());
    assignments.map(|assignment| Some(assignment?.variation_id)).collect()
}

fn signin(snapshot: &Snapshot) -> Result<&Experiment, &'static str> {
    snapshot.experiment("exp_signin").ok_or("the document has no exp_signin")
}

fn partition(snapshot: &Snapshot) -> Result<&Partition, &'static str> {
    signin(snapshot)?.iteration().partition().ok_or("exp_signin has never started")
}

fn weights(snapshot: &Snapshot) -> Result<Vec<Weight>, &'static str> {
    Ok(signin(snapshot)?.allocations().iter().filter_map(|arm| arm.weight).collect())
}

fn list(weights: &[Weight]) -> String {
    weights.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn count<T>(items: impl IntoIterator<Item = T>) -> u64 {
    items.into_iter().map(|_| 1).sum()
}

fn grouped(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", number / 1_000, number % 1_000),
    }
}

/// A share as a number and as a bar.
fn share(part: u64, whole: u64) -> String {
    const COLUMNS: u64 = 40;
    let eighths = part * COLUMNS * 8 / whole;
    let full = (0..eighths / 8).map(|_| '█');
    let rest = " ▏▎▍▌▋▊▉".chars().zip(0..).find(|(_, width)| *width == eighths % 8);
    let bar: String = full.chain(rest.map(|(block, _)| block)).collect();
    format!("{:5.2} %  {}", float(part) * 100.0 / float(whole), bar.trim_end())
}

#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}
