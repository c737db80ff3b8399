//! The lifecycles: which status leads to which, what a transition records, what can be deleted
//! when, and that a refusal leaves no trace.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{apply, at, brought_to, ok, p, share, world};
use proptest::prelude::*;
use serde_json::{Value, json};
use variate::{
    Change, Code, EffectKind, Engine, EntityKind, Error, Event, ExperimentPatch, FlagStatus,
    NewExperiment, NewFlag, NewSegment, NewVariation, SegmentStatus, Snapshot, Status, Subject,
    Transaction,
};

const EXPERIMENT_EDGES: [(Status, Status); 9] = [
    (Status::Draft, Status::Active),
    (Status::Draft, Status::Archived),
    (Status::Active, Status::Paused),
    (Status::Paused, Status::Active),
    (Status::Active, Status::Completed),
    (Status::Paused, Status::Completed),
    (Status::Paused, Status::Archived),
    (Status::Completed, Status::Archived),
    BY_ITERATION,
];

/// The edge that only a new iteration takes.
const BY_ITERATION: (Status, Status) = (Status::Completed, Status::Active);

const FLAG_EDGES: [(FlagStatus, FlagStatus); 3] = [
    (FlagStatus::Draft, FlagStatus::Active),
    (FlagStatus::Draft, FlagStatus::Archived),
    (FlagStatus::Active, FlagStatus::Archived),
];

const SEGMENT_EDGES: [(SegmentStatus, SegmentStatus); 1] =
    [(SegmentStatus::Active, SegmentStatus::Archived)];

/// Commits what must be refused, and shows that it left no trace.
#[track_caller]
fn refused(snapshot: &Snapshot, transaction: impl Into<Transaction>) -> Error {
    let engine = Engine::from_snapshot(snapshot.clone());
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    let count = move |_: &Event, _: &Snapshot| _ = counter.fetch_add(1, Ordering::Relaxed);
    engine.listen(count).unwrap();
    let (before, text) = (engine.snapshot(), snapshot.to_json());
    let error = engine.commit(transaction).unwrap_err();
    assert!(Arc::ptr_eq(&before, &engine.snapshot()), "nothing must be published");
    assert_eq!(before.to_json(), text, "the snapshot must stay as it is");
    assert_eq!(told.load(Ordering::Relaxed), 0, "nobody must be told");
    error
}

/// What must hold of the refusal of a transition.
#[track_caller]
fn check_no_such_edge(snapshot: &Snapshot, change: Change, from: &str, to: &str) {
    let error = refused(snapshot, change);
    assert_eq!(error.code(), Code::TransitionNotAllowed, "{from} to {to}: {error}");
    assert_eq!(error.path(), "status", "{from} to {to}");
    assert_eq!(error.value(), Some(&*format!("\"{to}\"")), "{from} to {to}");
    assert!(error.rule().contains(from), "{from} to {to}: {error}");
    assert!(error.is_refused());
    assert!(error.violations().is_empty());
}

/// Follows an edge and shows that one entity's status, version and times are all that differs.
#[track_caller]
fn check_edge(snapshot: &Snapshot, change: Change, entity: EntityKind, id: &str, edge: [&str; 2]) {
    let commit = apply(snapshot, change).unwrap_or_else(|error| panic!("{edge:?}: {error}"));
    let event = commit.event.as_ref().unwrap();
    assert_eq!(event.effects.len(), 1);
    let effect = &event.effects[0];
    assert_eq!(effect.effect, EffectKind::Transitioned);
    assert_eq!(effect.entity, entity);
    assert_eq!(effect.id.as_deref(), Some(id));
    assert_eq!([effect.from.as_deref(), effect.to.as_deref()], edge.map(Some));

    let mut documents = [document(snapshot), document(&commit.snapshot)];
    let entities = documents.each_mut().map(|document| take_entity(document, id));
    assert_eq!(documents[0], documents[1], "no other entity must change");
    assert_eq!(entities.each_ref().map(|entity| entity["status"].as_str().unwrap()), edge);
    let versions = entities.each_ref().map(|entity| entity["version"].as_u64().unwrap());
    assert_eq!(versions[1], versions[0] + 1);
    assert_eq!(effect.version, Some(versions[1]));
    assert_eq!(entities[1]["updated_at"], json!(event.at));
    let rest = entities.map(|mut entity| {
        let members = entity.as_object_mut().unwrap();
        members
            .retain(|key, _| !["status", "version", "updated_at", "iteration"].contains(&&**key));
        entity
    });
    assert_eq!(rest[0], rest[1], "no field must change but the status");
}

/// A snapshot as JSON, without what every commit changes.
fn document(snapshot: &Snapshot) -> Value {
    let mut document = serde_json::to_value(snapshot).unwrap();
    document.as_object_mut().unwrap().retain(|key, _| key != "sequence" && key != "updated_at");
    document
}

/// Takes an entity out of a document.
#[track_caller]
fn take_entity(document: &mut Value, id: &str) -> Value {
    for list in ["flags", "segments", "experiments"] {
        let list = document[list].as_array_mut().unwrap();
        if let Some(index) = list.iter().position(|entity| entity["id"] == id) {
            return list.remove(index);
        }
    }
    panic!("{id} must be there")
}

#[test]
fn an_experiment_follows_nine_edges_and_no_others() {
    assert_eq!(Status::ALL.len(), 5);
    for id in ["exp_weights", "exp_segments"] {
        for from in Status::ALL {
            let snapshot = brought_to(&world(), id, *from);
            for to in Status::ALL {
                let change = Change::set_experiment_status(&p(id), *to);
                let (from_name, to_name) = (from.as_str(), to.as_str());
                let there_is = EXPERIMENT_EDGES.contains(&(*from, *to));
                assert_eq!(from.can_become(*to), there_is, "{from} to {to}");
                assert_eq!(from.leads_to().contains(to), there_is, "{from} to {to}");
                if (*from, *to) == BY_ITERATION {
                    check_no_such_edge(&snapshot, change, from_name, to_name);
                    let next = ok(&snapshot, Change::start_iteration(&p(id)));
                    assert_eq!(next.experiment(id).unwrap().status(), *to);
                } else if there_is {
                    let edge = [from_name, to_name];
                    check_edge(&snapshot, change, EntityKind::Experiment, id, edge);
                } else {
                    check_no_such_edge(&snapshot, change, from_name, to_name);
                }
            }
        }
    }
}

/// Whatever is not ready, a transition that does not exist is refused for that reason alone.
#[test]
fn an_edge_is_looked_for_before_readiness() {
    let draft = NewExperiment::by_percentage("No arms", p("flg_a")).id(p("exp_bare"));
    let bare = ok(&world(), draft);
    let archived = ok(&bare, Change::set_experiment_status(&p("exp_bare"), Status::Archived));
    let activate = Change::set_experiment_status(&p("exp_bare"), Status::Active);
    assert_eq!(refused(&bare, activate.clone()).code(), Code::NotReady);
    check_no_such_edge(&archived, activate, "archived", "active");
    check_no_such_edge(&archived, Change::resume_refreshed(&p("exp_bare")), "archived", "active");
    let (id, status) = (p("exp_bare"), Status::Paused);
    let refresh = Change::SetExperimentStatus { id, if_version: None, status, refresh: true };
    check_no_such_edge(&bare, refresh, "draft", "paused");
}

#[test]
fn refresh_is_only_for_becoming_active() {
    let active = brought_to(&world(), "exp_weights", Status::Active);
    for status in [Status::Paused, Status::Completed] {
        let id = p("exp_weights");
        let refresh = Change::SetExperimentStatus { id, if_version: None, status, refresh: true };
        let error = refused(&active, refresh);
        assert_eq!((error.code(), error.path()), (Code::InvalidValue, "refresh"));
        assert_eq!(error.value(), Some("true"));
    }
}

#[test]
fn a_flag_follows_three_edges_and_no_others() {
    fn brought(status: FlagStatus) -> Snapshot {
        let flag = NewFlag::new("Checkout")
            .id(p("flg_b"))
            .parameter("color", "red")
            .variation(NewVariation::new("control").id(p("var_x")))
            .variation(NewVariation::new("blue").id(p("var_y")).with("color", "blue"));
        let draft = ok(&world(), flag);
        match status {
            FlagStatus::Draft => draft,
            _ => ok(&draft, Change::set_flag_status(&p("flg_b"), status)),
        }
    }
    assert_eq!(FlagStatus::ALL.len(), 3);
    for from in FlagStatus::ALL {
        let snapshot = brought(*from);
        for to in FlagStatus::ALL {
            let change = Change::set_flag_status(&p("flg_b"), *to);
            let (from_name, to_name) = (from.as_str(), to.as_str());
            let there_is = FLAG_EDGES.contains(&(*from, *to));
            assert_eq!(from.can_become(*to), there_is, "{from} to {to}");
            assert_eq!(from.leads_to().contains(to), there_is, "{from} to {to}");
            if there_is {
                check_edge(&snapshot, change, EntityKind::Flag, "flg_b", [from_name, to_name]);
            } else {
                check_no_such_edge(&snapshot, change, from_name, to_name);
            }
        }
    }
}

#[test]
fn a_flag_is_activated_with_two_variations_or_more() {
    for count in 0..4_u8 {
        let mut flag = NewFlag::new("Checkout").id(p("flg_b")).parameter("color", "red");
        for number in 0..count {
            flag = flag.variation(NewVariation::new(format!("variation {number}")));
        }
        let snapshot = ok(&world(), flag);
        let activate = Change::set_flag_status(&p("flg_b"), FlagStatus::Active);
        if count >= 2 {
            let status = ok(&snapshot, activate).flag("flg_b").unwrap().status();
            assert_eq!(status, FlagStatus::Active);
        } else {
            let error = refused(&snapshot, activate);
            assert_eq!((error.code(), error.path()), (Code::NotReady, "variations"));
            assert_eq!(error.value(), Some(&*count.to_string()));
            // To put it away it needs none.
            ok(&snapshot, Change::set_flag_status(&p("flg_b"), FlagStatus::Archived));
        }
    }
}

#[test]
fn a_segment_follows_one_edge_and_no_other() {
    assert_eq!(SegmentStatus::ALL.len(), 2);
    for from in SegmentStatus::ALL {
        let snapshot = match from {
            SegmentStatus::Active => world(),
            SegmentStatus::Archived => {
                ok(&world(), Change::set_segment_status(&p("seg_ios"), *from))
            }
        };
        for to in SegmentStatus::ALL {
            let change = Change::set_segment_status(&p("seg_ios"), *to);
            let (from_name, to_name) = (from.as_str(), to.as_str());
            let there_is = SEGMENT_EDGES.contains(&(*from, *to));
            assert_eq!(from.can_become(*to), there_is, "{from} to {to}");
            assert_eq!(from.leads_to().contains(to), there_is, "{from} to {to}");
            if there_is {
                check_edge(&snapshot, change, EntityKind::Segment, "seg_ios", [from_name, to_name]);
            } else {
                check_no_such_edge(&snapshot, change, from_name, to_name);
            }
        }
    }
}

/// Walks an experiment along transitions, each at its own second, and compares what its iteration
/// then says of its start and its end.
#[track_caller]
fn check_times(way: &[(Status, i64)], started: Option<i64>, ended: Option<i64>) {
    let mut snapshot = world();
    for (to, seconds) in way {
        let change = Change::set_experiment_status(&p("exp_weights"), *to);
        let commit = snapshot.apply(change, at(*seconds), &mut || 0).unwrap();
        snapshot = Snapshot::clone(&commit.snapshot);
    }
    let experiment = snapshot.experiment("exp_weights").unwrap();
    assert_eq!(experiment.iteration().started_at(), started.map(at), "started: {way:?}");
    assert_eq!(experiment.iteration().ended_at(), ended.map(at), "ended: {way:?}");
    let restored = Snapshot::from_json(snapshot.to_json()).unwrap();
    assert!(restored == snapshot, "what an iteration says must survive a document");
}

#[test]
fn the_first_activation_starts_a_run_and_only_completion_ends_it() {
    use Status::{Active, Archived, Completed, Paused};
    check_times(&[], None, None);
    check_times(&[(Archived, 10)], None, None);
    check_times(&[(Active, 10)], Some(10), None);
    check_times(&[(Active, 10), (Paused, 20)], Some(10), None);
    check_times(&[(Active, 10), (Paused, 20), (Active, 30)], Some(10), None);
    check_times(&[(Active, 10), (Paused, 20), (Active, 30), (Paused, 40)], Some(10), None);
    check_times(&[(Active, 10), (Completed, 20)], Some(10), Some(20));
    check_times(&[(Active, 10), (Completed, 20), (Archived, 30)], Some(10), Some(20));
    check_times(&[(Active, 10), (Paused, 20), (Completed, 30)], Some(10), Some(30));
    check_times(&[(Active, 10), (Paused, 20), (Archived, 30)], Some(10), None);
    let long = [(Active, 10), (Paused, 20), (Active, 30), (Completed, 40), (Archived, 50)];
    check_times(&long, Some(10), Some(40));
}

#[test]
fn an_experiment_is_deleted_in_every_status_but_active() {
    for id in ["exp_weights", "exp_segments"] {
        for status in Status::ALL {
            let snapshot = brought_to(&world(), id, *status);
            let version = snapshot.experiment(id).unwrap().version();
            let delete = Change::delete_experiment(&p(id));
            if *status == Status::Active {
                let error = refused(&snapshot, delete);
                assert_eq!((error.code(), error.path()), (Code::TransitionNotAllowed, "status"));
                continue;
            }
            let commit = apply(&snapshot, delete).unwrap();
            let effects = &commit.event.as_ref().unwrap().effects;
            assert_eq!(effects.len(), 1);
            assert_eq!(effects[0].effect, EffectKind::Deleted);
            assert_eq!(effects[0].version, Some(version));
            assert!(commit.snapshot.experiment(id).is_none());
            assert!(commit.snapshot.plan(id).is_none());
            assert!(commit.snapshot.readiness(id).is_none());
            assert!(
                commit.snapshot.experiments().all(|experiment| *experiment.id().as_str() != *id)
            );
            let reason = commit.snapshot.assign(id, &Subject::new("device")).reason();
            assert_eq!(reason.as_str(), "not_found");
            let mut before = document(&snapshot);
            take_entity(&mut before, id);
            before.as_object_mut().unwrap().remove("revisions");
            assert_eq!(document(&commit.snapshot), before, "nothing else must go");
        }
    }
}

/// The world with one experiment only, in this status, whose outside variation is `var_d`.
fn lone(id: &str, status: Status) -> Snapshot {
    let other = if id == "exp_weights" { "exp_segments" } else { "exp_weights" };
    let outside = ExperimentPatch::new().outside_variation_id(p("var_d"));
    let snapshot = ok(
        &world(),
        [Change::delete_experiment(&p(other)), Change::patch_experiment(&p(id), outside)],
    );
    brought_to(&snapshot, id, status)
}

fn deletion(id: &str) -> Change {
    match id.split_at(4).0 {
        "flg_" => Change::delete_flag(&p(id)),
        "var_" => Change::delete_variation(&p(id)),
        _ => Change::delete_segment(&p(id)),
    }
}

#[track_caller]
fn check_held(snapshot: &Snapshot, id: &str, user: &str) {
    let error = refused(snapshot, deletion(id));
    assert_eq!((error.code(), error.path()), (Code::InUse, "id"), "{error}");
    assert_eq!(error.value(), Some(&*format!("\"{id}\"")));
    assert!(error.to_string().contains(user), "{error} must name {user}");
    assert!(error.is_conflict());
    assert!(snapshot.used_by(id).any(|known| known.as_str() == user));
}

#[track_caller]
fn check_free(snapshot: &Snapshot, id: &str) {
    assert_eq!(snapshot.used_by(id).count(), 0, "nobody must hold {id}");
    let after = ok(snapshot, deletion(id));
    assert!(after.flag(id).is_none() && after.variation(id).is_none());
    assert!(after.segment(id).is_none());
    assert!(after.flags().all(|flag| !flag.variations().contains_key(id)));
    let restored = Snapshot::from_json(after.to_json());
    assert!(restored.unwrap() == after, "what is left must survive a document");
    let error = refused(&after, deletion(id));
    assert_eq!((error.code(), error.path()), (Code::NotFound, "id"));
}

#[test]
fn what_an_experiment_names_cannot_be_deleted_until_it_is_archived() {
    let weights: &[&str] = &["flg_a", "var_a", "var_b", "var_d"];
    let segments: &[&str] =
        &["flg_a", "var_a", "var_b", "var_c", "var_d", "seg_germany", "seg_ios"];
    for (user, named) in [("exp_weights", weights), ("exp_segments", segments)] {
        for status in Status::ALL {
            let snapshot = lone(user, *status);
            for id in named {
                match status {
                    Status::Archived => check_free(&snapshot, id),
                    _ => check_held(&snapshot, id, user),
                }
            }
        }
        // Archived from other states than `completed`.
        for from in [Status::Draft, Status::Paused] {
            let put_away = Change::set_experiment_status(&p(user), Status::Archived);
            let snapshot = ok(&lone(user, from), put_away);
            for id in named {
                check_free(&snapshot, id);
            }
        }
    }
}

#[test]
fn what_no_experiment_names_can_be_deleted() {
    for status in Status::ALL {
        let snapshot = lone("exp_weights", *status);
        for id in ["var_c", "seg_germany", "seg_ios"] {
            check_free(&snapshot, id);
        }
    }
}

#[test]
fn an_edit_and_a_deletion_let_go_of_what_was_named() {
    for status in [Status::Draft, Status::Paused] {
        let snapshot = lone("exp_weights", status);
        check_held(&snapshot, "var_b", "exp_weights");
        check_held(&snapshot, "var_d", "exp_weights");
        let patch = ExperimentPatch::new()
            .allocations([share("var_a", "50").control(), share("var_c", "50")])
            .clear_outside_variation_id();
        let edited = ok(&snapshot, Change::patch_experiment(&p("exp_weights"), patch));
        check_free(&edited, "var_b");
        check_free(&edited, "var_d");
        check_held(&edited, "var_a", "exp_weights");
        check_held(&edited, "var_c", "exp_weights");
        let deleted = ok(&edited, Change::delete_experiment(&p("exp_weights")));
        for id in ["flg_a", "var_a", "var_c"] {
            check_free(&deleted, id);
        }
    }
}

#[test]
fn a_second_user_holds_what_the_first_lets_go() {
    let both = world();
    let error = refused(&both, deletion("var_a"));
    assert_eq!(error.code(), Code::InUse);
    let named = ["exp_weights", "exp_segments"].map(|user| error.to_string().contains(user));
    assert!(named.contains(&true), "{error} must name a user");
    let one = ok(&both, Change::set_experiment_status(&p("exp_weights"), Status::Archived));
    check_held(&one, "var_a", "exp_segments");
    let none = ok(&one, Change::set_experiment_status(&p("exp_segments"), Status::Archived));
    for id in ["var_a", "seg_germany", "flg_a"] {
        check_free(&none, id);
    }
}

/// A creation under an id that a run still rests on.
#[track_caller]
fn check_rested_on(snapshot: &Snapshot, change: Change, id: &str, run: &str) {
    let error = refused(snapshot, change);
    assert_eq!((error.code(), error.path()), (Code::AlreadyExists, "id"), "{error}");
    assert_eq!(error.value(), Some(&*format!("\"{id}\"")));
    assert!(error.rule().contains(&format!("experiment {run} ")), "{error} must name {run}");
    assert!(error.is_conflict());
}

#[test]
fn a_deleted_flag_takes_its_variations_and_frees_names_and_ids() {
    let snapshot = lone("exp_weights", Status::Archived);
    let deleted = ok(&snapshot, Change::delete_flag(&p("flg_a")));
    for id in ["var_a", "var_b", "var_c", "var_d"] {
        assert!(deleted.variation(id).is_none());
        assert_eq!(refused(&deleted, deletion(id)).code(), Code::NotFound);
    }
    // All but the flag's own id, as long as the run of an archived experiment rests on it.
    let again = |id: &str| {
        NewFlag::new("Sign-in screen")
            .id(p(id))
            .parameter("other", 1)
            .variation(NewVariation::new("control").id(p("var_a")))
    };
    ok(&deleted, again("flg_b"));
    check_rested_on(&deleted, again("flg_a").into(), "flg_a", "exp_weights");
    let without = ok(&deleted, Change::delete_experiment(&p("exp_weights")));
    assert_eq!(ok(&without, again("flg_a")).flag("flg_a").unwrap().version(), 1);
    // A draft that was put away never ran.
    let put_away = Change::set_experiment_status(&p("exp_weights"), Status::Archived);
    let draft = ok(&lone("exp_weights", Status::Draft), put_away);
    let deleted = ok(&draft, Change::delete_flag(&p("flg_a")));
    assert_eq!(ok(&deleted, again("flg_a")).flag("flg_a").unwrap().version(), 1);
    let segment = lone("exp_weights", Status::Draft);
    let rules = segment.segment("seg_ios").unwrap().rules().to_vec();
    let deleted = ok(&segment, Change::delete_segment(&p("seg_ios")));
    let mut again = NewSegment::new("iOS").id(p("seg_ios"));
    again.rules = rules;
    ok(&deleted, again);
}

#[test]
fn archived_flags_and_segments_can_be_deleted() {
    let snapshot = ok(
        &lone("exp_weights", Status::Archived),
        [
            Change::set_flag_status(&p("flg_a"), FlagStatus::Archived),
            Change::set_segment_status(&p("seg_ios"), SegmentStatus::Archived),
        ],
    );
    check_free(&snapshot, "flg_a");
    check_free(&snapshot, "seg_ios");
}

#[test]
fn every_change_of_something_unknown_is_not_found() {
    let changes = [
        Change::patch_flag(&p("flg_x"), variate::FlagPatch::new()),
        Change::patch_variation(&p("var_x"), variate::VariationPatch::new()),
        Change::patch_segment(&p("seg_x"), variate::SegmentPatch::new()),
        Change::patch_experiment(&p("exp_x"), ExperimentPatch::new()),
        Change::set_flag_status(&p("flg_x"), FlagStatus::Active),
        Change::set_segment_status(&p("seg_x"), SegmentStatus::Archived),
        Change::set_experiment_status(&p("exp_x"), Status::Active),
        Change::reshuffle(&p("exp_x")),
        Change::delete_flag(&p("flg_x")),
        Change::delete_variation(&p("var_x")),
        Change::delete_segment(&p("seg_x")),
        Change::delete_experiment(&p("exp_x")),
    ];
    for change in changes {
        for change in [change.clone().if_version(1), change] {
            let error = refused(&world(), change.clone());
            assert_eq!((error.code(), error.path()), (Code::NotFound, "id"), "{change:?}");
            assert!(error.is_not_found());
            assert!(error.value().unwrap().ends_with("_x\""), "{error}");
        }
    }
    let orphan = Change::create_variation(&p("flg_x"), NewVariation::new("control"));
    let error = refused(&world(), orphan);
    assert_eq!((error.code(), error.path()), (Code::NotFound, "flag_id"));
}

/// What the reference machine knows of an experiment.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    status: Status,
    version: u64,
    created: i64,
    updated: i64,
    started: Option<i64>,
    ended: Option<i64>,
}

#[derive(Debug, Clone)]
enum Op {
    Move { which: usize, to: Status, refresh: bool, stale: bool },
    Rename { which: usize, stale: bool },
    Delete { which: usize, stale: bool },
    ArchiveFlag,
}

const IDS: [&str; 3] = ["exp_weights", "exp_segments", "exp_third"];

fn op() -> impl Strategy<Value = Op> {
    let rare = || prop::bool::weighted(0.05);
    let status = prop::sample::select(Status::ALL);
    let transition = (0..3_usize, status, rare(), rare())
        .prop_map(|(which, to, refresh, stale)| Op::Move { which, to, refresh, stale });
    prop_oneof![
        60 => transition,
        8 => (0..3_usize, rare()).prop_map(|(which, stale)| Op::Rename { which, stale }),
        2 => (0..3_usize, rare()).prop_map(|(which, stale)| Op::Delete { which, stale }),
        1 => Just(Op::ArchiveFlag),
    ]
}

/// The reference machine: what becomes of an experiment, or the code of the refusal.
fn expected(
    op: &Op,
    known: Option<&Model>,
    flag_is_active: bool,
    now: i64,
) -> Result<Option<Model>, Code> {
    let known = known.ok_or(Code::NotFound)?;
    let mut next = Model { version: known.version + 1, updated: now, ..known.clone() };
    match op {
        Op::Move { stale: true, .. }
        | Op::Rename { stale: true, .. }
        | Op::Delete { stale: true, .. } => return Err(Code::VersionConflict),
        Op::Move { to, refresh, .. } => {
            let edge = (known.status, *to);
            if edge == BY_ITERATION || !EXPERIMENT_EDGES.contains(&edge) {
                return Err(Code::TransitionNotAllowed);
            }
            if *refresh && *to != Status::Active {
                return Err(Code::InvalidValue);
            }
            if *to == Status::Active && !flag_is_active {
                return Err(Code::NotReady);
            }
            next.status = *to;
            if *to == Status::Active && next.started.is_none() {
                next.started = Some(now);
            }
            if *to == Status::Completed {
                next.ended = Some(now);
            }
        }
        Op::Rename { .. } if known.status == Status::Archived => return Err(Code::NotMutable),
        Op::Rename { .. } | Op::ArchiveFlag => {}
        Op::Delete { .. } if known.status == Status::Active => {
            return Err(Code::TransitionNotAllowed);
        }
        Op::Delete { .. } => return Ok(None),
    }
    Ok(Some(next))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Any history of transitions leads where the reference machine says, the clock going back now
    /// and then.
    #[test]
    fn a_history_of_transitions_follows_the_reference_machine(
        ops in prop::collection::vec((op(), -2..6_i64), 0..80),
    ) {
        let third = NewExperiment::by_percentage("Third", p("flg_a"))
            .id(p("exp_third"))
            .allocation(share("var_c", "100").control());
        let mut snapshot = ok(&world(), third);
        let mut models: Vec<Option<Model>> = IDS
            .map(|id| {
                let created = if id == "exp_third" { 2 } else { 1 };
                let (started, ended) = (None, None);
                let (status, version, updated) = (Status::Draft, 1, created);
                Some(Model { status, version, created, updated, started, ended })
            })
            .into();
        let (mut clock, mut last, mut sequence, mut flag_is_active) = (2, 2, 2, true);
        for (step, (op, seconds)) in ops.iter().enumerate() {
            clock += seconds;
            let now = clock.max(last);
            let (which, stale) = match op {
                Op::Move { which, stale, .. }
                | Op::Rename { which, stale }
                | Op::Delete { which, stale } => (*which, *stale),
                Op::ArchiveFlag => (0, false),
            };
            let id = p(IDS[which]);
            let change = match op {
                Op::Move { to, refresh: false, .. } => Change::set_experiment_status(&id, *to),
                Op::Move { to, refresh: true, .. } => {
                    Change::SetExperimentStatus { id, if_version: None, status: *to, refresh: true }
                }
                Op::Rename { .. } => {
                    let patch = ExperimentPatch::new().name(format!("name {step}"));
                    Change::patch_experiment(&id, patch)
                }
                Op::Delete { .. } => Change::delete_experiment(&id),
                Op::ArchiveFlag => Change::set_flag_status(&p("flg_a"), FlagStatus::Archived),
            };
            let version = models[which].as_ref().map_or(1, |model| model.version);
            let change = match stale {
                true => change.if_version(version + 1),
                false if step % 2 == 0 && !matches!(op, Op::ArchiveFlag) => {
                    change.if_version(version)
                }
                false => change,
            };
            let outcome = snapshot.apply(change, at(clock), &mut || 0);
            let wanted = match op {
                Op::ArchiveFlag if flag_is_active => {
                    flag_is_active = false;
                    Ok(())
                }
                Op::ArchiveFlag => Err(Code::TransitionNotAllowed),
                _ => expected(op, models[which].as_ref(), flag_is_active, now).map(|next| {
                    models[which] = next;
                }),
            };
            prop_assert_eq!(outcome.as_ref().map(drop).map_err(Error::code), wanted, "{:?}", op);
            if let Ok(commit) = outcome {
                snapshot = Snapshot::clone(&commit.snapshot);
                last = now;
                sequence += 1;
            }
            prop_assert_eq!(snapshot.sequence(), sequence);
            prop_assert_eq!(snapshot.updated_at(), at(last));
            prop_assert_eq!(snapshot.experiment_count(), models.iter().flatten().count());
            for (id, model) in IDS.iter().zip(&models) {
                let found = snapshot.experiment(id).map(|experiment| Model {
                    status: experiment.status(),
                    version: experiment.version(),
                    created: experiment.created_at().unix_millis() / 1_000,
                    updated: experiment.updated_at().unix_millis() / 1_000,
                    started: experiment.iteration().started_at().map(|t| t.unix_millis() / 1_000),
                    ended: experiment.iteration().ended_at().map(|t| t.unix_millis() / 1_000),
                });
                prop_assert_eq!(&found, model);
                let decision = snapshot.assign(id, &Subject::new("device"));
                let reason = match model.as_ref().map(|model| model.status) {
                    None => "not_found",
                    Some(Status::Active) if *id == "exp_segments" => "fallback",
                    Some(Status::Active) => "split",
                    Some(status) => status.as_str(),
                };
                prop_assert_eq!(decision.reason().as_str(), reason);
            }
        }
        prop_assert!(Snapshot::from_json(snapshot.to_json()).unwrap() == snapshot);
    }
}
