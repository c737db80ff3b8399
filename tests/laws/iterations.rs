//! An experiment as a series of iterations: random histories against a plain model, what is kept of
//! the runs that are over, who moves when a new one starts, and what a shipped winner serves.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::common::{apply, at, brought_to, ok, p, share, world};
use proptest::prelude::*;
use serde_json::{Value, json};
use variate::{
    Allocation, Batch, Carryover, Change, Code, Commit, DraftPatch, EffectKind, Engine, Error,
    Event, Experiment, ExperimentPatch, Iteration, LayerPatch, NewExperiment, NewHoldout, NewLayer,
    Outcome, Partition, PastIteration, Percentage, Preview, Salt, Scratch, Snapshot, Status,
    Subject, Timestamp, Transaction, VariationId,
};

const ID: &str = "exp_weights";

const VARIATIONS: [&str; 4] = ["var_a", "var_b", "var_c", "var_d"];

/// A design in plain words: the weights of the variations, of which the first that has any is the
/// control, and the rest.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    kind: &'static str,
    weights: [Option<u32>; 4],
    traffic: u32,
    audience: bool,
    outside: Option<usize>,
    can_reshuffle: bool,
}

impl Plain {
    fn arms(&self) -> Vec<Allocation> {
        let mut arms = Vec::new();
        for (variation, weight) in VARIATIONS.iter().zip(self.weights) {
            let Some(weight) = weight else { continue };
            let arm = share(variation, &weight.to_string());
            arms.push(if arms.is_empty() { arm.control() } else { arm });
        }
        arms
    }

    fn is_ready(&self) -> bool {
        self.weights.iter().flatten().sum::<u32>() == 100
    }

    /// What a run freezes of it.
    fn frozen(&self) -> (Vec<Allocation>, bool, Option<usize>) {
        (self.arms(), self.audience, self.outside)
    }
}

/// What a patch gives of a design.
#[derive(Debug, Clone, Default)]
struct Given {
    kind: Option<&'static str>,
    weights: Option<[Option<u32>; 4]>,
    traffic: Option<u32>,
    audience: Option<bool>,
    outside: Option<Option<usize>>,
    can_reshuffle: Option<bool>,
}

impl Given {
    fn applied(&self, to: &Plain) -> Plain {
        Plain {
            kind: self.kind.unwrap_or(to.kind),
            weights: self.weights.unwrap_or(to.weights),
            traffic: self.traffic.unwrap_or(to.traffic),
            audience: self.audience.unwrap_or(to.audience),
            outside: self.outside.unwrap_or(to.outside),
            can_reshuffle: self.can_reshuffle.unwrap_or(to.can_reshuffle),
        }
    }

    fn json(&self) -> Value {
        let mut json = json!({});
        let mut put = |key: &str, value: Value| json[key] = value;
        if let Some(kind) = self.kind {
            put("subject_kind", json!(kind));
        }
        if let Some(weights) = self.weights {
            put("allocations", json!(Plain { weights, ..plain() }.arms()));
        }
        if let Some(traffic) = self.traffic {
            put("traffic", json!(traffic));
        }
        if let Some(audience) = self.audience {
            put("audience_id", json!(audience.then_some("seg_germany")));
        }
        if let Some(outside) = self.outside {
            put("outside_variation_id", json!(outside.map(|own| VARIATIONS[own])));
        }
        if let Some(can_reshuffle) = self.can_reshuffle {
            put("can_reshuffle", json!(can_reshuffle));
        }
        json
    }
}

/// That of `exp_weights` in the world.
fn plain() -> Plain {
    Plain {
        kind: "device",
        weights: [Some(50), Some(50), None, None],
        traffic: 100,
        audience: false,
        outside: None,
        can_reshuffle: true,
    }
}

/// Something that somebody might ask for.
#[derive(Debug, Clone)]
enum Ask {
    Set(Status),
    Patch(Given),
    Reshuffle(Option<&'static str>),
    Draft(Given),
    Discard,
    Start { reshuffle: bool, salt: Option<&'static str> },
    Stop { winner: Option<usize>, reason: bool, ship: bool },
    Shelve(bool),
    Share(u32),
}

fn ask() -> impl Strategy<Value = Ask> {
    let weights = prop_oneof![
        3 => prop::sample::select(vec![
            [Some(50), Some(50), None, None],
            [Some(50), None, Some(50), None],
            [Some(20), Some(30), Some(50), None],
            [None, Some(100), None, None],
            [Some(10), Some(20), Some(30), Some(40)],
        ]),
        1 => Just([Some(50), Some(40), None, None]),
    ];
    let given = (
        prop::option::weighted(0.2, prop_oneof![Just("device"), Just("user")]),
        prop::option::of(weights),
        prop::option::of(prop_oneof![Just(100), Just(60), Just(20)]),
        prop::option::weighted(0.2, any::<bool>()),
        prop::option::weighted(0.3, prop::option::of(0..4_usize)),
        prop::option::weighted(0.3, any::<bool>()),
    );
    let given = given
        .prop_map(|(kind, weights, traffic, audience, outside, can_reshuffle)| Given {
            kind,
            weights,
            traffic,
            audience,
            outside,
            can_reshuffle,
        })
        .boxed();
    let salt = prop::option::weighted(0.2, prop_oneof![Just("salt one"), Just("exp_weights")]);
    let start = (prop::bool::weighted(0.2), salt.clone());
    let stop = (prop::option::weighted(0.8, 0..4_usize), any::<bool>(), any::<bool>());
    prop_oneof![
        5 => prop::sample::select(Status::ALL).prop_map(Ask::Set),
        3 => given.clone().prop_map(Ask::Patch),
        1 => salt.prop_map(Ask::Reshuffle),
        4 => given.prop_map(Ask::Draft),
        1 => Just(Ask::Discard),
        8 => start.prop_map(|(reshuffle, salt)| Ask::Start { reshuffle, salt }),
        5 => stop.prop_map(|(winner, reason, ship)| Ask::Stop { winner, reason, ship }),
        2 => any::<bool>().prop_map(Ask::Shelve),
        1 => (0..60_u32).prop_map(Ask::Share),
    ]
}

/// A run in plain words.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    number: u32,
    design: Plain,
    salt: String,
    winner: Option<(usize, Option<String>, bool)>,
    /// The experiment's share of its layer when the run ended.
    share: Option<u32>,
}

/// The experiment as the documentation tells its life.
#[derive(Debug, Clone)]
struct Model {
    status: Status,
    shelved: bool,
    design: Plain,
    salt: String,
    draft: Option<Plain>,
    /// What the present run froze; nothing before the first.
    run: Option<Run>,
    past: Vec<Run>,
    /// Its share of the layer, if it is in one, and in a holdout with it.
    share: Option<u32>,
}

/// What comes of an ask: whether it makes a difference, and whether somebody has to choose a salt.
type Told = Result<(bool, bool), Code>;

impl Model {
    /// Does what is asked. Of a salt that is drawn it knows only that it is a new one.
    fn tell(&mut self, ask: &Ask) -> Told {
        use Status::{Active, Archived, Completed, Draft, Paused};
        let status = self.status;
        match ask {
            Ask::Set(to) => {
                let edges: &[Status] = match status {
                    Draft => &[Active, Archived],
                    Active => &[Paused, Completed],
                    Paused => &[Active, Completed, Archived],
                    Completed => &[Archived],
                    Archived => &[],
                };
                if !edges.contains(to) || (*to == Active && self.shelved) {
                    return Err(Code::TransitionNotAllowed);
                }
                if *to == Active {
                    self.resume()?;
                }
                if let (Completed, Some(run)) = (*to, &mut self.run) {
                    run.share = self.share;
                }
                self.status = *to;
                Ok((true, false))
            }
            Ask::Patch(given) => self.patch(given),
            Ask::Reshuffle(salt) => {
                let differs = salt.is_none_or(|salt| salt != self.salt);
                if differs && !matches!(status, Draft | Paused) {
                    return Err(Code::NotMutable);
                }
                self.take(*salt);
                Ok((differs, salt.is_none()))
            }
            Ask::Draft(given) => {
                if matches!(status, Draft | Archived) {
                    return Err(Code::NotMutable);
                }
                let after = given.applied(self.draft.as_ref().unwrap_or(&self.design));
                self.check_kind(&after)?;
                let differs = self.draft.as_ref() != Some(&after);
                self.draft = Some(after);
                Ok((differs, false))
            }
            Ask::Discard => match self.draft {
                Some(_) if status == Archived => Err(Code::NotMutable),
                _ => Ok((self.draft.take().is_some(), false)),
            },
            Ask::Start { reshuffle, salt } => self.start(*reshuffle, *salt),
            Ask::Stop { winner, reason, ship } => {
                let (Active | Paused, Some(run)) = (status, &mut self.run) else {
                    return Err(Code::TransitionNotAllowed);
                };
                match winner {
                    Some(own) if run.design.weights[*own].is_none() => {
                        return Err(Code::UnknownReference);
                    }
                    None if *reason || *ship => return Err(Code::InvalidValue),
                    _ => {}
                }
                let reason = reason.then(|| "it sells".to_owned());
                run.winner = winner.map(|own| (own, reason, *ship));
                run.share = self.share;
                self.status = Completed;
                Ok((true, false))
            }
            Ask::Shelve(shelved) => {
                if *shelved == self.shelved {
                    return Ok((false, false));
                }
                if !matches!(status, Draft | Completed) {
                    return Err(Code::NotMutable);
                }
                self.shelved = *shelved;
                Ok((true, false))
            }
            Ask::Share(share) => {
                let differs = self.share.is_some_and(|own| own != *share);
                self.share = self.share.map(|_| *share);
                Ok((differs, false))
            }
        }
    }

    fn patch(&mut self, given: &Given) -> Told {
        use Status::{Active, Draft, Paused};
        let status = self.status;
        let after = given.applied(&self.design);
        let at_rest = matches!(status, Draft | Paused);
        let lives = at_rest || status == Active;
        let own = &self.design;
        let allowed = (lives || after.traffic == own.traffic)
            && (at_rest || after.frozen() == own.frozen())
            && (status == Draft || after.kind == own.kind)
            && (status == Draft || after.can_reshuffle == own.can_reshuffle);
        if !allowed {
            return Err(Code::NotMutable);
        }
        self.check_kind(&after)?;
        let differs = after != self.design;
        self.design = after;
        Ok((differs, false))
    }

    fn start(&mut self, reshuffle: bool, salt: Option<&str>) -> Told {
        use Status::{Active, Archived, Completed, Paused};
        let status = self.status;
        if status == Archived || self.shelved {
            return Err(Code::TransitionNotAllowed);
        }
        let draws = salt.is_none() && (reshuffle || status == Completed);
        let next = self.draft.clone().unwrap_or_else(|| self.design.clone());
        let anew = draws || salt.is_some_and(|salt| salt != self.salt);
        if anew && matches!(status, Active | Paused) && !next.can_reshuffle {
            return Err(Code::NotMutable);
        }
        if !next.is_ready() {
            return Err(Code::NotReady);
        }
        if let Some(mut run) = self.run.take() {
            if status != Completed {
                run.share = self.share;
            }
            run.design.traffic = self.design.traffic;
            self.past.push(run);
        }
        (self.draft, self.design) = (None, next);
        if draws || salt.is_some() {
            self.take(salt);
        }
        self.resume()?;
        self.status = Active;
        Ok((true, draws))
    }

    fn take(&mut self, salt: Option<&str>) {
        // What is drawn is told later.
        salt.unwrap_or("").clone_into(&mut self.salt);
    }

    fn check_kind(&self, design: &Plain) -> Result<(), Code> {
        match self.share {
            Some(_) if design.kind != "device" => Err(Code::InvalidValue),
            _ => Ok(()),
        }
    }

    /// Freezes the design for the present run, or for the next when there is none.
    fn resume(&mut self) -> Result<(), Code> {
        if !self.design.is_ready() {
            return Err(Code::NotReady);
        }
        let number = match &self.run {
            Some(run) => run.number,
            None => self.past.last().map_or(1, |run| run.number + 1),
        };
        let (design, salt) = (self.design.clone(), self.salt.clone());
        self.run = Some(Run { number, design, salt, winner: None, share: None });
        Ok(())
    }
}

fn change(ask: &Ask) -> Change {
    let id = p(ID);
    let json = match ask {
        Ask::Set(to) => return Change::set_experiment_status(&id, *to),
        Ask::Patch(given) => json!({"change": "patch_experiment", "patch": given.json()}),
        Ask::Draft(given) => json!({"change": "draft_iteration", "patch": given.json()}),
        Ask::Reshuffle(salt) => {
            return Change::Reshuffle { id, if_version: None, salt: salt.map(p) };
        }
        Ask::Discard => return Change::discard_draft(&id),
        Ask::Start { reshuffle, salt } => {
            let (reshuffle, salt) = (*reshuffle, salt.map(p));
            return Change::StartIteration {
                id,
                if_version: None,
                reshuffle,
                salt,
                carryover: Carryover::default(),
            };
        }
        Ask::Stop { winner, reason, ship } => {
            let stop = Change::stop_iteration(&id);
            let stop = winner.map_or(stop.clone(), |own| stop.with_winner(&p(VARIATIONS[own])));
            let stop = if *reason { stop.because("it sells") } else { stop };
            return if *ship { stop.shipping() } else { stop };
        }
        Ask::Shelve(true) => return Change::shelve(&id),
        Ask::Shelve(false) => return Change::unshelve(&id),
        Ask::Share(share) => {
            let patch = LayerPatch::new().member(id, (*share).try_into().unwrap());
            return Change::patch_layer(&p("lay_a"), patch);
        }
    };
    let mut json = json;
    json["id"] = json!(ID);
    Change::from_json(json.to_string()).unwrap()
}

/// The world with one more experiment, which is active and shows who is held out; grouped if
/// `exp_weights` is in a layer and a holdout.
fn beginning(grouped: bool) -> Snapshot {
    let witness = NewExperiment::by_percentage("Witness", p("flg_a"))
        .id(p("exp_witness"))
        .allocation(share("var_a", "100").control());
    let mut holdout = NewHoldout::new("A holdout", "device", 30.try_into().unwrap())
        .id(p("hld_a"))
        .experiment(p("exp_witness"));
    let mut layer = NewLayer::new("A layer", "device").id(p("lay_a"));
    if grouped {
        holdout = holdout.experiment(p(ID));
        layer = layer
            .member(p(ID), 50.try_into().unwrap())
            .member(p("exp_segments"), 40.try_into().unwrap());
    }
    let changes = vec![
        witness.into(),
        layer.into(),
        holdout.into(),
        Change::set_experiment_status(&p("exp_witness"), Status::Active),
    ];
    ok(&world(), changes)
}

fn engine(snapshot: &Snapshot) -> Engine {
    let clock = AtomicI64::new(snapshot.updated_at().unix_millis());
    let entropy = AtomicU64::new(1);
    Engine::with(
        snapshot.clone(),
        move || Timestamp::from_unix_millis(clock.fetch_add(1_000, Ordering::Relaxed)).unwrap(),
        move || u128::from(entropy.fetch_add(1, Ordering::Relaxed)) << 64 | 5,
    )
}

/// The experiment is as the model says, down to what its runs froze.
#[track_caller]
fn check_state(experiment: &Experiment, model: &Model) {
    assert_eq!(experiment.status(), model.status);
    assert_eq!(experiment.shelved_at().is_some(), model.shelved);
    assert_eq!(experiment.salt().as_str(), model.salt);
    let own = &model.design;
    assert_eq!(experiment.subject_kind().as_str(), own.kind);
    assert_eq!(experiment.allocations(), own.arms());
    assert_eq!(experiment.traffic(), percent(own.traffic));
    assert_eq!(experiment.audience_id().is_some(), own.audience);
    assert_eq!(experiment.outside_variation_id().map(place), own.outside);
    assert_eq!(experiment.can_reshuffle(), own.can_reshuffle);
    let draft = experiment.draft().map(|draft| {
        assert!(draft.created_at() <= experiment.updated_at());
        (
            draft.subject_kind().as_str(),
            draft.allocations().to_vec(),
            draft.traffic(),
            (draft.audience_id().is_some(), draft.outside_variation_id().map(place)),
            draft.can_reshuffle(),
        )
    });
    let drafted = model.draft.as_ref().map(|own| {
        let rest = (own.audience, own.outside);
        (own.kind, own.arms(), percent(own.traffic), rest, own.can_reshuffle)
    });
    assert_eq!(draft, drafted);
    match &model.run {
        Some(run) => check_run(experiment.iteration(), run),
        None => assert_eq!(experiment.iteration().allocations(), None),
    }
    let previous = experiment.previous_iterations();
    assert_eq!(previous.len(), model.past.len());
    for (past, run) in previous.iter().zip(&model.past) {
        check_run(past.iteration(), run);
        assert_eq!(past.subject_kind().as_str(), run.design.kind);
        assert_eq!(past.traffic(), percent(run.design.traffic));
        assert_eq!(past.can_reshuffle(), run.design.can_reshuffle);
        assert_eq!(past.layer(), past.iteration().layer());
    }
    let runs = previous.iter().map(PastIteration::iteration).chain([experiment.iteration()]);
    let runs: Vec<&Iteration> = runs.collect();
    for pair in runs.windows(2) {
        assert!(pair[0].started_at() <= pair[0].ended_at());
        assert!(pair[0].ended_at() <= pair[1].started_at() && pair[0].ended_at().is_some());
        assert!(pair[1].created_at() <= pair[1].started_at().unwrap());
    }
}

#[track_caller]
fn check_run(iteration: &Iteration, run: &Run) {
    assert_eq!(iteration.number(), run.number);
    assert_eq!(iteration.allocations(), Some(&*run.design.arms()));
    assert_eq!(iteration.audience_id().is_some(), run.design.audience);
    let winner = iteration
        .winner()
        .map(|own| (place(own.variation_id()), own.reason().map(str::to_owned), own.is_shipped()));
    assert_eq!(winner, run.winner);
    let layer = iteration.layer().map(|own| {
        assert_eq!((own.layer_id().as_str(), own.name().as_str()), ("lay_a", "A layer"));
        assert_eq!(own.others(), percent(40));
        own.share()
    });
    assert_eq!(layer, run.share.map(percent));
}

fn place(variation: &VariationId) -> usize {
    VARIATIONS.iter().position(|own| variation == own).unwrap()
}

fn percent(number: u32) -> Percentage {
    number.try_into().unwrap()
}

/// What subjects get while the experiment is as the model says.
#[track_caller]
fn check_served(snapshot: &Snapshot, model: &Model) {
    let plan = snapshot.plan(ID).unwrap();
    let mut scratch = Scratch::new();
    for number in 0..24 {
        let id = if number == 0 { String::new() } else { format!("device-{number}") };
        let attributes = [("country", if number % 2 == 0 { "DE" } else { "FR" })];
        let subject = Subject::of(model.run.as_ref().map_or("device", |run| run.design.kind), &id);
        let subject = subject.with_attributes(&attributes);
        let decision = snapshot.assign(ID, &subject);
        assert_eq!(snapshot.explain(ID, &subject).decision(), decision);
        let all = snapshot.assign_all(&subject, &mut scratch);
        let all: BTreeSet<_> = all.filter_map(|own| own.experiment_id().cloned()).collect();
        assert_eq!(all.contains(ID), model.status == Status::Active);
        let served = decision.variation_id().map(place);
        let found = (decision.reason().as_str(), served);
        let run = model.run.as_ref();
        match (model.status, run.and_then(|run| Some((run, run.winner.as_ref()?)))) {
            (Status::Active, _) => {
                let run = run.unwrap();
                let arm = served.filter(|_| decision.in_experiment());
                assert!(arm.is_none_or(|arm| run.design.weights[arm].is_some_and(|own| own > 0)));
                assert!(decision.in_experiment() || served == run.design.outside || id.is_empty());
                assert_ne!(found.0, "shipped");
            }
            (Status::Completed, Some((run, (winner, _, true)))) => {
                let witness = snapshot.assign("exp_witness", &Subject::new(&id));
                let grouped = model.share.is_some();
                let german = attributes[0].1 == "DE";
                let expected = match witness.reason().as_str() {
                    "missing_subject_id" if grouped => ("missing_subject_id", None),
                    "held_out" if grouped => ("held_out", run.design.outside),
                    _ if run.design.audience && !german => ("not_targeted", run.design.outside),
                    _ => ("shipped", Some(*winner)),
                };
                assert_eq!(found, expected, "{}", snapshot.explain(ID, &subject));
                assert!(!decision.in_experiment() && decision.assignment().is_none());
                let frozen = snapshot.experiment(ID).unwrap().iteration().flag().unwrap();
                let config =
                    served.map(|own| frozen.variations().get(VARIATIONS[own]).unwrap().config());
                assert_eq!(decision.config(), config);
            }
            (status, _) => assert_eq!(found, (status.as_str(), None)),
        }
        let ids = [&id];
        let countries = [attributes[0].1];
        let batch = Batch::new(&ids).with_attribute("country", &countries);
        let mut outcome = [Outcome::default()];
        plan.assign_batch(&batch, &mut outcome);
        assert_eq!(plan.decision(outcome[0]), decision);
    }
}

/// A run that follows on one with the same salt and kind of subject moves the fewest points that it
/// can, and gives nobody another arm than those who lost some.
#[track_caller]
fn check_moves(before: &Iteration, after: &Iteration) {
    let points = |run: &Iteration| {
        let arms = run.allocations().unwrap().iter().enumerate();
        let cut = run.partition().unwrap();
        let own = arms.map(|(arm, own)| (own.variation_id.clone(), cut.points(arm)));
        own.collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (points(before), points(after));
    let lost = old.iter().map(|(id, own)| own.saturating_sub(*new.get(id).unwrap_or(&0)));
    assert_eq!(before.moved(after), Some(lost.sum()));
    assert_eq!(new.values().sum::<u64>(), Partition::POINTS);
}

fn commit(engine: &Engine, change: impl Into<Transaction>) -> Result<Commit, Error> {
    engine.commit(change)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn a_life_is_as_it_is_told(
        grouped in any::<bool>(),
        asks in prop::collection::vec(ask(), 1..40),
    ) {
        let begun = beginning(grouped);
        let engine = engine(&begun);
        let mut model = Model {
            status: Status::Draft,
            shelved: false,
            design: plain(),
            salt: ID.to_owned(),
            draft: None,
            run: None,
            past: Vec::new(),
            share: grouped.then_some(50),
        };
        let mut events: Vec<Event> = Vec::new();
        let mut salts = BTreeSet::from([ID.to_owned(), "salt one".to_owned()]);
        for ask in asks {
            if matches!(ask, Ask::Share(_)) && !grouped {
                continue;
            }
            let before = engine.snapshot();
            let told = { let mut next = model.clone(); next.tell(&ask).map(|told| (told, next)) };
            let outcome = commit(&engine, change(&ask));
            let after = engine.snapshot();
            let ((differs, draws), mut next) = match (told, outcome.as_ref()) {
                (Ok(told), Ok(_)) => told,
                (Err(code), Err(error)) => {
                    prop_assert_eq!(error.code(), code, "{:?}: {}", ask, error);
                    prop_assert_eq!(&*before, &*after);
                    continue;
                }
                (told, outcome) => panic!("{ask:?} of {model:?}: {told:?}, but {outcome:?}"),
            };
            let event = outcome.unwrap().event;
            prop_assert_eq!(event.is_some(), differs, "{:?}", ask);
            let [old, new] = [&before, &after].map(|own| own.experiment(ID).unwrap());
            if let Some(event) = event {
                if draws {
                    let settled = match &event.changes[0] {
                        Change::Reshuffle { salt, .. } | Change::StartIteration { salt, .. } => salt,
                        other => panic!("{other:?} draws nothing"),
                    };
                    prop_assert_eq!(settled.as_ref(), Some(new.salt()));
                    prop_assert!(salts.insert(new.salt().to_string()), "the salt must be new");
                    next.salt = new.salt().to_string();
                    if let (Ask::Start { .. }, Some(run)) = (&ask, &mut next.run) {
                        run.salt = next.salt.clone();
                    }
                }
                if let Ask::Start { .. } = ask {
                    let effect = &event.effects[0];
                    prop_assert_eq!(effect.effect, EffectKind::Transitioned);
                    prop_assert_eq!(effect.from.as_deref(), Some(model.status.as_str()));
                    prop_assert_eq!(effect.to.as_deref(), Some("active"));
                    prop_assert!(effect.froze);
                }
                events.push(Event::clone(&event));
            }
            if let (Some(run), Some(then)) = (&model.run, &next.run)
                && run.salt == then.salt
                && run.design.kind == then.design.kind
            {
                check_moves(old.iteration(), new.iteration());
            }
            let known = old.previous_iterations();
            prop_assert_eq!(&new.previous_iterations()[..known.len()], known, "the past stays");
            model = next;
            check_state(new, &model);
            check_served(&after, &model);
            let document = after.to_json();
            let read = Snapshot::from_json(&document).unwrap();
            prop_assert_eq!(&read, &*after);
            prop_assert_eq!(read.to_json(), document);
        }
        let through_json = events.iter().map(|event| {
            Event::from_json(serde_json::to_string(event).unwrap()).unwrap()
        });
        prop_assert_eq!(&begun.replay(through_json).unwrap(), &*engine.snapshot());
    }

    /// With the same design and salt, a new iteration moves nobody, whatever weights led there.
    #[test]
    fn the_same_design_moves_nobody(first in 0..=100_u32, second in 0..=100_u32, halted in any::<bool>()) {
        let weigh = |first: u32| {
            [share("var_a", &first.to_string()).control(), share("var_b", &(100 - first).to_string())]
        };
        let running = brought_to(&world(), ID, Status::Active);
        let mut snapshot = running;
        for own in [first, second] {
            let patch = DraftPatch::new().allocations(weigh(own));
            let change = [Change::draft_iteration(&p(ID), patch), Change::start_iteration(&p(ID))];
            snapshot = ok(&snapshot, change.to_vec());
        }
        let again = match halted {
            true => brought_on(&snapshot, Status::Paused),
            false => snapshot.clone(),
        };
        let again = ok(&again, Change::start_iteration(&p(ID)));
        let preview: Preview<'_> = snapshot.preview(&again);
        let moves = preview.shares(ID, at(0)).unwrap();
        prop_assert!(moves.moved() == 0.0, "{}", moves);
        prop_assert_eq!(preview.experiments(), Vec::<&variate::ExperimentId>::new());
        prop_assert_eq!(again.experiment(ID).unwrap().iteration().number(), 4);
    }
}

/// The experiment in another status.
#[track_caller]
fn brought_on(snapshot: &Snapshot, status: Status) -> Snapshot {
    ok(snapshot, Change::set_experiment_status(&p(ID), status))
}

/// The exact shares of a preview are those that are counted.
#[test]
fn a_preview_of_what_is_shipped() {
    let active = brought_to(&beginning(true), ID, Status::Active);
    let stop = Change::stop_iteration(&p(ID)).with_winner(&p("var_b")).shipping();
    let shipped = ok(&active, stop);
    let preview = active.preview(&shipped);
    let shares = preview.shares(ID, at(0)).unwrap();
    // 30 % are held out, half of the others were in the layer's slots, half of those in each arm.
    let mut found: Vec<_> = Vec::new();
    for row in shares.rows() {
        assert!(!row.to.in_experiment);
        found.push(format!("{} to {}: {:.4}", row.from, row.to, row.share));
    }
    assert_eq!(
        found,
        [
            "var_a to var_b (outside): 0.1750",
            "var_b to var_b (outside): 0.1750",
            "nothing to var_b (outside): 0.3500",
            "nothing to nothing: 0.3000",
        ]
    );
    let ids: Vec<String> = (0..4_000).map(|number| format!("device-{number}")).collect();
    let counts = preview.counts(ID, ids.iter().map(|id| Subject::new(id)));
    assert_eq!(counts.rows().len(), shares.rows().len());
    for (counted, exact) in counts.rows().iter().zip(shares.rows()) {
        assert_eq!((&counted.from, &counted.to), (&exact.from, &exact.to));
        assert!((counted.share - exact.share).abs() < 0.03, "{counts}");
    }
}

#[test]
fn what_a_subject_brings_goes_before_what_is_shipped_only_by_force() {
    let active = brought_to(&world(), ID, Status::Active);
    let stop = Change::stop_iteration(&p(ID)).with_winner(&p("var_b")).shipping();
    let shipped = ok(&active, stop);
    let subject = Subject::new("device-1").forced(ID, "var_a");
    let decision = shipped.assign(ID, &subject);
    assert_eq!(
        (decision.reason().as_str(), decision.variation_id()),
        ("forced", Some(&p("var_a")))
    );
    let subject = Subject::new("device-1").kept(ID, "var_a");
    let explanation = shipped.explain(ID, &subject);
    assert_eq!(
        explanation.to_string(),
        "exp_weights → var_b (shipped)\n  kept      var_a is not kept now, and is passed over\n  \
         status    completed\n  shipped   var_b"
    );
    let archived = brought_on(&shipped, Status::Archived);
    assert_eq!(archived.assign(ID, &Subject::new("device-1")).reason().as_str(), "archived");
}

/// What a draft names is in use, and what past runs rest on cannot be made anew.
#[test]
fn a_draft_uses_what_it_names() {
    let active = brought_to(&world(), ID, Status::Active);
    let patch = DraftPatch::new()
        .allocations([share("var_a", "50").control(), share("var_c", "50")])
        .audience_id(p("seg_ios"))
        .outside_variation_id(p("var_d"));
    let drafted = ok(&active, Change::draft_iteration(&p(ID), patch));
    for id in ["flg_a", "var_a", "var_b", "var_c", "var_d", "seg_ios"] {
        assert!(drafted.used_by(id).any(|user| *user == ID), "{id}");
    }
    let removed = ok(&drafted, Change::delete_experiment(&p("exp_segments")));
    let error = apply(&removed, Change::delete_segment(&p("seg_ios"))).unwrap_err();
    assert_eq!(error.code(), Code::InUse);
    let error = apply(&removed, Change::delete_variation(&p("var_d"))).unwrap_err();
    assert_eq!(error.code(), Code::InUse);
    let discarded = ok(&removed, Change::discard_draft(&p(ID)));
    assert!(!discarded.used_by("var_d").any(|user| *user == ID));
    ok(&discarded, Change::delete_variation(&p("var_d")));

    // A run that is over goes on resting on what it froze.
    let started = ok(&removed, Change::start_iteration(&p(ID)));
    let next = DraftPatch::new().clear_audience_id().clear_outside_variation_id();
    let next = vec![Change::draft_iteration(&p(ID), next), Change::start_iteration(&p(ID))];
    let over = ok(&ok(&started, next), Change::delete_segment(&p("seg_ios")));
    let past = &over.experiment(ID).unwrap().previous_iterations()[1];
    let segments: Vec<_> = past.iteration().segments().map(|own| own.id().as_str()).collect();
    assert_eq!(segments, ["seg_ios"]);
    let anew = variate::NewSegment::new("Another")
        .id(p("seg_ios"))
        .rule(variate::Rule::new().when("x", variate::Expression::one_of(["y"])));
    assert_eq!(apply(&over, anew).unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(Snapshot::from_json(over.to_json()).unwrap(), over);
    assert!(over.to_json().contains("\"revisions\""));
}

/// A refusal says in one sentence what is wrong, and where.
#[test]
fn refusals_say_why() {
    #[track_caller]
    fn check(snapshot: &Snapshot, change: Change, code: Code, message: &str) {
        let error = apply(snapshot, change).unwrap_err();
        assert_eq!((error.code(), &*error.to_string()), (code, message));
    }
    let draft = world();
    let active = brought_to(&draft, ID, Status::Active);
    let completed = brought_to(&draft, ID, Status::Completed);
    let archived = brought_to(&draft, ID, Status::Archived);
    let id = p(ID);
    let nothing = || Change::draft_iteration(&p(ID), DraftPatch::new());
    let stop = || Change::stop_iteration(&p(ID));
    check(
        &draft,
        nothing(),
        Code::NotMutable,
        "draft: must not be opened beside an experiment that is a draft itself, which \
         patch_experiment edits",
    );
    let rule = "draft: never changes once the experiment is archived";
    check(&archived, nothing(), Code::NotMutable, rule);
    check(
        &active,
        Change::draft_iteration(&id, DraftPatch::new().audience_id(p("seg_nobody"))),
        Code::UnknownReference,
        "patch.audience_id: must be the id of a segment that exists; got \"seg_nobody\"",
    );
    check(
        &completed,
        Change::set_experiment_status(&id, Status::Active),
        Code::TransitionNotAllowed,
        "status: must be what completed leads to: archived; a new iteration, start_iteration, \
         leads on to active; got \"active\"",
    );
    check(
        &archived,
        Change::start_iteration(&id),
        Code::TransitionNotAllowed,
        "status: is final: an experiment that is archived becomes nothing else; got \"active\"",
    );
    check(
        &active,
        stop().with_winner(&p("var_c")),
        Code::UnknownReference,
        "winner: must be the variation of an arm of the iteration; got \"var_c\"",
    );
    check(&active, stop().shipping(), Code::InvalidValue, "winner: must be given to be shipped");
    check(
        &active,
        stop().because("it sells"),
        Code::InvalidValue,
        "winner: must be given beside a reason",
    );
    let error = apply(&active, stop().with_winner(&p("var_b")).because("x".repeat(2_049)));
    assert_eq!(error.unwrap_err().path(), "reason");
    ok(&active, stop().with_winner(&p("var_b")).because("é".repeat(2_048)));
    check(
        &draft,
        stop(),
        Code::TransitionNotAllowed,
        "status: must be what draft leads to: active or archived; got \"completed\"",
    );
    check(
        &active,
        Change::shelve(&id),
        Code::NotMutable,
        "shelved: changes only while the experiment is draft or completed, not active",
    );
    for shelved in [ok(&draft, Change::shelve(&id)), ok(&completed, Change::shelve(&id))] {
        check(
            &shelved,
            Change::start_iteration(&id),
            Code::TransitionNotAllowed,
            "status: must not be active while the experiment is shelved; got \"active\"",
        );
        ok(&shelved, vec![Change::unshelve(&id), Change::start_iteration(&id)]);
    }
    let fixed =
        ok(&draft, Change::patch_experiment(&id, ExperimentPatch::new().can_reshuffle(false)));
    let fixed = brought_to(&fixed, ID, Status::Active);
    check(
        &fixed,
        Change::start_iteration(&id).reshuffled(),
        Code::NotMutable,
        "salt: must stay the same, since can_reshuffle is false",
    );
}

/// A ramp begins each iteration at its first level.
#[test]
fn a_ramp_begins_anew() {
    let levels: Vec<Percentage> = [10, 40, 80].map(percent).into();
    let ramp = ExperimentPatch::new().levels(levels.clone());
    let ramp = ok(&world(), Change::patch_experiment(&p(ID), ramp));
    let ramp = brought_to(&ramp, ID, Status::Active);
    let ramp = ok(&ramp, Change::advance_ramp(&p(ID), levels[1]));
    let traffic = Change::draft_iteration(&p(ID), DraftPatch::new().traffic(levels[2]));
    let error = apply(&ramp, traffic).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::NotMutable, "patch.traffic"));
    for drafts in [false, true] {
        let mut ramp = ramp.clone();
        if drafts {
            ramp = ok(&ramp, Change::draft_iteration(&p(ID), DraftPatch::new().traffic(levels[0])));
        }
        let next = ok(&ramp, Change::start_iteration(&p(ID)));
        let experiment = next.experiment(ID).unwrap();
        assert_eq!(experiment.current_level(), Some(levels[0]));
        assert_eq!(experiment.previous_iterations()[0].traffic(), levels[1]);
        assert_eq!(Snapshot::from_json(next.to_json()).unwrap(), next);
        let next = ok(&next, Change::advance_ramp(&p(ID), levels[1]));
        assert_eq!(next.experiment(ID).unwrap().current_level(), Some(levels[1]));
    }
}

/// A draft says what keeps it from starting, and the run that there is goes on.
#[test]
fn a_draft_is_as_ready_as_its_start() {
    let active = brought_to(&world(), ID, Status::Active);
    assert_eq!(active.draft_readiness(ID), None);
    let patch = DraftPatch::new().allocations([share("var_a", "50").control()]);
    let drafted = ok(&active, Change::draft_iteration(&p(ID), patch));
    assert!(drafted.readiness(ID).unwrap().is_ready());
    let readiness = drafted.draft_readiness(ID).unwrap();
    let error = apply(&drafted, Change::start_iteration(&p(ID))).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::NotReady, "status"));
    assert_eq!(error.violations(), readiness.violations());
    assert_eq!(active.plan(ID), drafted.plan(ID), "a draft influences nobody");
    let whole = DraftPatch::new().allocations([share("var_a", "100").control()]);
    let ready = ok(&drafted, Change::draft_iteration(&p(ID), whole));
    assert!(ready.draft_readiness(ID).unwrap().is_ready());
    ok(&ready, Change::start_iteration(&p(ID)));
}

/// There is an end to how many iterations one experiment has.
#[test]
fn previous_iterations_are_bounded() {
    let mut snapshot = brought_to(&world(), ID, Status::Active);
    let start = Change::start_iteration(&p(ID));
    snapshot = ok(&snapshot, vec![start.clone(); 1_000]);
    assert_eq!(snapshot.experiment(ID).unwrap().previous_iterations().len(), 1_000);
    let error = apply(&snapshot, start).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::LimitExceeded, "previous_iterations"));
    assert_eq!(Snapshot::from_json(snapshot.to_json()).unwrap(), snapshot);
    let mut document: Value = snapshot.to_json().parse().unwrap();
    let experiments = document["experiments"].as_array_mut().unwrap();
    let own = experiments.iter_mut().find(|own| own["id"] == ID).unwrap();
    let previous = own["previous_iterations"].as_array_mut().unwrap();
    let mut last = previous[999].clone();
    last["iteration"]["number"] = json!(1_001);
    previous.push(last);
    own["iteration"]["number"] = json!(1_002);
    let error = Snapshot::from_json(document.to_string()).unwrap_err();
    assert_eq!(error.code(), Code::LimitExceeded, "{error}");

    let mut document: Value = brought_to(&world(), ID, Status::Active).to_json().parse().unwrap();
    let experiments = document["experiments"].as_array_mut().unwrap();
    let own = experiments.iter_mut().find(|own| own["id"] == ID).unwrap();
    own["iteration"]["number"] = json!(u32::MAX);
    let last = Snapshot::from_json(document.to_string()).unwrap();
    let error = apply(&last, Change::start_iteration(&p(ID))).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::LimitExceeded, "iteration.number"));
}

/// A document says about iterations only what can be.
#[test]
fn a_document_is_read_strictly() {
    let active = brought_to(&world(), ID, Status::Active);
    let stop = Change::stop_iteration(&p(ID)).with_winner(&p("var_b")).because("it sells");
    let stopped = ok(&ok(&active, Change::start_iteration(&p(ID))), stop);
    let draft = Change::draft_iteration(&p(ID), DraftPatch::new().traffic(percent(20)));
    let whole: Value = ok(&stopped, draft).to_json().parse().unwrap();
    let check = |edit: &dyn Fn(&mut Value), path: &str| {
        let mut document = whole.clone();
        let experiments = document["experiments"].as_array_mut().unwrap();
        let index = experiments.iter().position(|own| own["id"] == ID).unwrap();
        edit(&mut experiments[index]);
        let error = Snapshot::from_json(document.to_string()).unwrap_err();
        let path = if path.is_empty() { String::new() } else { format!(".{path}") };
        assert_eq!(error.path(), format!("experiments[{index}]{path}"), "{error}");
    };
    assert!(Snapshot::from_json(whole.to_string()).is_ok());
    let past = "previous_iterations[0].iteration";
    let set = |path: &'static [&'static str], value: Value| {
        move |own: &mut Value| {
            let slot = path.iter().fold(own, |own, key| match key.parse::<usize>() {
                Ok(index) => &mut own[index],
                Err(_) => &mut own[*key],
            });
            *slot = value.clone();
        }
    };
    check(
        &set(&["previous_iterations", "0", "iteration", "number"], json!(2)),
        &format!("{past}.number"),
    );
    check(
        &set(&["previous_iterations", "0", "iteration", "flag_version"], json!(99)),
        &format!("{past}.flag_version"),
    );
    let no_end = |own: &mut Value| {
        let run = &mut own["previous_iterations"][0]["iteration"];
        run.as_object_mut().unwrap().remove("ended_at");
    };
    check(&no_end, &format!("{past}.ended_at"));
    check(&set(&["previous_iterations", "0", "x"], json!(1)), "previous_iterations[0].x");
    check(
        &set(&["iteration", "winner", "variation_id"], json!("var_c")),
        "iteration.winner.variation_id",
    );
    check(
        &set(&["iteration", "winner", "reason"], json!("x".repeat(2_049))),
        "iteration.winner.reason",
    );
    let layer = |share: u32, others: u32| json!({"layer_id": "lay_a", "name": "A layer", "share": share, "others": others});
    check(&set(&["iteration", "layer"], layer(60, 41)), "iteration.layer.others");
    check(&set(&["draft", "audience_id"], json!("seg_nobody")), "draft.audience_id");
    check(&set(&["draft", "traffic"], json!(101)), "draft.traffic");
    check(&set(&["draft", "x"], json!(1)), "draft.x");
    let unfrozen = |own: &mut Value| {
        own["iteration"] = json!({"number": 2, "winner": {"variation_id": "var_b"}});
    };
    check(&unfrozen, "iteration.winner");
    let running = |own: &mut Value| {
        own["status"] = json!("paused");
        own["iteration"].as_object_mut().unwrap().retain(|key, _| key != "ended_at");
    };
    check(&running, "iteration.winner");
    let shelved = |own: &mut Value| {
        own["status"] = json!("paused");
        own["shelved_at"] = json!("2026-11-20T09:00:00.000Z");
    };
    check(&shelved, "shelved_at");
    check(&set(&["status"], json!("draft")), "draft");
    let draft = |own: &mut Value| {
        own["status"] = json!("draft");
        own.as_object_mut().unwrap().remove("draft");
    };
    check(&draft, "previous_iterations");
}

/// A change says in JSON what it is, and what it leaves out is the default.
#[test]
fn changes_in_json() {
    #[track_caller]
    fn check(change: &Change, json: &Value) {
        assert_eq!(serde_json::to_value(change).unwrap(), *json);
        assert_eq!(Change::from_json(json.to_string()).unwrap(), *change);
    }
    let id = p(ID);
    let patch = DraftPatch::new().traffic(percent(50)).clear_audience_id().can_reshuffle(false);
    check(
        &Change::draft_iteration(&id, patch).if_version(3),
        &json!({"change": "draft_iteration", "id": ID, "if_version": 3,
            "patch": {"traffic": 50, "audience_id": null, "can_reshuffle": false}}),
    );
    check(
        &Change::discard_draft(&id).if_version(3),
        &json!({"change": "discard_draft", "id": ID, "if_version": 3}),
    );
    check(&Change::start_iteration(&id), &json!({"change": "start_iteration", "id": ID}));
    let salt: Salt = p("one");
    check(
        &Change::StartIteration {
            id: id.clone(),
            if_version: Some(1),
            reshuffle: true,
            salt: Some(salt),
            carryover: Carryover::default(),
        },
        &json!({"change": "start_iteration", "id": ID, "if_version": 1, "reshuffle": true, "salt": "one"}),
    );
    check(
        &Change::stop_iteration(&id).with_winner(&p("var_b")).because("it sells").shipping(),
        &json!({"change": "stop_iteration", "id": ID, "winner": "var_b", "reason": "it sells", "ship": true}),
    );
    check(&Change::stop_iteration(&id), &json!({"change": "stop_iteration", "id": ID}));
    check(
        &Change::unshelve(&id),
        &json!({"change": "shelve_experiment", "id": ID, "shelved": false}),
    );
    let error = Change::from_json(json!({"change": "shelve_experiment", "id": ID}).to_string());
    assert_eq!(error.unwrap_err().path(), "shelved");
    // Helpers that are about another change leave it as it is.
    let other = Change::discard_draft(&id);
    let same = other.clone().reshuffled().with_winner(&p("var_b")).because("x").shipping();
    assert_eq!(same, other);
}
