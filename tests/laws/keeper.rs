//! Keepers: who got what is remembered as a small model says, a paused experiment keeps exactly those
//! who were in, what is attached stays until it is detached, and a store that fails changes nothing.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::common::{at, brought_to, ok, p, share, world};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use variate::{
    Allocation, AssignmentStore, Change, Code, Effect, EffectKind, Engine, ExperimentId,
    ExperimentPatch, Expression, FlagPatch, HoldoutPatch, Keep, Keeper, KeptAssignment, LayerPatch,
    MemoryStore, NewExperiment, NewHoldout, NewLayer, NewSegment, Percentage, Rule, Snapshot,
    Status, Subject, VariationId,
};

fn keeper(snapshot: Snapshot) -> Keeper {
    Keeper::new(Engine::from_snapshot(snapshot)).unwrap()
}

fn change(keeper: &Keeper, change: Change) {
    keeper.engine().commit(change).unwrap();
}

fn status(to: Status) -> Change {
    Change::set_experiment_status(&p("exp_t"), to)
}

fn patch(patch: ExperimentPatch) -> Change {
    Change::patch_experiment(&p("exp_t"), patch)
}

/// The reason and the arm of a subject of `exp_t`.
type Got = (String, Option<String>);

fn got(reason: &str, arm: Option<&str>) -> Got {
    (reason.to_owned(), arm.map(str::to_owned))
}

fn try_ask(keeper: &Keeper, subject: &Subject<'_>) -> Result<Got, variate::Error> {
    let snapshot = keeper.engine().snapshot();
    let decision = keeper.assign(&snapshot, "exp_t", subject)?;
    let arm = decision.assignment().map(|assignment| assignment.variation_id.as_str());
    Ok(got(decision.reason().as_str(), arm))
}

#[track_caller]
fn ask(keeper: &Keeper, subject: &Subject<'_>) -> Got {
    try_ask(keeper, subject).unwrap()
}

fn kept(keeper: &Keeper, id: &str) -> Option<(String, bool)> {
    let kept = keeper.kept(&p("exp_t"), id).unwrap();
    kept.map(|kept| (kept.variation_id.to_string(), kept.attached))
}

fn attach(keeper: &Keeper, id: &str, variation: &str) -> Result<(), Code> {
    keeper.attach(&p("exp_t"), id, &p(variation)).map_err(|error| error.code())
}

/// The world with a draft of `exp_t`: `var_a` 50 control, `var_b` 50, and this much traffic.
fn draft(traffic: &str) -> Snapshot {
    let new = NewExperiment::by_percentage("Kept", p("flg_a"))
        .id(p("exp_t"))
        .allocation(share("var_a", "50").control())
        .allocation(share("var_b", "50"))
        .traffic(p(traffic));
    ok(&world(), new)
}

fn active(traffic: &str) -> Snapshot {
    brought_to(&draft(traffic), "exp_t", Status::Active)
}

/// What a history is made of.
#[derive(Debug, Clone)]
enum Step {
    /// Who asks, with what of its own.
    Ask(usize, Option<(&'static str, &'static str)>),
    /// Somebody asks who has no id of the experiment's kind.
    AskWithoutId,
    Status(Status),
    Traffic(u32),
    /// The weight of `var_b`, or of `var_c` in its place; the rest is `var_a`'s.
    Arms(bool, u32),
    Reshuffle,
    Keep(Keep),
    Switch(bool),
    Attach(usize, &'static str),
    Detach(usize),
    Forget,
}

const IDS: [&str; 5] = ["device-1", "device-2", "device-3", "device-4", "ä 🙂"];

fn any_step() -> impl Strategy<Value = Step> {
    let variation = || select(vec!["var_a", "var_b", "var_c", "var_d"]);
    let brought = (select(vec!["forced", "attached", "kept"]), variation());
    prop_oneof![
        24 => (0..IDS.len(), prop::option::weighted(0.2, brought))
            .prop_map(|(who, brought)| Step::Ask(who, brought)),
        1 => Just(Step::AskWithoutId),
        8 => prop_oneof![
            4 => Just(Status::Active), 4 => Just(Status::Paused), 1 => select(Status::ALL)
        ].prop_map(Step::Status),
        4 => select(vec![0, 20, 50, 80, 100]).prop_map(Step::Traffic),
        3 => (any::<bool>(), select(vec![0, 30, 100])).prop_map(|(b, w)| Step::Arms(b, w)),
        1 => Just(Step::Reshuffle),
        2 => select(Keep::ALL).prop_map(Step::Keep),
        2 => prop::bool::weighted(0.6).prop_map(Step::Switch),
        5 => (0..IDS.len(), variation()).prop_map(|(who, id)| Step::Attach(who, id)),
        3 => (0..IDS.len()).prop_map(Step::Detach),
        1 => Just(Step::Forget),
    ]
}

/// What must be remembered: of whom what, and whether by hand.
type Model = HashMap<&'static str, (String, bool)>;

/// What the subject gets by the model, which takes note of it. The draw is that of the snapshot.
fn model_ask(
    model: &mut Model,
    snapshot: &Snapshot,
    id: &'static str,
    brought: Option<(&str, &str)>,
) -> Got {
    let own = snapshot.experiment("exp_t").unwrap();
    let arms = own.iteration().allocations().unwrap_or(own.allocations());
    let is_arm = |id: &&str| arms.iter().any(|arm| arm.variation_id.as_str() == *id);
    let is_on = snapshot.flag("flg_a").unwrap().is_on();
    let runs = matches!(own.status(), Status::Active | Status::Paused) && is_on;
    let is_active = own.status() == Status::Active;
    let keeps = match own.keep() {
        Keep::WhilePaused => !is_active,
        keep => keep == Keep::Always,
    };
    let remembered = model.get(id).cloned();
    let brings = |by: &str| brought.filter(|(own, _)| *own == by).map(|(_, id)| id);
    let stored = |attached: bool| {
        remembered.as_ref().filter(|own| own.1 == attached).map(|(id, _)| id.as_str())
    };
    let drawn = snapshot.assign("exp_t", &Subject::new(id));
    let first = |by: &'static str, list: [Option<&str>; 2]| {
        Some((by, list.into_iter().flatten().find(is_arm)?.to_owned()))
    };
    let arm = first("forced", [brings("forced"), None]);
    let arm =
        arm.or_else(|| first("attached", [brings("attached"), stored(true)]).filter(|_| runs));
    let arm =
        arm.or_else(|| first("kept", [brings("kept"), stored(false)]).filter(|_| runs && keeps));
    let assigned = drawn.assignment().map(|assignment| assignment.variation_id.as_str());
    let (reason, arm) = match &arm {
        Some((reason, arm)) => (*reason, Some(arm.as_str())),
        None => (drawn.reason().as_str(), assigned),
    };
    let by_hand = stored(true).as_ref().is_some_and(is_arm);
    let writes = runs && is_active && own.keep() != Keep::Never && !by_hand;
    match (reason, arm) {
        ("split" | "kept", Some(arm)) if writes => {
            model.insert(id, (arm.to_owned(), false));
        }
        ("not_sampled", _) if writes => {
            model.remove(id);
        }
        _ => {}
    }
    got(reason, arm)
}

/// What attaching comes to by the model.
fn model_attach(
    model: &mut Model,
    snapshot: &Snapshot,
    id: &'static str,
    variation: &str,
) -> Result<(), Code> {
    let own = snapshot.experiment("exp_t").unwrap();
    let mut arms =
        own.iteration().allocations().unwrap_or_default().iter().chain(own.allocations());
    if matches!(own.status(), Status::Completed | Status::Archived) {
        return Err(Code::NotMutable);
    }
    if !arms.any(|arm| arm.variation_id == *variation) {
        return Err(Code::UnknownReference);
    }
    model.insert(id, (variation.to_owned(), true));
    Ok(())
}

/// The change that a step makes of the experiment or its flag, if any.
fn edit(step: &Step) -> Option<Change> {
    Some(match step {
        Step::Status(to) => status(*to),
        Step::Traffic(share) => patch(ExperimentPatch::new().traffic((*share).try_into().unwrap())),
        Step::Arms(is_b, weight) => {
            let second = if *is_b { "var_b" } else { "var_c" };
            let weights = [100 - weight, *weight].map(|weight| weight.to_string());
            patch(
                ExperimentPatch::new().allocations([
                    share("var_a", &weights[0]).control(),
                    share(second, &weights[1]),
                ]),
            )
        }
        Step::Reshuffle => Change::reshuffle(&p("exp_t")),
        Step::Keep(keep) => patch(ExperimentPatch::new().keep(*keep)),
        Step::Switch(on) => Change::patch_flag(&p("flg_a"), FlagPatch::new().on(*on)),
        _ => return None,
    })
}

/// A subject of the experiment's kind with what it brings.
fn bringing<'a>(id: &'a str, brought: Option<(&str, &'a str)>) -> Subject<'a> {
    let subject = Subject::new(id);
    match brought {
        Some(("forced", variation)) => subject.forced("exp_t", variation),
        Some(("attached", variation)) => subject.attached("exp_t", variation),
        Some((_, variation)) => subject.kept("exp_t", variation),
        None => subject,
    }
}

/// What is remembered in `exp_t`, by subject.
fn listed(keeper: &Keeper) -> Vec<(String, (String, bool))> {
    let list = keeper.list(&p("exp_t")).unwrap();
    list.into_iter()
        .map(|(id, kept)| (id, (kept.variation_id.to_string(), kept.attached)))
        .collect()
}

fn sorted(model: &Model) -> Vec<(String, (String, bool))> {
    let mut list: Vec<_> = model.iter().map(|(id, own)| ((*id).to_owned(), own.clone())).collect();
    list.sort();
    list
}

/// Takes a step and compares what comes of it with the model.
#[track_caller]
fn check_step(keeper: &Keeper, model: &mut Model, step: &Step) {
    let snapshot = keeper.engine().snapshot();
    match step {
        Step::Ask(who, brought) => {
            let wanted = model_ask(model, &snapshot, IDS[*who], *brought);
            assert_eq!(ask(keeper, &bringing(IDS[*who], *brought)), wanted, "{step:?}");
        }
        Step::AskWithoutId => {
            for subject in [Subject::of("user", IDS[0]), Subject::new("")] {
                let decision = keeper.assign(&snapshot, "exp_t", &subject).unwrap();
                assert_eq!(decision, snapshot.assign("exp_t", &subject));
            }
        }
        Step::Attach(who, variation) => {
            let wanted = model_attach(model, &snapshot, IDS[*who], variation);
            assert_eq!(attach(keeper, IDS[*who], variation), wanted, "{step:?}");
        }
        Step::Detach(who) => {
            let wanted = model.get(IDS[*who]).is_some_and(|(_, attached)| *attached);
            if wanted {
                model.remove(IDS[*who]);
            }
            assert_eq!(keeper.detach(&p("exp_t"), IDS[*who]).unwrap(), wanted);
        }
        Step::Forget => {
            model.clear();
            keeper.forget(&p("exp_t")).unwrap();
        }
        other => {
            // One that the status does not allow is refused and changes nothing.
            let _ = keeper.engine().commit(edit(other).unwrap());
        }
    }
    assert_eq!(listed(keeper), sorted(model), "{step:?}");
}

proptest! {
    #[test]
    fn any_history_is_remembered_as_the_model_says(
        steps in prop::collection::vec(any_step(), 1..60),
        starts in prop::bool::weighted(0.9),
    ) {
        let keeper = keeper(if starts { active("50") } else { draft("50") });
        let mut model = Model::new();
        for step in &steps {
            check_step(&keeper, &mut model, step);
        }
        // The document has it all, and the snapshot's reader leaves it aside.
        let document = keeper.to_json().unwrap();
        let read = Keeper::from_json(&document).unwrap();
        prop_assert_eq!(read.to_json().unwrap(), &*document);
        prop_assert_eq!(listed(&read), sorted(&model));
        let snapshot = Snapshot::from_json(&document).unwrap();
        prop_assert!(snapshot == *keeper.engine().snapshot());
        prop_assert_eq!(document == keeper.engine().to_json(), model.is_empty());
        for id in IDS {
            prop_assert_eq!(ask(&read, &Subject::new(id)), ask(&keeper, &Subject::new(id)));
        }
    }
}

#[test]
fn a_pause_keeps_those_who_were_in_and_admits_nobody() {
    let keeper = keeper(active("60"));
    let ids: Vec<String> = (0..600).map(|n| format!("device-{n}")).collect();
    let ask_all = |ids: &[String]| -> Vec<Got> {
        ids.iter().map(|id| ask(&keeper, &Subject::new(id))).collect()
    };
    let (asked, late) = ids.split_at(300);
    let before = ask_all(asked);
    let members = before.iter().filter(|(reason, _)| reason == "split").count();
    assert!((120..240).contains(&members), "{members}");
    attach(&keeper, "guest", "var_b").unwrap();
    let guest = || ask(&keeper, &Subject::new("guest"));
    assert_eq!(guest(), got("attached", Some("var_b")));

    change(&keeper, status(Status::Paused));
    // Whatever is edited meanwhile.
    change(&keeper, patch(ExperimentPatch::new().traffic(p("100"))));
    for _ in 0..2 {
        for ((reason, arm), was) in ask_all(asked).into_iter().zip(&before) {
            let wanted = if was.0 == "split" { "kept" } else { "paused" };
            assert_eq!((reason.as_str(), &arm), (wanted, &was.1));
        }
        assert!(ask_all(late).iter().all(|own| *own == got("paused", None)));
        assert_eq!(guest(), got("attached", Some("var_b")));
    }
    assert_eq!(listed(&keeper).len(), members + 1);

    // Resumed with all the traffic, everybody is in, and members are where they were.
    change(&keeper, status(Status::Active));
    for ((reason, arm), was) in ask_all(asked).into_iter().zip(&before) {
        assert_eq!(reason, "split");
        assert!(was.1.is_none() || arm == was.1);
    }
    // With none, nobody is; whoever does not ask is not found out.
    change(&keeper, patch(ExperimentPatch::new().traffic(p("0"))));
    assert!(ask_all(&asked[..100]).iter().all(|own| *own == got("not_sampled", None)));
    change(&keeper, status(Status::Paused));
    assert!(ask_all(&asked[..100]).iter().all(|own| *own == got("paused", None)));
    assert!(ask_all(&asked[100..]).iter().all(|(reason, _)| reason == "kept"));

    change(&keeper, status(Status::Completed));
    assert!(ask_all(&ids).iter().all(|own| *own == got("completed", None)));
    assert_eq!(guest(), got("completed", None));
    assert!(keeper.detach(&p("exp_t"), "guest").unwrap());
    assert!(!keeper.detach(&p("exp_t"), "guest").unwrap());
    assert_eq!(kept(&keeper, "guest"), None);
}

/// With `always` a member has its arm, whatever becomes of weights and traffic.
#[test]
fn who_is_always_kept_stays_while_the_experiment_runs() {
    let keeper = keeper(active("100"));
    let subject = Subject::new("device-42");
    let (_, arm) = ask(&keeper, &subject);
    change(&keeper, patch(ExperimentPatch::new().keep(Keep::Always).traffic(p("0"))));
    let anew = [status(Status::Paused), Change::reshuffle(&p("exp_t")), status(Status::Active)];
    keeper.engine().commit(anew).unwrap();
    assert_eq!(ask(&keeper, &subject), got("kept", arm.as_deref()));
    assert_eq!(ask(&keeper, &Subject::new("device-43")), got("not_sampled", None));
    keeper.forget(&p("exp_t")).unwrap();
    assert_eq!(ask(&keeper, &subject), got("not_sampled", None));
}

/// What puts a member outside is not what only closes the experiment.
#[test]
fn only_who_is_outside_is_forgotten() {
    let rule = Rule::new().when("country", Expression::one_of(["DE"]));
    let new = NewExperiment::by_percentage("Kept", p("flg_a"))
        .id(p("exp_t"))
        .allocation(share("var_a", "100").control())
        .audience(p("seg_t"));
    let base = ok(
        &world(),
        vec![
            NewSegment::new("Audience").id(p("seg_t")).rule(rule).into(),
            new.into(),
            NewHoldout::new("Winter", "device", Percentage::ZERO)
                .id(p("hld_a"))
                .experiment(p("exp_t"))
                .into(),
            NewLayer::new("Layer", "device").id(p("lay_a")).member(p("exp_t"), p("100")).into(),
        ],
    );
    let base = brought_to(&base, "exp_t", Status::Active);
    let check = |edit: Option<Change>, country: &str, reason: &str, stays: bool| {
        let keeper = keeper(base.clone());
        let (german, now) = ([("country", "DE")], at(1_000));
        let subject = Subject::new("device-42").with_attributes(&german).with_clock(&now);
        assert_eq!(ask(&keeper, &subject), got("split", Some("var_a")));
        if let Some(edit) = edit {
            change(&keeper, edit);
        }
        let elsewhere = [("country", country)];
        let again = subject.clone().with_attributes(&elsewhere);
        assert_eq!(ask(&keeper, &again).0, reason);
        assert_eq!(kept(&keeper, "device-42").is_some(), stays, "{reason}");
        // What is attached stays in any case.
        attach(&keeper, "device-42", "var_a").unwrap();
        ask(&keeper, &again);
        assert_eq!(kept(&keeper, "device-42"), Some(("var_a".to_owned(), true)), "{reason}");
    };
    let own = |edit: ExperimentPatch| Some(patch(edit));
    check(None, "DE", "split", true);
    check(None, "FR", "not_targeted", false);
    check(own(ExperimentPatch::new().traffic(p("0"))), "DE", "not_sampled", false);
    let all = HoldoutPatch::new().share(p("100"));
    check(Some(Change::patch_holdout(&p("hld_a"), all)), "DE", "held_out", false);
    let none = LayerPatch::new().members([(p("exp_t"), p("0"))].into());
    check(Some(Change::patch_layer(&p("lay_a"), none)), "DE", "outside_layer_slot", false);
    check(own(ExperimentPatch::new().starts_at(at(1_001))), "DE", "before_start", true);
    check(own(ExperimentPatch::new().ends_at(at(1_000))), "DE", "after_end", true);
    check(
        Some(Change::patch_flag(&p("flg_a"), FlagPatch::new().on(false))),
        "DE",
        "flag_off",
        true,
    );
    check(Some(status(Status::Paused)), "FR", "kept", true);
}

/// By segment, and by another kind of id than the default.
#[test]
fn it_goes_by_the_id_of_the_experiments_kind() {
    let new = NewExperiment::by_segment("Kept", p("flg_a"))
        .id(p("exp_t"))
        .subject_kind("user")
        .allocation(Allocation::segment(p("var_b"), p("seg_germany"), 1).unwrap())
        .allocation(Allocation::fallback(p("var_a")).control());
    let keeper = keeper(brought_to(&ok(&world(), new), "exp_t", Status::Active));
    let german = [("country", "DE")];
    let user = Subject::of("user", "u-1").with_id("device", "d-1");
    assert_eq!(ask(&keeper, &user.clone().with_attributes(&german)), got("segment", Some("var_b")));
    assert_eq!(ask(&keeper, &Subject::of("user", "u-2")), got("fallback", Some("var_a")));
    assert_eq!(ask(&keeper, &Subject::new("d-3")).0, "missing_subject_id");
    assert_eq!(listed(&keeper).len(), 2);
    change(&keeper, status(Status::Paused));
    // Whatever is known of it now, on whatever device.
    let moved = Subject::of("user", "u-1").with_id("device", "d-9");
    assert_eq!(ask(&keeper, &moved), got("kept", Some("var_b")));
    for other in ["d-1", "u-1"] {
        assert_eq!(ask(&keeper, &Subject::new(other)), got("paused", None));
    }
}

#[test]
fn who_can_be_attached_to_what() {
    #[track_caller]
    fn check(keeper: &Keeper, ids: [&str; 3], wanted: Option<(Code, &str)>) {
        let [experiment, subject, variation] = ids;
        let before = keeper.to_json().unwrap();
        let result = keeper.attach(&p(experiment), subject, &p(variation));
        let error = result.as_ref().map_err(|error| (error.code(), error.path())).err();
        assert_eq!(error, wanted);
        let kept = keeper.kept(&p(experiment), subject).unwrap();
        match wanted {
            Some(_) => assert_eq!(keeper.to_json().unwrap(), before),
            None => assert_eq!(kept, Some(KeptAssignment::new(p(variation), true))),
        }
    }
    let not_mutable = Some((Code::NotMutable, "status"));
    let no_arm = Some((Code::UnknownReference, "variation_id"));
    for to in Status::ALL {
        let keeper = keeper(brought_to(&draft("0"), "exp_t", *to));
        let closed = matches!(to, Status::Completed | Status::Archived);
        let sequence = keeper.engine().snapshot().sequence();
        for variation in ["var_a", "var_b"] {
            check(&keeper, ["exp_t", "device-1", variation], not_mutable.filter(|_| closed));
        }
        let wanted = if closed { not_mutable } else { no_arm };
        for variation in ["var_c", "var_nothing"] {
            check(&keeper, ["exp_t", "device-1", variation], wanted);
        }
        check(&keeper, ["exp_t", "", "var_a"], Some((Code::InvalidValue, "subject_id")));
        check(&keeper, ["exp_none", "a", "var_a"], Some((Code::NotFound, "experiment_id")));
        assert_eq!(keeper.engine().snapshot().sequence(), sequence, "it is no commit");
    }
    // The arms are those of the run, and those that it gets when it is resumed.
    let keeper = keeper(active("0"));
    let arms = [share("var_a", "50").control(), share("var_c", "50")];
    change(&keeper, status(Status::Paused));
    change(&keeper, patch(ExperimentPatch::new().allocations(arms)));
    check(&keeper, ["exp_t", "device-2", "var_c"], None);
    check(&keeper, ["exp_t", "device-1", "var_b"], None);
    assert_eq!(ask(&keeper, &Subject::new("device-1")), got("attached", Some("var_b")));
    assert_eq!(ask(&keeper, &Subject::new("device-2")), got("paused", None));
    change(&keeper, status(Status::Active));
    assert_eq!(ask(&keeper, &Subject::new("device-2")), got("attached", Some("var_c")));
    // An arm that is gone is passed over, and the attachment is over with it.
    check(&keeper, ["exp_t", "device-3", "var_b"], no_arm);
    assert_eq!(ask(&keeper, &Subject::new("device-1")), got("not_sampled", None));
    assert_eq!(kept(&keeper, "device-1"), None);
}

/// A request that is under way reads the snapshot from before; what was attached since is none of its
/// business.
#[test]
fn an_older_snapshot_forgets_nothing_that_was_attached_since() {
    let keeper = keeper(active("50"));
    let old = keeper.engine().snapshot();
    change(&keeper, status(Status::Paused));
    let arms = [share("var_a", "40").control(), share("var_b", "30"), share("var_c", "30")];
    change(&keeper, patch(ExperimentPatch::new().allocations(arms)));
    for id in IDS {
        attach(&keeper, id, "var_c").unwrap();
        let decision = keeper.assign(&old, "exp_t", &Subject::new(id)).unwrap();
        assert_eq!(decision, old.assign("exp_t", &Subject::new(id)));
    }
    change(&keeper, status(Status::Active));
    for id in IDS {
        assert_eq!(ask(&keeper, &Subject::new(id)), got("attached", Some("var_c")));
    }
}

/// As any listener, it hears nothing after one that panics.
#[test]
fn a_deletion_behind_a_listener_that_panics_is_not_heard() {
    for panics in [false, true] {
        let engine = Engine::from_snapshot(active("100"));
        engine
            .listen(move |event, _| {
                let deletes = |own: &Effect| own.effect == EffectKind::Deleted;
                assert!(!(panics && event.effects.iter().any(deletes)), "as it is to");
            })
            .unwrap();
        let keeper = Keeper::new(engine).unwrap();
        assert_eq!(ask(&keeper, &Subject::new("device-1")).0, "split");
        change(&keeper, status(Status::Paused));
        let delete = || keeper.engine().commit(Change::delete_experiment(&p("exp_t")));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(delete));
        assert_eq!(outcome.is_err(), panics);
        assert_eq!(kept(&keeper, "device-1").is_some(), panics);
        // Whoever knows of it can have it forgotten.
        keeper.forget(&p("exp_t")).unwrap();
        assert_eq!(kept(&keeper, "device-1"), None);
    }
}

/// What a subject is asked for can call the keeper and commit: nothing is locked meanwhile.
#[test]
fn attributes_can_do_what_they_like() {
    struct Busy(Keeper);

    impl variate::Attributes for Busy {
        fn attribute(&self, _: &str) -> Option<variate::Attribute<'_>> {
            self.0.detach(&p("exp_t"), "device-1").unwrap();
            change(
                &self.0,
                Change::patch_experiment(&p("exp_weights"), ExperimentPatch::new().name("N")),
            );
            None
        }
    }

    let new = NewExperiment::by_percentage("Kept", p("flg_a"))
        .id(p("exp_t"))
        .audience(p("seg_germany"))
        .allocation(share("var_a", "50").control())
        .allocation(share("var_b", "50"));
    let keeper = keeper(brought_to(&ok(&world(), new), "exp_t", Status::Active));
    let german = [("country", "DE")];
    let subject = || Subject::new("device-1").with_attributes(&german);
    assert_eq!(ask(&keeper, &subject()).0, "split");
    let busy = Busy(keeper.clone());
    let subject = Subject::new("device-1").with_attributes(&busy);
    assert_eq!(ask(&keeper, &subject), got("not_targeted", None));
    assert_eq!(kept(&keeper, "device-1"), None);
}

#[test]
fn what_is_attached_in_a_draft_takes_effect_when_it_starts() {
    let keeper = keeper(draft("0"));
    attach(&keeper, "device-1", "var_b").unwrap();
    assert_eq!(ask(&keeper, &Subject::new("device-1")), got("draft", None));
    change(&keeper, status(Status::Active));
    assert_eq!(ask(&keeper, &Subject::new("device-1")), got("attached", Some("var_b")));
    attach(&keeper, "device-1", "var_a").unwrap();
    assert_eq!(ask(&keeper, &Subject::new("device-1")), got("attached", Some("var_a")));
    assert!(keeper.detach(&p("exp_t"), "device-1").unwrap());
    assert_eq!(ask(&keeper, &Subject::new("device-1")), got("not_sampled", None));
}

/// Two experiments of a chain, a third of another kind of id, and one beside the chain.
fn chained() -> Snapshot {
    let new = |id: &str, kind: &str, chain: Option<&str>| {
        let new = NewExperiment::by_percentage(id, p("flg_a"))
            .id(p(id))
            .subject_kind(kind)
            .allocation(share("var_a", "100").control());
        Change::from(chain.into_iter().fold(new, NewExperiment::chain))
    };
    let changes = vec![
        new("exp_t", "device", Some("paywall")),
        new("exp_u", "device", Some("paywall")),
        new("exp_v", "user", Some("paywall")),
        new("exp_w", "device", Some("other")),
        new("exp_x", "device", None),
        new("exp_y", "device", None),
    ];
    ok(&world(), changes)
}

#[test]
fn a_subject_is_attached_to_one_experiment_of_a_chain() {
    let keeper = keeper(chained());
    let attach = |experiment: &str| {
        let result = keeper.attach(&p(experiment), "device-1", &p("var_a"));
        result.map_err(|error| {
            assert!(error.is_conflict() && error.path() == "subject_id", "{error}");
            (error.code(), error.to_string().contains("is to exp_"))
        })
    };
    let taken = Err((Code::AlreadyAttached, true));
    for beside in ["exp_v", "exp_w", "exp_x", "exp_y", "exp_t"] {
        assert_eq!(attach(beside), Ok(()), "{beside}");
    }
    assert_eq!(attach("exp_u"), taken);
    assert_eq!(attach("exp_t"), Ok(()), "it is moved within its experiment");
    for to in [Status::Active, Status::Paused] {
        change(&keeper, status(to));
        assert_eq!(attach("exp_u"), taken, "{to}");
    }
    change(&keeper, status(Status::Completed));
    assert_eq!(attach("exp_u"), Ok(()), "what is over is not in the way");
    // What is drawn is not in the way either.
    assert!(keeper.detach(&p("exp_u"), "device-1").unwrap());
    assert_eq!(keeper.attach(&p("exp_u"), "device-2", &p("var_a")), Ok(()));
}

#[test]
fn of_attaches_at_once_one_wins() {
    for round in 0..50 {
        let keeper = keeper(ok(
            &chained(),
            patch(
                ExperimentPatch::new()
                    .allocations([share("var_a", "50").control(), share("var_b", "50")]),
            ),
        ));
        let barrier = Barrier::new(3);
        let results: Vec<_> = thread::scope(|scope| {
            let asked = [("exp_t", "var_a"), ("exp_t", "var_b"), ("exp_u", "var_a")];
            let asked = asked.map(|(experiment, variation)| {
                let (keeper, barrier) = (keeper.clone(), &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    keeper.attach(&p(experiment), "device-1", &p(variation))
                })
            });
            asked.map(|thread| thread.join().unwrap()).into()
        });
        let [one, other] = ["exp_t", "exp_u"].map(|id| keeper.kept(&p(id), "device-1").unwrap());
        assert!(one.is_some() != other.is_some(), "{round}");
        assert!(one.or(other).unwrap().attached);
        let conflict = |result: &&Result<(), variate::Error>| {
            result.as_ref().is_err_and(|error| error.code() == Code::AlreadyAttached)
        };
        // Both of one experiment go through, or the one of the other does.
        let conflicts = results.iter().filter(conflict).count();
        assert_eq!(conflicts, if results[2].is_ok() { 2 } else { 1 });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3 - conflicts);
    }
}

/// A store that counts, fails, or does something before it looks a subject up.
#[derive(Default)]
struct Watched {
    inner: MemoryStore,
    reads: AtomicUsize,
    writes: AtomicUsize,
    /// How many calls there are until one fails; none does after that.
    fuse: Mutex<Option<usize>>,
    before_get: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Watched {
    fn call(&self, counter: &AtomicUsize) -> io::Result<()> {
        counter.fetch_add(1, Ordering::Relaxed);
        let mut fuse = self.fuse.lock().unwrap();
        match *fuse {
            Some(0) => {
                *fuse = None;
                Err(io::Error::other("the disk is on fire"))
            }
            left => {
                *fuse = left.map(|left| left - 1);
                Ok(())
            }
        }
    }

    fn fail_after(&self, calls: usize) {
        *self.fuse.lock().unwrap() = Some(calls);
    }

    fn has_failed(&self) -> bool {
        self.fuse.lock().unwrap().is_none()
    }

    /// The look-ups and the writes since the last time.
    fn counts(&self) -> [usize; 2] {
        [&self.reads, &self.writes].map(|counter| counter.swap(0, Ordering::Relaxed))
    }

    /// Everything that is remembered in `exp_t`.
    fn all(&self) -> Vec<(String, KeptAssignment)> {
        let mut list = self.inner.list(&p("exp_t")).unwrap();
        list.sort_by(|(one, _), (other, _)| one.cmp(other));
        list
    }
}

impl AssignmentStore for Watched {
    fn get(&self, experiment: &ExperimentId, id: &str) -> io::Result<Option<KeptAssignment>> {
        let before = self.before_get.lock().unwrap().take();
        let found = self.inner.get(experiment, id);
        if let Some(before) = before {
            before();
        }
        self.call(&self.reads)?;
        found
    }

    fn put(&self, experiment: &ExperimentId, id: &str, kept: &KeptAssignment) -> io::Result<()> {
        self.call(&self.writes)?;
        self.inner.put(experiment, id, kept)
    }

    fn remove(&self, experiment: &ExperimentId, id: &str) -> io::Result<()> {
        self.call(&self.writes)?;
        self.inner.remove(experiment, id)
    }

    fn clear(&self, experiment: &ExperimentId) -> io::Result<()> {
        self.call(&self.writes)?;
        self.inner.clear(experiment)
    }

    fn list(&self, experiment: &ExperimentId) -> io::Result<Vec<(String, KeptAssignment)>> {
        self.call(&self.reads)?;
        self.inner.list(experiment)
    }
}

fn watched(snapshot: Snapshot) -> (Keeper, Arc<Watched>) {
    let store = Arc::new(Watched::default());
    // What is left to chance is the same for each.
    let mut counter = 0;
    let entropy = move || {
        counter += 1;
        counter
    };
    let engine = Engine::with(snapshot, at(1_000), entropy);
    (Keeper::with_store(engine, Arc::clone(&store)).unwrap(), store)
}

/// What a step of a history comes to.
fn take(keeper: &Keeper, step: &Step) -> Result<String, variate::Error> {
    match step {
        Step::Ask(who, brought) => {
            try_ask(keeper, &bringing(IDS[*who], *brought)).map(|got| format!("{got:?}"))
        }
        Step::Attach(who, variation) => {
            let result = keeper.attach(&p("exp_t"), IDS[*who], &p::<VariationId>(variation));
            match result {
                Err(error) if error.code() == Code::StoreUnavailable => Err(error),
                other => Ok(format!("{other:?}")),
            }
        }
        Step::Detach(who) => keeper.detach(&p("exp_t"), IDS[*who]).map(|own| own.to_string()),
        Step::Forget => keeper.forget(&p("exp_t")).map(|()| String::new()),
        Step::AskWithoutId => Ok(String::new()),
        other => Ok(keeper.engine().commit(edit(other).unwrap()).is_ok().to_string()),
    }
}

proptest! {
    /// A call that fails changes nothing and can be made again; then it is as if it had not failed.
    #[test]
    fn a_store_that_fails_costs_an_error_and_no_more(
        steps in prop::collection::vec(any_step(), 1..40),
        failures in prop::collection::vec(0..3_usize, 40),
    ) {
        let (healthy, sound) = watched(active("50"));
        let (failing, weak) = watched(active("50"));
        for (step, fuse) in steps.iter().zip(failures) {
            let wanted = take(&healthy, step).unwrap();
            let before = weak.all();
            weak.fail_after(fuse);
            match take(&failing, step) {
                Ok(came) => prop_assert_eq!(came, wanted),
                Err(error) => {
                    prop_assert!(weak.has_failed());
                    prop_assert_eq!(error.code(), Code::StoreUnavailable);
                    prop_assert!(error.to_string().contains("the disk is on fire"));
                    prop_assert_eq!(weak.all(), before);
                    prop_assert_eq!(take(&failing, step).unwrap(), wanted);
                }
            }
            prop_assert_eq!(weak.all(), sound.all());
        }
    }
}

#[test]
fn it_asks_and_writes_no_more_than_it_says() {
    let (keeper, store) = watched(draft("100"));
    let subject = Subject::new("device-1");
    let check = |subject: &Subject<'_>, reads: usize, writes: usize| {
        ask(&keeper, subject);
        assert_eq!(store.counts(), [reads, writes], "{subject:?}");
    };
    check(&subject, 0, 0);
    change(&keeper, status(Status::Active));
    check(&subject, 2, 1);
    check(&subject, 1, 0);
    check(&Subject::of("user", "u-1"), 0, 0);
    check(&Subject::new("forced").forced("exp_t", "var_a"), 1, 0);
    check(&Subject::new("attached").attached("exp_t", "var_a"), 1, 0);
    change(&keeper, patch(ExperimentPatch::new().traffic(p("0"))));
    check(&Subject::new("device-2"), 1, 0);
    check(&subject, 2, 1);
    change(&keeper, status(Status::Paused));
    check(&subject, 1, 0);
    change(&keeper, Change::patch_flag(&p("flg_a"), FlagPatch::new().on(false)));
    check(&subject, 0, 0);
    change(&keeper, Change::patch_flag(&p("flg_a"), FlagPatch::new().on(true)));
    change(&keeper, patch(ExperimentPatch::new().keep(Keep::Never).traffic(p("100"))));
    change(&keeper, status(Status::Active));
    check(&subject, 1, 0);
    change(&keeper, status(Status::Completed));
    check(&subject, 0, 0);
}

/// Between the look-up and the writing of one that asks, another thread attaches it.
#[test]
fn what_is_attached_meanwhile_is_not_overwritten() {
    let (keeper, store) = watched(active("100"));
    let other = keeper.clone();
    let meanwhile = move || other.attach(&p("exp_t"), "device-1", &p("var_b")).unwrap();
    *store.before_get.lock().unwrap() = Some(Box::new(meanwhile));
    assert_eq!(ask(&keeper, &Subject::new("device-1")), got("attached", Some("var_b")));
    assert_eq!(kept(&keeper, "device-1"), Some(("var_b".to_owned(), true)));
}

fn end_and_delete() -> Vec<Change> {
    vec![status(Status::Completed), Change::delete_experiment(&p("exp_t"))]
}

/// The experiment once more, under the same id.
fn create_again() -> Vec<Change> {
    let new = NewExperiment::by_percentage("Again", p("flg_a"))
        .id(p("exp_t"))
        .allocation(share("var_a", "50").control())
        .allocation(share("var_b", "50"));
    vec![new.into(), status(Status::Active), status(Status::Paused)]
}

#[test]
fn with_an_experiment_its_members_are_forgotten() {
    let everyone = |keeper: &Keeper| {
        assert_eq!(ask(keeper, &Subject::new("device-1")).0, "split");
        attach(keeper, "device-2", "var_b").unwrap();
    };
    let nobody = |keeper: &Keeper| {
        for id in ["device-1", "device-2"] {
            assert_eq!(ask(keeper, &Subject::new(id)), got("paused", None));
        }
    };
    // In two commits, and in one.
    let (keeper, store) = watched(active("100"));
    everyone(&keeper);
    keeper.engine().commit(end_and_delete()).unwrap();
    assert_eq!(store.all(), []);
    keeper.engine().commit(create_again()).unwrap();
    nobody(&keeper);
    let (keeper, _) = watched(active("100"));
    everyone(&keeper);
    keeper.engine().commit([end_and_delete(), create_again()].concat()).unwrap();
    nobody(&keeper);
    // Whoever asks of what was before the deletion is not remembered for what comes after.
    let (keeper, store) = watched(active("100"));
    let old = keeper.engine().snapshot();
    let other = keeper.clone();
    let meanwhile = move || drop(other.engine().commit(end_and_delete()).unwrap());
    *store.before_get.lock().unwrap() = Some(Box::new(meanwhile));
    assert!(keeper.assign(&old, "exp_t", &Subject::new("device-1")).unwrap().in_experiment());
    keeper.engine().commit(create_again()).unwrap();
    nobody(&keeper);
    // A store that fails then is asked again before anything is read, and until it does not fail.
    let (keeper, store) = watched(active("100"));
    everyone(&keeper);
    store.fail_after(0);
    keeper.engine().commit(end_and_delete()).unwrap();
    assert_eq!(store.all().len(), 2);
    keeper.engine().commit(create_again()).unwrap();
    store.fail_after(0);
    let error = try_ask(&keeper, &Subject::new("device-1")).unwrap_err();
    assert_eq!(error.code(), Code::StoreUnavailable);
    attach(&keeper, "device-3", "var_a").unwrap();
    assert_eq!(listed(&keeper), [("device-3".to_owned(), ("var_a".to_owned(), true))]);
    nobody(&keeper);
}

#[test]
fn an_engine_outlives_its_keepers_and_a_clone_shares_the_memory() {
    let (keeper, store) = watched(active("100"));
    let clone = keeper.clone();
    attach(&clone, "device-1", "var_b").unwrap();
    assert_eq!(kept(&keeper, "device-1"), Some(("var_b".to_owned(), true)));
    let engine = keeper.engine().clone();
    drop((keeper, clone));
    assert_eq!(Arc::strong_count(&store), 1);
    engine.commit(end_and_delete()).unwrap();
    assert_eq!(store.all().len(), 1, "nobody listens any more");
    // A store that has something is gone on with.
    let engine = Engine::from_snapshot(active("0"));
    let again = Keeper::with_store(engine, store).unwrap();
    assert_eq!(ask(&again, &Subject::new("device-1")), got("attached", Some("var_b")));
}

/// From within a commit one can ask and detach, but neither attach nor make a keeper.
#[test]
fn attaching_waits_for_the_commit_that_is_under_way() {
    let (keeper, _) = watched(active("100"));
    attach(&keeper, "device-1", "var_b").unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (own, hears) = (keeper.clone(), Arc::clone(&heard));
    let listener = move |_: &variate::Event, _: &Snapshot| {
        let made = Keeper::new(own.engine().clone()).map_err(|error| error.code());
        let mut heard = hears.lock().unwrap();
        heard.push(attach(&own, "device-2", "var_b"));
        heard.push(made.map(drop));
        assert_eq!(ask(&own, &Subject::new("device-1")).0, "attached");
        assert!(own.detach(&p("exp_t"), "device-1").unwrap());
    };
    keeper.engine().listen(listener).unwrap();
    change(&keeper, status(Status::Paused));
    assert_eq!(*heard.lock().unwrap(), [Err(Code::ReentrantCommit); 2]);
    assert_eq!(listed(&keeper), []);
}

#[test]
fn a_document_says_who_got_what_and_without_them_is_as_before() {
    let keeper = keeper(draft("100"));
    let plain = keeper.engine().to_json();
    assert_eq!(keeper.to_json().unwrap(), plain);
    for experiment in ["exp_weights", "exp_t", "exp_segments"] {
        for id in ["b", "a", "\"é\""] {
            keeper.attach(&p(experiment), id, &p("var_a")).unwrap();
        }
    }
    let document = keeper.to_json().unwrap();
    let entry = |(experiment, id): (&str, &str)| {
        json!({
            "experiment_id": experiment, "subject_id": id, "variation_id": "var_a",
            "attached": true,
        })
    };
    let order =
        ["exp_segments", "exp_t", "exp_weights"].map(|e| ["\"é\"", "a", "b"].map(|s| (e, s)));
    let wanted: Vec<_> = order.concat().into_iter().map(entry).collect();
    let mut json: Value = document.parse().unwrap();
    let members = json.as_object_mut().unwrap();
    assert_eq!(members.remove("kept_assignments").unwrap(), json!(wanted));
    assert_eq!(json, plain.parse::<Value>().unwrap());
    // The new member is all that is added to the text.
    let (head, _) = document.split_once(",\n  \"kept_assignments\"").unwrap();
    assert_eq!(plain.strip_prefix(head).unwrap().trim(), "}");
    // Every document there is.
    for text in [include_str!("../../examples/checkout.json"), r#"{"format": "variate/1"}"#] {
        let printed = Snapshot::from_json(text).unwrap().to_json();
        assert_eq!(Keeper::from_json(text).unwrap().to_json().unwrap(), printed);
    }
    // What one reader refuses, so does the other.
    for bad in [
        json!([entry(("exp_none", "a"))]),
        json!([entry(("exp_t", ""))]),
        json!([entry(("exp_t", "a")), entry(("exp_t", "a"))]),
        json!({}),
    ] {
        let mut json: Value = plain.parse().unwrap();
        json["kept_assignments"] = bad;
        let error = Keeper::from_json(json.to_string()).unwrap_err();
        assert_eq!(error, Snapshot::from_json(json.to_string()).unwrap_err());
        assert!(error.path().starts_with("kept_assignments"), "{error}");
    }
}
