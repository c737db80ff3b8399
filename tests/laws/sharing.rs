//! Sharing: readers see only states that existed, in order, and never wait for what they hold to
//! change; commits are made one at a time, whoever makes them; listeners are told of each once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crate::common::{at, brought_to, p, world};
use variate::{
    ActiveLimit, Change, Code, Commit, Decision, Engine, Error, Event, ExperimentId,
    ExperimentPatch, Explanation, Holdout, Layer, NewExperiment, Plan, Reader, Scratch,
    SettingsPatch, Snapshot, Status, Subject, Transaction,
};

/// Compiles only if all of these can go from thread to thread, and those that own what they hold
/// can stay for ever.
#[test]
fn what_is_shared_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    fn owned<T: Send + Sync + 'static>() {}
    shared::<Subject<'_>>();
    shared::<Decision<'_>>();
    shared::<Explanation<'_>>();
    shared::<&Plan>();
    owned::<Engine>();
    owned::<Reader>();
    owned::<Snapshot>();
    owned::<Arc<Snapshot>>();
    owned::<Scratch>();
    owned::<Error>();
    owned::<Event>();
    owned::<Commit>();
    owned::<Transaction>();
    owned::<Plan>();
    owned::<Layer>();
    owned::<Holdout>();
}

/// Two active experiments with one salt and equal arms, so that they decide alike as long as their
/// traffic is the same.
fn twins() -> Snapshot {
    let twin = |name: &str, id: &str| {
        NewExperiment::by_percentage(name, p("flg_a"))
            .id(p(id))
            .allocation(crate::common::share("var_a", "50").control())
            .allocation(crate::common::share("var_b", "50"))
            .salt(p("twins"))
            .into()
    };
    let both = vec![twin("First twin", "exp_one"), twin("Second twin", "exp_two")];
    let snapshot = crate::common::ok(&world(), both);
    let snapshot = brought_to(&snapshot, "exp_one", Status::Active);
    brought_to(&snapshot, "exp_two", Status::Active)
}

/// The same edit of both twins.
fn edit(number: u64) -> Transaction {
    let patch = || {
        let traffic = u32::try_from(number * 37 % 101).unwrap();
        ExperimentPatch::new()
            .description(format!("edit {number}"))
            .traffic(traffic.try_into().unwrap())
    };
    let twins: [ExperimentId; 2] = [p("exp_one"), p("exp_two")];
    twins.map(|id| Change::patch_experiment(&id, patch())).into()
}

/// What every edit keeps.
fn check_twins(snapshot: &Snapshot, ids: &[String]) {
    let [one, two] = ["exp_one", "exp_two"].map(|id| snapshot.experiment(id).unwrap());
    assert_eq!(one.description(), two.description());
    assert_eq!(one.traffic(), two.traffic());
    assert_eq!(one.version(), two.version());
    for id in ids {
        let subject = Subject::new(id);
        let [one, two] = ["exp_one", "exp_two"].map(|id| snapshot.assign(id, &subject));
        assert_eq!((one.reason(), one.variation_id()), (two.reason(), two.variation_id()));
    }
}

/// How many states a reader has seen; all that anybody waits for, once it is done or unwinds.
struct Seen<'a>(&'a AtomicU64);

impl Drop for Seen<'_> {
    fn drop(&mut self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }
}

#[test]
fn readers_see_only_states_that_existed() {
    const WRITERS: u64 = 2;
    const EDITS: u64 = 300;
    const STATES: u64 = 20;
    let engine = Engine::from_snapshot(twins());
    let first = engine.snapshot().sequence();
    let version = engine.snapshot().experiment("exp_one").unwrap().version();
    let ids: Vec<String> = (0..4).map(|n| format!("device-{n}")).collect();
    // The last sequence of which a commit has returned.
    let returned = AtomicU64::new(first);
    let seen = [AtomicU64::new(0), AtomicU64::new(0)];
    let done = AtomicBool::new(false);
    let check = |snapshot: &Snapshot, last: &mut u64, at_least: u64| {
        let sequence = snapshot.sequence();
        assert!(sequence >= at_least, "{sequence} is read after {at_least} was committed");
        assert!(sequence >= *last, "from {last} back to {sequence}");
        *last = sequence;
        check_twins(snapshot, &ids);
        let own = snapshot.experiment("exp_one").unwrap().version();
        assert_eq!(own - version, sequence - first, "each transaction is one version");
    };
    let edits: u64 = thread::scope(|scope| {
        let (engine, returned, seen, done, check) = (&engine, &returned, &seen, &done, &check);
        for (number, seen) in seen.iter().enumerate() {
            scope.spawn(move || {
                let seen = Seen(seen);
                let mut reader = engine.reader();
                let mut last = 0;
                while !done.load(Ordering::Acquire) {
                    let at_least = returned.load(Ordering::Acquire);
                    let before = last;
                    if number == 0 {
                        check(reader.snapshot(), &mut last, at_least);
                    } else {
                        check(&engine.snapshot(), &mut last, at_least);
                    }
                    seen.0.fetch_add(u64::from(last != before), Ordering::Relaxed);
                    thread::yield_now();
                }
            });
        }
        let writers = (0..WRITERS).map(|writer| {
            scope.spawn(move || {
                let mut reader = engine.reader();
                let (mut last, mut edits) = (0, 0);
                // On a busy machine the readers need their time.
                while edits < EDITS || seen.iter().any(|s| s.load(Ordering::Relaxed) < STATES) {
                    let commit = engine.commit(edit(edits * WRITERS + writer)).unwrap();
                    let sequence = commit.event.unwrap().sequence;
                    returned.fetch_max(sequence, Ordering::Release);
                    check(&commit.snapshot, &mut last, sequence);
                    check(reader.snapshot(), &mut last, sequence);
                    edits += 1;
                }
                edits
            })
        });
        let writers: Vec<_> = writers.collect();
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Release);
        results.into_iter().map(|edits| edits.unwrap()).sum()
    });
    assert_eq!(engine.snapshot().sequence(), first + edits);
}

/// The smallest commits against the tightest loop, for what happens between two instructions.
#[test]
fn a_reader_never_misses_a_commit() {
    const COMMITS: u64 = 150_000;
    let engine = Engine::new();
    let returned = AtomicU64::new(0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 1..=COMMITS {
                let limit =
                    [ActiveLimit::One, ActiveLimit::Unlimited][usize::from(number % 2 == 0)];
                let patch = SettingsPatch::new().active_limit(limit);
                engine.commit(Change::patch_settings(patch)).unwrap();
                returned.store(number, Ordering::Release);
            }
        });
        let mut reader = engine.reader();
        while !writer.is_finished() {
            let at_least = returned.load(Ordering::Acquire);
            let sequence = reader.snapshot().sequence();
            assert!(sequence >= at_least, "{sequence} is read after {at_least} was committed");
        }
    });
    assert_eq!(engine.snapshot().sequence(), COMMITS);
}

#[test]
fn no_update_is_lost() {
    const WRITERS: u64 = 4;
    const STEPS: u64 = 100;
    let engine = Engine::from_snapshot(world());
    let id: ExperimentId = p("exp_weights");
    let count = |snapshot: &Snapshot| -> u64 {
        let description = snapshot.experiment(&id).unwrap().description();
        description.map_or(0, |text| text.as_str().strip_prefix("count ").unwrap().parse().unwrap())
    };
    let conflicts: u64 = thread::scope(|scope| {
        let (engine, id, count) = (&engine, &id, &count);
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(move || {
                    let (mut steps, mut conflicts) = (0, 0);
                    while steps < STEPS {
                        let snapshot = engine.snapshot();
                        // So that others come in between.
                        thread::yield_now();
                        let next = format!("count {}", count(&snapshot) + 1);
                        let version = snapshot.experiment(id).unwrap().version();
                        let patch = ExperimentPatch::new().description(next);
                        let change = Change::patch_experiment(id, patch).if_version(version);
                        match engine.commit(change) {
                            Ok(_) => steps += 1,
                            Err(error) => {
                                assert_eq!(error.code(), Code::VersionConflict, "{error}");
                                conflicts += 1;
                            }
                        }
                    }
                    conflicts
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    let end = engine.snapshot();
    assert_eq!(count(&end), WRITERS * STEPS, "after {conflicts} conflicts");
    assert_eq!(end.experiment(&id).unwrap().version(), 1 + WRITERS * STEPS);
    assert_eq!(end.sequence(), world().sequence() + WRITERS * STEPS);
}

#[test]
fn a_listener_is_told_of_every_commit_once_and_in_order() {
    const WRITERS: u64 = 3;
    const EDITS: u64 = 100;
    let engine = Engine::from_snapshot(twins());
    let first = engine.snapshot().sequence();
    let told = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..2 {
        let (told, own) = (Arc::clone(&told), engine.clone());
        let listener = move |event: &Event, snapshot: &Snapshot| {
            // What it is told of is published, and nothing after it is.
            assert_eq!(own.snapshot().sequence(), event.sequence);
            assert_eq!(snapshot.sequence(), event.sequence);
            told.lock().unwrap().push(event.clone());
        };
        engine.listen(listener).unwrap();
    }
    let events: Vec<Event> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let engine = &engine;
                scope.spawn(move || {
                    let mut events = Vec::new();
                    for number in 0..EDITS {
                        let commit = engine.commit(edit(number * WRITERS + writer)).unwrap();
                        events.push(Event::clone(&commit.event.unwrap()));
                        // Refused, and without effect.
                        engine.commit(Change::delete_experiment(&p("exp_none"))).unwrap_err();
                        let same = commit.snapshot.settings().active_limit;
                        let same = SettingsPatch::new().active_limit(same);
                        engine.commit(Change::patch_settings(same)).unwrap();
                    }
                    events
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let mut events = events;
    events.sort_by_key(|event| event.sequence);
    let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    let expected: Vec<u64> = (1..=WRITERS * EDITS).map(|number| first + number).collect();
    assert_eq!(sequences, expected);
    // Both listeners were told of one commit before the next.
    let twice: Vec<Event> =
        events.iter().flat_map(|event| [event.clone(), event.clone()]).collect();
    assert!(*told.lock().unwrap() == twice);
}

#[test]
fn a_listener_can_read_but_neither_commit_nor_listen() {
    let engine = Engine::from_snapshot(twins());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (own, heard) = (engine.clone(), Arc::clone(&seen));
    let listener = move |event: &Event, _: &Snapshot| {
        let commit = own.commit(edit(99)).map(drop);
        // Not even from within what does nothing.
        let nothing = own.commit(Vec::new()).map(drop);
        let listen = own.listen(|_, _| {});
        let dry = own.dry_run(edit(99)).map(|dry| dry.snapshot.sequence());
        let read = own.reader().snapshot().sequence();
        let codes = [commit, nothing, listen].map(|result| result.unwrap_err().code());
        heard.lock().unwrap().push((codes, dry.unwrap(), read, event.sequence));
    };
    engine.listen(listener).unwrap();
    let sequence = engine.snapshot().sequence() + 1;
    engine.commit(edit(1)).unwrap();
    engine.commit(edit(2)).unwrap();
    let codes = [Code::ReentrantCommit; 3];
    let expected = [sequence, sequence + 1].map(|now| (codes, now + 1, now, now));
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(engine.snapshot().sequence(), sequence + 1);
}

/// Only the thread that tells the listeners is told off: another waits its turn.
#[test]
fn another_thread_commits_after_the_listeners() {
    let engine = Engine::from_snapshot(twins());
    let (begun, begin) = mpsc::channel();
    let (coming, come) = mpsc::channel();
    let (come, own) = (Mutex::new(come), engine.clone());
    let waited = AtomicBool::new(false);
    engine
        .listen(move |event, _| {
            begun.send(()).unwrap();
            if !waited.swap(true, Ordering::Relaxed) {
                come.lock().unwrap().recv().unwrap();
                for _ in 0..1_000 {
                    thread::yield_now();
                    assert_eq!(own.snapshot().sequence(), event.sequence, "the other waits");
                }
            }
        })
        .unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| engine.commit(edit(1)).unwrap().event.unwrap().sequence);
        begin.recv().unwrap();
        let second = scope.spawn(|| {
            coming.send(()).unwrap();
            engine.commit(edit(2)).unwrap().event.unwrap().sequence
        });
        assert_eq!(first.join().unwrap() + 1, second.join().unwrap());
    });
    check_twins(&engine.snapshot(), &[]);
}

#[test]
fn a_listener_that_panics_does_no_harm() {
    let engine = Engine::from_snapshot(twins());
    let told = Arc::new(AtomicU64::new(0));
    let heard = Arc::clone(&told);
    engine
        .listen(move |event, _| {
            heard.store(event.sequence, Ordering::Relaxed);
            if event.comment.as_deref() == Some("panic") {
                // Unwinds like a panic, without the message on the terminal.
                resume_unwind(Box::new("the listener's own"));
            }
        })
        .unwrap();
    let mut reader = engine.reader();
    let before = engine.snapshot().sequence();
    for round in 1..=3 {
        let sequence = before + round * 2;
        let commit = || engine.commit(edit(round).comment("panic")).map(drop);
        let panic = catch_unwind(AssertUnwindSafe(commit)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the listener's own"));
        // What was committed stays, and everything goes on: reading, committing and listening.
        assert_eq!(engine.snapshot().sequence(), sequence - 1);
        assert_eq!(reader.snapshot().sequence(), sequence - 1);
        assert_eq!(told.load(Ordering::Relaxed), sequence - 1);
        engine.commit(edit(round + 50)).unwrap();
        assert_eq!(reader.snapshot().sequence(), sequence);
        assert_eq!(told.load(Ordering::Relaxed), sequence);
        thread::scope(|scope| {
            let other = scope.spawn(|| engine.dry_run(edit(round)).unwrap().snapshot.sequence());
            assert_eq!(other.join().unwrap(), sequence + 1);
        });
        engine.listen(|_, _| {}).unwrap();
    }
}

#[test]
fn what_is_held_never_changes() {
    let engine = Engine::with(twins(), || at(100), || 7);
    let mut held = Vec::new();
    for number in 1..=40 {
        let snapshot = engine.snapshot();
        held.push((snapshot.to_json(), engine.reader(), Snapshot::clone(&snapshot), snapshot));
        engine.commit(edit(number)).unwrap();
        if number % 10 == 0 {
            let id = p("exp_one");
            let to = |status| Change::set_experiment_status(&id, status);
            engine
                .commit([to(Status::Paused), Change::reshuffle(&id), to(Status::Active)])
                .unwrap();
        }
    }
    engine.commit(Change::delete_experiment(&p("exp_segments"))).unwrap();
    let plan = engine.snapshot();
    for (json, mut reader, copy, snapshot) in held {
        assert_eq!(snapshot.to_json(), json);
        assert_eq!(copy.to_json(), json);
        assert!(snapshot.experiment("exp_segments").is_some());
        assert!(Arc::ptr_eq(reader.snapshot(), &plan), "a reader goes with the time");
    }
}

#[test]
fn a_clone_is_another_handle_on_the_same_engine() {
    let engine = Engine::from_snapshot(twins());
    let other = engine.clone();
    let mut reader = engine.reader();
    let mut copy = reader.clone();
    other.commit(edit(1)).unwrap();
    assert!(Arc::ptr_eq(&engine.snapshot(), &other.snapshot()));
    assert!(Arc::ptr_eq(reader.snapshot(), &other.snapshot()));
    assert!(Arc::ptr_eq(copy.snapshot(), &other.snapshot()));
    // As long as nothing is committed, a reader keeps the very same one.
    let before = Arc::as_ptr(reader.snapshot());
    engine.commit(Vec::new()).unwrap();
    assert_eq!(Arc::as_ptr(reader.snapshot()), before);
}

#[test]
fn a_snapshot_is_freed_with_its_last_holder() {
    let engine = Engine::from_snapshot(twins());
    let weak = || Arc::downgrade(&engine.snapshot());

    let first = weak();
    assert!(first.upgrade().is_some());
    let commit = engine.commit(edit(1)).unwrap();
    assert!(first.upgrade().is_none(), "nobody held it");

    let second = weak();
    drop(engine.commit(edit(2)).unwrap());
    assert!(second.upgrade().is_some(), "the commit holds it");
    drop(commit);
    assert!(second.upgrade().is_none());

    let third = weak();
    let mut reader = engine.reader();
    let held = engine.snapshot();
    engine.commit(edit(3)).unwrap();
    drop(held);
    assert!(third.upgrade().is_some(), "the reader holds it");
    assert_ne!(Arc::as_ptr(reader.snapshot()), third.as_ptr());
    assert!(third.upgrade().is_none(), "until it reads again");

    let fourth = weak();
    drop(reader);
    drop(engine);
    assert!(fourth.upgrade().is_none(), "the engine was the last");
}

#[test]
fn a_reader_is_never_behind_the_engine() {
    let engine = Engine::new();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..300_000 {
                let limit = [ActiveLimit::One, ActiveLimit::Unlimited][number % 2];
                let patch = SettingsPatch::new().active_limit(limit);
                engine.commit(Change::patch_settings(patch)).unwrap();
            }
        });
        let mut reader = engine.reader();
        while !writer.is_finished() {
            let sequence = engine.snapshot().sequence();
            assert!(reader.snapshot().sequence() >= sequence);
        }
    });
}

#[test]
fn a_clock_that_commits_is_refused_not_blocked() {
    let (send, outcome) = mpsc::channel();
    let slot: Arc<Mutex<Option<Engine>>> = Arc::default();
    let inner = Arc::clone(&slot);
    let clock = move || {
        let engine = inner.lock().unwrap().clone();
        if let Some(engine) = engine {
            let patch = SettingsPatch::new().active_limit(ActiveLimit::One);
            let refused = engine.commit(Change::patch_settings(patch)).map(drop);
            send.send(refused.map_err(|error| error.code())).unwrap();
        }
        at(1)
    };
    let mut counter = 0;
    let engine = Engine::with(Snapshot::new(), clock, move || {
        counter += 1;
        counter
    });
    *slot.lock().unwrap() = Some(engine.clone());
    let patch = SettingsPatch::new().active_limit(ActiveLimit::PerFlow);
    engine.commit(Change::patch_settings(patch)).unwrap();
    assert_eq!(outcome.recv(), Ok(Err(Code::ReentrantCommit)));
    // The clock holds the engine that holds the clock.
    *slot.lock().unwrap() = None;
}

#[test]
fn a_commit_that_makes_no_difference_leaves_the_snapshot() {
    let engine = Engine::new();
    let before = engine.snapshot();
    let commit = engine.commit(Change::patch_settings(SettingsPatch::new())).unwrap();
    assert!(Arc::ptr_eq(&before, &commit.snapshot));
    assert!(Arc::ptr_eq(&before, &engine.snapshot()));
    assert!(commit.event.is_none());
}
