//! Journals: each commit is written down before anybody can read it, in order, and what cannot be
//! written down does not happen; and a commit made of the current snapshot has none in between.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crate::common::{at, p, world};
use variate::{
    Change, Code, Engine, Error, Event, ExperimentPatch, NewExperiment, SettingsPatch, Snapshot,
    Status, Transaction,
};

/// What was heard, in order: by whom, and the event's number.
type Heard = Arc<Mutex<Vec<(&'static str, u64)>>>;

fn edit(number: u64) -> Change {
    let patch = ExperimentPatch::new().description(format!("edit {number}"));
    Change::patch_experiment(&p("exp_weights"), patch)
}

/// A journal that notes its name, and that nobody reads the commit yet.
fn journal(engine: &Engine, heard: &Heard, name: &'static str) {
    let (own, heard) = (engine.clone(), Arc::clone(heard));
    let reader = Mutex::new(engine.reader());
    let write = move |event: &Event, snapshot: &Snapshot| {
        assert_eq!(snapshot.sequence(), event.sequence);
        assert_eq!(own.snapshot().sequence(), event.sequence - 1, "it is not published yet");
        assert_eq!(reader.lock().unwrap().snapshot().sequence(), event.sequence - 1);
        heard.lock().unwrap().push((name, event.sequence));
        Ok(())
    };
    engine.journal(write).unwrap();
}

fn listen(engine: &Engine, heard: &Heard, name: &'static str) {
    let (own, heard) = (engine.clone(), Arc::clone(heard));
    let hear = move |event: &Event, _: &Snapshot| {
        assert_eq!(own.snapshot().sequence(), event.sequence);
        heard.lock().unwrap().push((name, event.sequence));
    };
    engine.listen(hear).unwrap();
}

#[test]
fn journals_write_in_order_before_a_commit_is_published_and_listeners_hear_after() {
    let engine = Engine::from_snapshot(world());
    let heard = Heard::default();
    listen(&engine, &heard, "listener");
    journal(&engine, &heard, "first");
    journal(&engine, &heard, "second");
    let before = engine.snapshot().sequence();
    for number in 1..=3 {
        engine.commit(edit(number)).unwrap();
        // Nothing is written of what is refused, makes no difference, or is only tried.
        engine.commit(Change::delete_experiment(&p("exp_none"))).unwrap_err();
        assert!(engine.commit(edit(number)).unwrap().event.is_none());
        engine.dry_run(edit(99)).unwrap();
        let names = ["first", "second", "listener"];
        let expected: Vec<_> =
            (1..=number).flat_map(|number| names.map(|name| (name, before + number))).collect();
        assert_eq!(*heard.lock().unwrap(), expected);
    }
}

/// What is on record is what the engine holds, whoever commits.
#[test]
fn what_is_on_record_is_what_happened() {
    const WRITERS: u64 = 3;
    let engine = Engine::from_snapshot(world());
    let (record, lines) = mpsc::channel::<String>();
    let write = move |event: &Event, _: &Snapshot| {
        record.send(serde_json::to_string(event)?).map_err(io::Error::other)
    };
    engine.journal(write).unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let engine = &engine;
            scope.spawn(move || {
                for number in 0..50 {
                    engine.commit(edit(number * WRITERS + writer)).unwrap();
                }
            });
        }
    });
    let events: Vec<Event> = lines.try_iter().map(|line| Event::from_json(line).unwrap()).collect();
    assert!(events.is_sorted_by(|one, next| one.sequence + 1 == next.sequence));
    let replayed = world().replay(&events).unwrap();
    assert!(replayed == *engine.snapshot());
    assert_eq!(replayed.to_json(), engine.to_json());
}

/// Commits that a journal refuses leave everything as it was.
#[track_caller]
fn check_not_recorded(engine: &Engine, change: Change) {
    let before = (engine.snapshot(), engine.to_json());
    let mut reader = engine.reader();
    let error = engine.commit(change).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::NotRecorded, ""), "{error}");
    assert_eq!(error.code().as_str(), "not_recorded");
    assert_eq!(error.change(), None);
    assert!(error.rule().contains("the disk is full"), "{error} must say why");
    // It is neither the change that is at fault nor what the engine holds.
    assert!(!error.is_invalid() && !error.is_conflict() && !error.is_refused());
    assert!(Arc::ptr_eq(&engine.snapshot(), &before.0));
    assert!(Arc::ptr_eq(reader.snapshot(), &before.0));
    assert_eq!(engine.to_json(), before.1);
}

#[test]
fn what_cannot_be_recorded_does_not_happen() {
    let engine = Engine::with(world(), || at(1_000), || 7);
    let heard = Heard::default();
    journal(&engine, &heard, "first");
    let full = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&full);
    let write = move |_: &Event, _: &Snapshot| match fails.load(Ordering::Relaxed) {
        true => Err(io::Error::other("the disk is full")),
        false => Ok(()),
    };
    engine.journal(write).unwrap();
    journal(&engine, &heard, "last");
    listen(&engine, &heard, "listener");
    let before = engine.snapshot().sequence();

    full.store(true, Ordering::Relaxed);
    for number in 1..=3 {
        check_not_recorded(&engine, edit(number));
    }
    // Whoever was asked before has it on record, and nobody after.
    let thrice = vec![("first", before + 1); 3];
    assert_eq!(*heard.lock().unwrap(), thrice);
    // What makes no difference, and what is refused, asks no journal.
    assert!(engine.commit(Vec::new()).unwrap().event.is_none());
    let error = engine.commit(Change::delete_experiment(&p("exp_none"))).unwrap_err();
    assert_eq!(error.code(), Code::NotFound);

    // Then it goes on with the number that was not taken.
    full.store(false, Ordering::Relaxed);
    let commit = engine.commit(edit(4)).unwrap();
    assert_eq!(commit.event.unwrap().sequence, before + 1);
    let heard = heard.lock().unwrap();
    let all = ["first", "last", "listener"].map(|name| (name, before + 1));
    assert_eq!(heard[3..], all);
    // As if nothing had been.
    let untroubled = Engine::with(world(), || at(1_000), || 7);
    untroubled.commit(edit(4)).unwrap();
    assert_eq!(engine.to_json(), untroubled.to_json());
}

#[test]
fn a_journal_can_read_but_neither_commit_nor_journal_nor_listen() {
    let engine = Engine::from_snapshot(world());
    let codes = Arc::new(Mutex::new(Vec::new()));
    let (own, seen) = (engine.clone(), Arc::clone(&codes));
    let write = move |event: &Event, _: &Snapshot| {
        let refused = [
            own.commit(edit(99)).map(drop),
            own.commit(Vec::new()).map(drop),
            own.commit_with(|_| Ok::<_, Error>(edit(99))).map(drop),
            own.journal(|_, _| Ok(())),
            own.listen(|_, _| {}),
        ];
        seen.lock().unwrap().extend(refused.map(|outcome| outcome.unwrap_err().code()));
        assert_eq!(own.dry_run(edit(99)).unwrap().snapshot.sequence(), event.sequence);
        Ok(())
    };
    engine.journal(write).unwrap();
    let (own, seen) = (engine.clone(), Arc::clone(&codes));
    engine
        .listen(move |_, _| {
            let refused = own.journal(|_, _| Ok(()));
            seen.lock().unwrap().push(refused.unwrap_err().code());
        })
        .unwrap();
    engine.commit(edit(1)).unwrap();
    assert_eq!(*codes.lock().unwrap(), [Code::ReentrantCommit; 6]);
    // And afterwards again.
    engine.journal(|_, _| Ok(())).unwrap();
    engine.commit(edit(2)).unwrap();
}

#[test]
fn a_journal_that_panics_publishes_nothing_and_the_engine_goes_on() {
    let engine = Engine::from_snapshot(world());
    let told = Arc::new(AtomicU64::new(0));
    let heard = Arc::clone(&told);
    engine.listen(move |event, _| heard.store(event.sequence, Ordering::Relaxed)).unwrap();
    engine
        .journal(|event, _| {
            if event.comment.as_deref() == Some("panic") {
                // Unwinds like a panic, without the message on the terminal.
                resume_unwind(Box::new("the journal's own"));
            }
            Ok(())
        })
        .unwrap();
    let mut reader = engine.reader();
    for round in 1..=3 {
        let before = engine.snapshot();
        told.store(0, Ordering::Relaxed);
        let commit = || engine.commit(Transaction::from(edit(round)).comment("panic")).map(drop);
        let panic = catch_unwind(AssertUnwindSafe(commit)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the journal's own"));
        assert!(Arc::ptr_eq(&engine.snapshot(), &before));
        assert!(Arc::ptr_eq(reader.snapshot(), &before));
        assert_eq!(told.load(Ordering::Relaxed), 0, "nobody is told");
        // Everything goes on: committing from here and elsewhere, journals and listeners.
        let sequence = before.sequence() + 1;
        engine.commit(edit(round + 50)).unwrap();
        assert_eq!(reader.snapshot().sequence(), sequence);
        assert_eq!(told.load(Ordering::Relaxed), sequence);
        thread::scope(|scope| {
            let other = scope.spawn(|| engine.commit(edit(round + 70)).map(drop));
            other.join().unwrap().unwrap();
        });
        engine.journal(|_, _| Ok(())).unwrap();
    }
}

/// A journal is added while another thread commits: it has all from some commit on.
#[test]
fn a_journal_has_every_commit_from_when_it_was_added() {
    let engine = Engine::from_snapshot(world());
    let numbers: Arc<Mutex<Vec<u64>>> = Arc::default();
    thread::scope(|scope| {
        let writer = scope.spawn(|| (0..200).for_each(|n| drop(engine.commit(edit(n)).unwrap())));
        let noted = Arc::clone(&numbers);
        let write = move |event: &Event, _: &Snapshot| {
            noted.lock().unwrap().push(event.sequence);
            Ok(())
        };
        engine.journal(write).unwrap();
        writer.join().unwrap();
    });
    engine.commit(edit(1_000)).unwrap();
    let numbers = numbers.lock().unwrap();
    assert!(numbers.is_sorted_by(|one, next| one + 1 == *next));
    assert_eq!(numbers.last(), Some(&engine.snapshot().sequence()));
}

/// How far the description of an experiment has counted.
fn count(snapshot: &Snapshot) -> u64 {
    let description = snapshot.experiment("exp_weights").unwrap().description();
    description.map_or(0, |text| text.as_str().strip_prefix("edit ").unwrap().parse().unwrap())
}

#[test]
fn a_commit_made_of_the_snapshot_has_none_in_between() {
    const WRITERS: u64 = 4;
    const STEPS: u64 = 100;
    let engine = Engine::from_snapshot(world());
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                for _ in 0..STEPS {
                    let next = |snapshot: &Snapshot| Ok::<_, Error>(edit(count(snapshot) + 1));
                    let commit = engine.commit_with(next).unwrap();
                    assert!(commit.event.is_some());
                }
            });
        }
    });
    assert_eq!(count(&engine.snapshot()), WRITERS * STEPS);
}

/// What whoever calls makes of an error.
#[derive(Debug, PartialEq)]
enum Own {
    Refused,
    Engine(Code),
}

impl From<Error> for Own {
    fn from(error: Error) -> Self {
        Self::Engine(error.code())
    }
}

#[test]
fn a_commit_that_is_given_up_is_none() {
    let engine = Engine::from_snapshot(world());
    engine.journal(|_, _| panic!("nothing is to be written")).unwrap();
    engine.listen(|_, _| panic!("nobody is to be told")).unwrap();
    let before = engine.snapshot();
    let refuse = |snapshot: &Snapshot| match snapshot.experiment("exp_weights") {
        Some(_) => Err(Own::Refused),
        None => Ok(edit(1)),
    };
    assert_eq!(engine.commit_with(refuse).unwrap_err(), Own::Refused);
    let fails = |_: &Snapshot| Ok::<_, Own>(Change::delete_experiment(&p("exp_none")));
    assert_eq!(engine.commit_with(fails).unwrap_err(), Own::Engine(Code::NotFound));
    let inside = |_: &Snapshot| Ok::<_, Own>(engine.commit(edit(1)).map(|_| edit(2))?);
    let reentrant = Own::Engine(Code::ReentrantCommit);
    assert_eq!(engine.commit_with(inside).unwrap_err(), reentrant);
    let panics = || engine.commit_with(|_| -> Result<Change, Own> { resume_unwind(Box::new(1)) });
    catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
    let nothing = |_: &Snapshot| Ok::<_, Own>(SettingsPatch::new());
    let nothing = |snapshot: &Snapshot| nothing(snapshot).map(Change::patch_settings);
    assert!(engine.commit_with(nothing).unwrap().event.is_none());
    assert!(Arc::ptr_eq(&engine.snapshot(), &before));
}

#[test]
fn a_commit_made_of_the_snapshot_is_like_any_other() {
    let engine = Engine::with(world(), || at(1_000), || 7);
    let other = Engine::with(world(), || at(1_000), || 7);
    let create = || NewExperiment::by_percentage("Another", p("flg_a"));
    let made = engine
        .commit_with(|snapshot| {
            let drafts = snapshot.experiments().filter(|own| own.status() == Status::Draft);
            assert_eq!(drafts.count(), 2);
            Ok::<_, Error>(create())
        })
        .unwrap();
    assert_eq!(made, other.commit(create()).unwrap());
    assert_eq!(engine.to_json(), other.to_json());
}
