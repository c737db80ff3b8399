//! Chains: a subject is in at most one member, by force, by what it keeps, or by the first draw that
//! lets it in, in order of start; and each edit moves those whom it must.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use crate::common::{apply, ok, p, share, world};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseError;
use std::sync::Arc;
use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{
    Batch, Change, Event, ExperimentPatch, FlagPatch, HoldoutPatch, Keep, LayerPatch,
    NewExperiment, NewHoldout, NewLayer, Outcome, Percentage, Reason, Scratch, Snapshot, Status,
    Step, Subject,
};

/// An experiment of `var_a` and `var_b`, with `var_d` outside; by its id it is drawn.
#[derive(Debug, Clone)]
struct Spec {
    id: String,
    chain: Option<&'static str>,
    /// In millionths of a percent.
    traffic: u64,
    /// The weight of `var_a` in percent.
    weight: u64,
    kind: &'static str,
    germans: bool,
    keep: Keep,
    status: Status,
    /// In which transaction it starts, if it does.
    start: usize,
    created: u16,
}

/// Who is asked for: a user on a device, here or there, with what it brings.
#[derive(Debug, Clone)]
struct Asker {
    user: Option<String>,
    device: String,
    german: bool,
    /// The experiment, the variation, and whether it is forced.
    brings: Vec<(String, &'static str, bool)>,
}

impl Asker {
    fn id(&self, kind: &str) -> Option<&str> {
        if kind == "user" { self.user.as_deref() } else { Some(&self.device) }
    }

    fn subject<'a>(&'a self, attributes: &'a [(&'a str, &'a str); 1]) -> Subject<'a> {
        let bare = Subject::new(&self.device).with_attributes(attributes);
        let bare = self.user.iter().fold(bare, |subject, id| subject.with_id("user", id));
        self.brings.iter().fold(bare, |subject, (id, variation, forced)| match forced {
            true => subject.forced(id, variation),
            false => subject.kept(id, variation),
        })
    }

    fn attributes(&self) -> [(&'static str, &'static str); 1] {
        [("country", if self.german { "DE" } else { "FR" })]
    }
}

type Answer = (&'static str, Option<&'static str>);

/// What an experiment would give if there were no chain, by the formula of the docs.
fn alone(spec: &Spec, asker: &Asker) -> Answer {
    let brought = |by_force| {
        let mut own = asker.brings.iter().filter(|own| (&own.0, own.2) == (&spec.id, by_force));
        own.find(|own| own.1 != "var_d").map(|own| own.1)
    };
    if let Some(variation) = brought(true) {
        return ("forced", Some(variation));
    }
    let (active, paused) = (spec.status == Status::Active, spec.status == Status::Paused);
    let keeps = spec.keep == Keep::Always && active || spec.keep != Keep::Never && paused;
    match (brought(false).filter(|_| keeps), asker.id(spec.kind)) {
        (Some(variation), _) => ("kept", Some(variation)),
        _ if !active => (spec.status.as_str(), None),
        (_, None) => ("missing_subject_id", None),
        _ if spec.germans && !asker.german => ("not_targeted", Some("var_d")),
        (_, Some(id)) => {
            let drawn = |draw| u64::from(point(subject_hash(id), draw_seed(&spec.id, draw)));
            let end = |millionths: u64| (u128::from(millionths) << 32) / 100_000_000;
            if u128::from(drawn(Draw::Traffic)) >= end(spec.traffic) {
                return ("not_sampled", Some("var_d"));
            }
            let first = u128::from(drawn(Draw::Variation)) < end(spec.weight * 1_000_000);
            ("split", Some(if first { "var_a" } else { "var_b" }))
        }
    }
}

/// The members of a chain in order; those of one transaction as they stand there.
fn members<'s>(specs: &'s [Spec], chain: &str) -> Vec<&'s Spec> {
    let runs = |spec: &&Spec| matches!(spec.status, Status::Active | Status::Paused);
    let mut own: Vec<_> =
        specs.iter().filter(runs).filter(|own| own.chain == Some(chain)).collect();
    own.sort_by_key(|spec| spec.start);
    own
}

/// The member that has the subject.
fn holder<'s>(members: &[&'s Spec], asker: &Asker) -> Option<&'s Spec> {
    let first = |reason| members.iter().copied().find(|own| alone(own, asker).0 == reason);
    first("forced").or_else(|| first("kept")).or_else(|| first("split"))
}

fn wanted(specs: &[Spec], spec: &Spec, asker: &Asker) -> Answer {
    let answer = alone(spec, asker);
    let others = spec.chain.map(|chain| members(specs, chain)).unwrap_or_default();
    let member = others.iter().any(|other| other.id == spec.id);
    let elsewhere = before_its_turn(&others, spec, asker).is_some();
    match answer.0 {
        _ if !member || !elsewhere => answer,
        "kept" if spec.status == Status::Paused => ("paused", None),
        "kept" | "split" | "not_targeted" | "not_sampled" => ("elsewhere", Some("var_d")),
        _ => answer,
    }
}

/// The other member that has the subject, unless this one has missed it before.
fn before_its_turn<'s>(members: &[&'s Spec], spec: &Spec, asker: &Asker) -> Option<&'s Spec> {
    let place = |own: &Spec| members.iter().position(|other| other.id == own.id);
    let other = holder(members, asker).filter(|other| other.id != spec.id);
    other.filter(|other| alone(other, asker).0 != "split" || place(other) < place(spec))
}

fn set(id: &str, status: Status) -> Change {
    Change::set_experiment_status(&p(id), status)
}

/// Creates these in one order and starts them in another.
fn built(specs: &[Spec]) -> Snapshot {
    let mut drafts: Vec<&Spec> = specs.iter().collect();
    drafts.sort_by_key(|spec| (spec.created, &spec.id));
    let create = |spec: &&Spec| {
        let rest = 100 - spec.weight;
        let new = NewExperiment::by_percentage(format!("Number {}", spec.id), p("flg_a"))
            .id(p(&spec.id))
            .allocation(share("var_a", &spec.weight.to_string()).control())
            .allocation(share("var_b", &rest.to_string()))
            .traffic(Percentage::from_millionths(spec.traffic).unwrap())
            .subject_kind(spec.kind)
            .keep(spec.keep)
            .outside_variation_id(p("var_d"));
        let new = if spec.germans { new.audience(p("seg_germany")) } else { new };
        Change::from(spec.chain.into_iter().fold(new, NewExperiment::chain))
    };
    let mut snapshot = drafts.iter().fold(world(), |snapshot, spec| ok(&snapshot, create(spec)));
    for start in 0..8 {
        let starting = specs.iter().filter(|spec| spec.start == start);
        let starting = starting.filter(|spec| spec.status != Status::Draft);
        let starting: Vec<_> = starting.map(|spec| set(&spec.id, Status::Active)).collect();
        snapshot = ok(&snapshot, starting);
    }
    let rest = specs.iter().filter(|own| matches!(own.status, Status::Paused | Status::Completed));
    ok(&snapshot, rest.map(|spec| set(&spec.id, spec.status)).collect::<Vec<_>>())
}

/// Everything that can be asked of these experiments, against the naive oracle.
fn check(snapshot: &Snapshot, specs: &[Spec], asker: &Asker) -> Result<(), TestCaseError> {
    let attributes = asker.attributes();
    let subject = asker.subject(&attributes);
    let mut scratch = Scratch::new();
    let all: Vec<_> = snapshot.assign_all(&subject, &mut scratch).collect();
    for spec in specs {
        let wanted = wanted(specs, spec, asker);
        let decision = snapshot.assign(&spec.id, &subject);
        let answer = (decision.reason().as_str(), decision.variation_id().map(AsRef::as_ref));
        prop_assert_eq!(answer, wanted, "{} of {:?}", spec.id, asker);
        let explanation = snapshot.explain(&spec.id, &subject);
        prop_assert_eq!(explanation.decision(), decision);
        let last = explanation.steps().last().unwrap();
        let lost = matches!(last, Step::Chain { owner: Some(_), .. });
        prop_assert_eq!(lost, wanted.0 == "elsewhere" || lost && wanted.0 == "paused");
        for step in explanation.steps() {
            let Step::Chain { chain, owner } = step else { continue };
            prop_assert_eq!(Some(&**chain), spec.chain);
            let has_it = before_its_turn(&members(specs, chain), spec, asker);
            prop_assert_eq!(owner.as_ref().map(AsRef::as_ref), has_it.map(|other| &*other.id));
        }
        if spec.status == Status::Active {
            let own =
                |other: &&variate::Decision<'_>| other.experiment_id() == decision.experiment_id();
            prop_assert_eq!(all.iter().find(own), Some(&decision));
        }
        if let Some(id) = asker.id(spec.kind).filter(|_| asker.brings.is_empty()) {
            let plan = snapshot.plan(&spec.id).unwrap();
            let (ids, countries) = ([id], [attributes[0].1]);
            let batch = Batch::new(&ids).with_attribute("country", &countries);
            let mut outcomes = [Outcome::default()];
            plan.assign_batch(&batch, &mut outcomes);
            let row = Subject::of(spec.kind, id).with_attributes(&attributes);
            prop_assert_eq!(plan.decision(outcomes[0]), snapshot.assign(&spec.id, &row));
        }
    }
    for name in ["paywall", ""] {
        let (chain, members) = (snapshot.chain(name), members(specs, name));
        let order: Vec<_> = chain.experiments().map(|own| own.id().as_str()).collect();
        prop_assert_eq!(&order, &members.iter().map(|own| &*own.id).collect::<Vec<_>>());
        let decision = chain.assign(&subject);
        match holder(&members, asker) {
            Some(spec) => prop_assert_eq!(decision, snapshot.assign(&spec.id, &subject)),
            None => {
                let empty = members.is_empty();
                let known = members.iter().any(|own| asker.id(own.kind).is_some());
                let reason = match (empty, known) {
                    (true, _) => Reason::NotFound,
                    (false, true) => Reason::NotSampled,
                    (false, false) => Reason::MissingSubjectId,
                };
                prop_assert_eq!(decision.reason(), reason);
                prop_assert_eq!((decision.experiment_id(), decision.config()), (None, None));
                prop_assert_eq!(chain.name().is_none(), empty);
            }
        }
        let explained = chain.explain(&subject).map(|own| own.decision());
        let each: Vec<_> = order.iter().map(|id| snapshot.assign(id, &subject)).collect();
        prop_assert_eq!(explained.collect::<Vec<_>>(), each.clone());
        let inside: Vec<_> = each.into_iter().filter(variate::Decision::in_experiment).collect();
        prop_assert!(inside.len() <= 1 && inside.iter().all(|own| *own == decision));
    }
    Ok(())
}

fn id(number: usize) -> String {
    format!("exp_m{}", number + 1)
}

fn any_specs() -> impl Strategy<Value = Vec<Spec>> {
    let traffic = prop_oneof![
        3 => (0..=100_u64).prop_map(|percent| percent * 1_000_000),
        1 => 0..=100_000_000_u64,
        1 => select(vec![0, 1, 99_999_999, 100_000_000]),
    ];
    let chain = prop_oneof![
        6 => Just(Some("paywall")),
        1 => Just(Some("")),
        1 => Just(None),
    ];
    let status = prop_oneof![
        6 => Just(Status::Active),
        2 => Just(Status::Paused),
        1 => Just(Status::Completed),
        1 => Just(Status::Draft),
    ];
    let kind = prop_oneof![4 => Just("device"), 1 => Just("user")];
    let keep = select(Keep::ALL.to_vec());
    let germans = prop::bool::weighted(0.2);
    let one = (chain, traffic, 0..=100_u64, kind, germans, keep, status, 0..8_usize, any::<u16>());
    prop::collection::vec(one, 1..=8).prop_map(|all| {
        let spec = |(number, own)| {
            let (chain, traffic, weight, kind, germans, keep, status, start, created) = own;
            let id = id(number);
            Spec { id, chain, traffic, weight, kind, germans, keep, status, start, created }
        };
        all.into_iter().enumerate().map(spec).collect()
    })
}

fn any_asker() -> impl Strategy<Value = Asker> {
    let brought = (0..8_usize, select(vec!["var_a", "var_b", "var_d"]), prop::bool::weighted(0.2));
    let brought = brought.prop_map(|(number, variation, forced)| (id(number), variation, forced));
    let brings = prop_oneof![
        1 => Just(Vec::new()),
        1 => prop::collection::vec(brought, 1..=4),
    ];
    (prop::option::of("u-[0-9]{1,4}"), "d-[0-9]{1,5}", any::<bool>(), brings)
        .prop_map(|(user, device, german, brings)| Asker { user, device, german, brings })
}

proptest! {
    #[test]
    fn a_chain_equals_its_description(
        specs in any_specs(),
        askers in prop::collection::vec(any_asker(), 1..=24),
    ) {
        let snapshot = built(&specs);
        let restored = Snapshot::from_json(snapshot.to_json()).unwrap();
        prop_assert!(restored == snapshot && restored.to_json() == snapshot.to_json());
        let mut named: Vec<_> = snapshot.chains().map(AsRef::as_ref).collect();
        named.sort_unstable();
        let mut filled = vec!["", "paywall"];
        filled.retain(|name| !members(&specs, name).is_empty());
        prop_assert_eq!(named, filled);
        for asker in &askers {
            check(&snapshot, &specs, asker)?;
            check(&restored, &specs, asker)?;
        }
    }

    /// Raising the traffic of one moves subjects into it alone; ending one lets its subjects fall
    /// through and moves nobody else; pausing it does the same to all but those who bring what they
    /// have.
    #[test]
    fn an_edit_moves_whom_it_must(
        mut specs in any_specs(),
        which in any::<Index>(),
        more in 0..=100_000_000_u64,
    ) {
        for spec in &mut specs {
            (spec.chain, spec.status) = (Some("paywall"), Status::Active);
            (spec.kind, spec.keep) = ("device", Keep::WhilePaused);
        }
        let spec = which.get(&specs).clone();
        let before = built(&specs);
        let order: Vec<_> = members(&specs, "paywall").iter().map(|own| own.id.clone()).collect();
        let place = |id: Option<&str>| {
            id.map_or(order.len(), |id| order.iter().position(|own| own == id).unwrap())
        };
        let traffic = Percentage::from_millionths(spec.traffic.max(more)).unwrap();
        let patch = ExperimentPatch::new().traffic(traffic);
        let raised = ok(&before, Change::patch_experiment(&p(&spec.id), patch));
        let ended = ok(&before, set(&spec.id, Status::Completed));
        let paused = ok(&before, set(&spec.id, Status::Paused));
        let germany = [("country", "DE")];
        for number in 0..60 {
            let id = format!("device-{number}");
            let subject = Subject::new(&id).with_attributes(&germany);
            let had = before.chain("paywall").assign(&subject);
            let old = had.experiment_id().map(AsRef::as_ref);
            let has = |snapshot: &Snapshot, subject: &Subject<'_>| {
                let decision = snapshot.chain("paywall").assign(subject);
                let variation = decision.variation_id().map(ToString::to_string);
                (decision.experiment_id().map(ToString::to_string), variation)
            };
            let same = has(&before, &subject);
            let now = has(&raised, &subject);
            prop_assert!(now == same || now.0.as_deref() == Some(&*spec.id) && old != Some(&*spec.id));
            let now = has(&ended, &subject);
            if old == Some(&*spec.id) {
                prop_assert!(place(now.0.as_deref()) > place(old), "falls through to a later one");
            } else {
                prop_assert_eq!(&now, &same);
            }
            prop_assert_eq!(&has(&paused, &subject), &now, "who brings nothing");
            let Some(variation) = had.variation_id() else { continue };
            let back = subject.clone().kept(old.unwrap(), variation.as_str());
            prop_assert_eq!(&has(&paused, &back), &same, "who brings what it has");
            // And resuming, with its old place, is as if nothing had been.
            let resumed = ok(&paused, set(&spec.id, Status::Active));
            prop_assert_eq!(&has(&resumed, &subject), &same);
        }
    }

    /// However a chain has become what it is, it is what its document says.
    #[test]
    fn every_edit_reaches_every_member(
        specs in any_specs(),
        edits in prop::collection::vec((0..12_u8, any::<Index>(), 0..=100_u64), 1..12),
        askers in prop::collection::vec(any_asker(), 6),
    ) {
        let layer = NewLayer::new("Layer", "device").id(p("lay_a"));
        let half = Percentage::from_millionths(50_000_000).unwrap();
        let holdout = NewHoldout::new("Holdout", "device", half).id(p("hld_a"));
        let start = ok(&built(&specs), vec![layer.into(), Change::from(holdout)]);
        let mut snapshot = start.clone();
        let mut events: Vec<Event> = Vec::new();
        for (kind, which, percent) in edits {
            let own = p(&which.get(&specs).id);
            let percent = Percentage::from_millionths(percent * 1_000_000).unwrap();
            let patch = |patch| Change::patch_experiment(&own, patch);
            let change = match kind {
                0 => patch(ExperimentPatch::new().traffic(percent)),
                1 => patch(ExperimentPatch::new().chain("")),
                2 => patch(ExperimentPatch::new().chain("paywall")),
                3 => patch(ExperimentPatch::new().clear_chain()),
                4 => patch(ExperimentPatch::new().keep(Keep::Always)),
                5 => Change::set_experiment_status(&own, Status::Active),
                6 => Change::set_experiment_status(&own, Status::Paused),
                7 => Change::set_experiment_status(&own, Status::Completed),
                8 => Change::delete_experiment(&own),
                9 => {
                    let on = snapshot.flag("flg_a").unwrap().is_on();
                    Change::patch_flag(&p("flg_a"), FlagPatch::new().on(!on))
                }
                10 => Change::patch_layer(&p("lay_a"), LayerPatch::new().member(own, percent)),
                _ => Change::patch_holdout(&p("hld_a"), HoldoutPatch::new().join([own].into())),
            };
            // Not every edit is allowed at any time.
            let Ok(commit) = apply(&snapshot, change) else { continue };
            events.extend(commit.event.as_deref().cloned());
            snapshot = Snapshot::clone(&commit.snapshot);
            let restored = Snapshot::from_json(snapshot.to_json()).unwrap();
            prop_assert!(restored == snapshot);
            for asker in &askers {
                let attributes = asker.attributes();
                let subject = asker.subject(&attributes);
                for spec in &specs {
                    let both = [&snapshot, &restored].map(|own| own.assign(&spec.id, &subject));
                    prop_assert_eq!(both[0], both[1]);
                    let trials = [&snapshot, &restored].map(|own| own.trial_plan(&spec.id));
                    prop_assert_eq!(&trials[0], &trials[1]);
                    if let Some(plan) = trials.iter().flatten().next()
                        && snapshot.experiment(&spec.id).unwrap().status() == Status::Active
                        && snapshot.flag("flg_a").unwrap().is_on()
                    {
                        prop_assert_eq!(plan.assign(&subject), both[0]);
                    }
                }
                for name in ["paywall", ""] {
                    let ids = |own: &Snapshot| {
                        own.chain(name).experiments().map(|own| own.id().clone()).collect::<Vec<_>>()
                    };
                    prop_assert_eq!(ids(&snapshot), ids(&restored));
                    let inside = ids(&snapshot).into_iter();
                    let inside = inside.filter(|id| snapshot.assign(id, &subject).in_experiment());
                    prop_assert!(inside.count() <= 1);
                }
            }
        }
        let replayed = start.replay(&events).unwrap();
        prop_assert!(replayed == snapshot && replayed.to_json() == snapshot.to_json());
    }
}

/// Behind one with 70 % traffic, one with 30 % has 9 % of all.
#[test]
fn draws_of_a_chain_are_independent() {
    const SUBJECTS: u32 = 200_000;
    let spec = |number, percent: u64| Spec {
        id: id(number),
        chain: Some("paywall"),
        traffic: percent * 1_000_000,
        weight: 50,
        kind: "device",
        germans: false,
        keep: Keep::WhilePaused,
        status: Status::Active,
        start: number,
        created: 0,
    };
    let specs = [spec(0, 70), spec(1, 30)];
    let snapshot = built(&specs);
    let mut counts = [0_u32; 3];
    for number in 0..SUBJECTS {
        let device = format!("device-{number}");
        let drawn = |spec: &Spec| point(subject_hash(&device), draw_seed(&spec.id, Draw::Traffic));
        let [first, second] = specs.each_ref().map(|spec| (u64::from(drawn(spec)), spec.traffic));
        let lies_in = |(point, traffic): (u64, u64)| point < (traffic << 32) / 100_000_000;
        let wanted = match (lies_in(first), lies_in(second)) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        };
        let subject = Subject::new(&device);
        let decision = snapshot.chain("paywall").assign(&subject);
        let place =
            specs.iter().position(|own| decision.experiment_id().is_some_and(|id| *id == *own.id));
        assert_eq!(place.unwrap_or(2), wanted, "{device}");
        for (number, own) in specs.iter().enumerate() {
            assert_eq!(snapshot.assign(&own.id, &subject).in_experiment(), number == wanted);
        }
        counts[wanted] += 1;
    }
    let points = |percent: u64| f64::from(u32::try_from((percent << 32) / 100).unwrap());
    let [first, second] = [70, 30].map(|percent| points(percent) / 2_f64.powi(32));
    let shares = [first, (1.0 - first) * second, (1.0 - first) * (1.0 - second)];
    assert!((shares[1] - 0.09).abs() < 1e-9);
    for (count, share) in counts.into_iter().zip(shares) {
        let expected = f64::from(SUBJECTS) * share;
        let sigma = (expected * (1.0 - share)).sqrt();
        assert!((f64::from(count) - expected).abs() < 5.0 * sigma, "{count} of {expected}");
    }
}

/// The moment does not tell two apart that start in one millisecond, nor in one transaction.
#[test]
fn the_order_is_that_of_the_start_even_at_one_moment() {
    const IDS: [&str; 4] = ["exp_d", "exp_b", "exp_c", "exp_a"];
    let mut snapshot = Arc::new(world());
    for id in IDS {
        let new = NewExperiment::by_percentage(id, p("flg_a"))
            .id(p(id))
            .chain("c")
            .allocation(share("var_a", "100").control());
        snapshot = apply(&snapshot, new).unwrap().snapshot;
    }
    let moment = snapshot.updated_at();
    let apply_at = |snapshot: &Snapshot, changes: Vec<Change>| {
        snapshot.apply(changes, moment, &mut || 7).unwrap().snapshot
    };
    // Two in one transaction, then one after the other.
    let both = IDS[..2].iter().map(|id| set(id, Status::Active)).collect();
    let mut snapshot = apply_at(&snapshot, both);
    for id in &IDS[2..] {
        snapshot = apply_at(&snapshot, vec![set(id, Status::Active)]);
    }
    let order = |snapshot: &Snapshot| -> Vec<String> {
        snapshot.chain("c").experiments().map(|own| own.id().to_string()).collect()
    };
    assert_eq!(order(&snapshot), IDS);
    let turns: Vec<u32> =
        snapshot.chain("c").experiments().map(|own| own.iteration().turn()).collect();
    assert_eq!(turns, [0, 1, 2, 3]);
    // It outlasts a pause, and saving and loading.
    let paused = apply_at(&snapshot, vec![set("exp_d", Status::Paused)]);
    let resumed = apply_at(&paused, vec![set("exp_d", Status::Active)]);
    assert_eq!(order(&resumed), IDS);
    assert_eq!(order(&Snapshot::from_json(resumed.to_json()).unwrap()), IDS);
    // Also of those that come from another chain.
    let mut moved = resumed.clone();
    for id in ["exp_c", "exp_d"] {
        let patch = ExperimentPatch::new().chain("other");
        moved = apply_at(
            &moved,
            vec![
                set(id, Status::Paused),
                Change::patch_experiment(&p(id), patch),
                set(id, Status::Active),
            ],
        );
    }
    let others: Vec<String> =
        moved.chain("other").experiments().map(|own| own.id().to_string()).collect();
    assert_eq!(others, ["exp_d", "exp_c"]);
    // A new iteration goes last.
    let change = Change::start_iteration(&p("exp_b"));
    let anew = apply_at(&resumed, vec![change]);
    assert_eq!(order(&anew), ["exp_d", "exp_c", "exp_a", "exp_b"]);
}
