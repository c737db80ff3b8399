//! Users who are attached by hand, and members of paused experiments.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::Api;

#[test]
fn attached_until_detached() {
    let api = Api::new();
    // Nobody is included.
    let (path, [control, other]) =
        api.running("a", json!({"context_key": "c", "segment_percent": 0}));
    let user = format!("{path}/users/QON_1");
    assert_eq!(api.ask("c", "QON_1")["in_experiment"], false);
    let answer = api.post(&user, &json!({"group_id": other})).is(200).body.clone();
    let id = api.get(&path).ok()["id"].clone();
    let expected = json!({
        "object": "experiment_user", "id": "QON_1", "experiment_id": id, "group_id": other,
        "url": format!("/v4/experiments/{}/users/QON_1", id.as_str().unwrap()),
    });
    assert_eq!(answer, expected);
    for status in ["", "paused", "active"] {
        if !status.is_empty() {
            api.status(&path, status).ok();
        }
        let got = api.ask("c", "QON_1");
        let got = (&got["reason"], &got["variation_id"], &got["in_experiment"]);
        assert_eq!(got, (&json!("attached"), &json!(other), &json!(true)), "{status}");
    }
    // The same again, and to the other group.
    api.post(&user, &json!({"group_id": other})).is(200);
    api.post(&user, &json!({"group_id": control})).is(200);
    assert_eq!(api.ask("c", "QON_1")["variation_id"], json!(control));
    assert_eq!(api.ask("c", "QON_2")["in_experiment"], false);
    api.delete(&user).is(204);
    assert_eq!(api.ask("c", "QON_1")["in_experiment"], false);
    api.delete(&user).is(204);
}

#[test]
fn to_one_experiment_of_a_context() {
    let api = Api::new();
    let (first, [a, _]) = api.running("first", json!({"context_key": "c"}));
    let (second, [b, _]) = api.ready("second", json!({"context_key": "c"}));
    let (other, [d, _]) = api.running("other", json!({"context_key": "d"}));
    let at = |path: &str| format!("{path}/users/u");
    api.post(&at(&first), &json!({"group_id": a})).is(200);
    api.post(&at(&second), &json!({"group_id": b})).refused(
        409,
        "resource",
        "already_exists",
        &["user_id"],
    );
    api.post(&at(&other), &json!({"group_id": d})).is(200);
    api.delete(&at(&first)).is(204);
    api.post(&at(&second), &json!({"group_id": b})).is(200);
    api.post(&at(&first), &json!({"group_id": a})).refused(
        409,
        "resource",
        "already_exists",
        &["user_id"],
    );
    // It takes effect when the experiment starts; the user is in the first one until then.
    assert_eq!(api.ask("c", "u")["reason"], "split");
    api.status(&second, "active").ok();
    let got = api.ask("c", "u");
    assert_eq!((&got["reason"], &got["variation_id"]), (&json!("attached"), &json!(b)));
    // What is finished is in nobody's way, and takes nobody.
    api.status(&second, "finished").ok();
    api.post(&at(&second), &json!({"group_id": b})).conflict(&[]);
    api.post(&at(&first), &json!({"group_id": a})).is(200);
    assert_eq!(api.ask("c", "u")["variation_id"], json!(a));
}

#[test]
fn requests_that_are_wrong() {
    let api = Api::new();
    let (path, [group, _]) = api.running("a", json!({}));
    let (_, [strange, _]) = api.running("b", json!({"context_key": "b"}));
    let user = format!("{path}/users/u");
    for body in [
        json!({}),
        json!({"group_id": null}),
        json!({"group_id": 1}),
        json!({"group_id": ""}),
        json!({"group_id": "a b"}),
        json!({"group_id": "x".repeat(65)}),
    ] {
        api.post(&user, &body).invalid(&["group_id"]);
    }
    for none in ["var_none", "x", &strange] {
        api.post(&user, &json!({"group_id": none})).refused(
            422,
            "logical",
            "relation_not_found",
            &["group_id"],
        );
    }
    for user in ["a%20b", "%C3%A4", "a%2Fb", &"x".repeat(257)] {
        let user = format!("{path}/users/{user}");
        api.post(&user, &json!({"group_id": group})).invalid(&["user_id"]);
        api.delete(&user).invalid(&["user_id"]);
    }
    api.post(&format!("{path}/users/{}", "x".repeat(256)), &json!({"group_id": group})).is(200);
    let none = "/v4/experiments/none/users/u";
    api.post(none, &json!({"group_id": group})).refused(404, "resource", "not_found", &[]);
    api.delete(none).refused(404, "resource", "not_found", &[]);
}

#[test]
fn a_pause_keeps_its_members_and_admits_nobody() {
    let api = Api::new();
    let (path, _) = api.running("a", json!({"context_key": "c"}));
    let before: BTreeMap<String, Value> = (0..50)
        .map(|user| format!("user-{user}"))
        .map(|user| (user.clone(), api.ask("c", &user)["variation_id"].clone()))
        .collect();
    api.status(&path, "paused").ok();
    for (user, variation) in &before {
        let got = api.ask("c", user);
        assert_eq!((&got["reason"], &got["variation_id"]), (&json!("kept"), variation));
    }
    for user in 50..100 {
        assert_eq!(api.ask("c", &format!("user-{user}"))["in_experiment"], false);
    }
    // Newcomers of a pause go to the next one, and members stay.
    api.running("b", json!({"context_key": "c"}));
    let in_second = api.ask("c", "user-70");
    assert_eq!(in_second["experiment_id"], api.get("/v4/experiments/b").ok()["id"]);
    assert_eq!(api.ask("c", "user-7")["variation_id"], before["user-7"]);
    api.status(&path, "finished").ok();
    assert_eq!(api.ask("c", "user-7")["experiment_id"], in_second["experiment_id"]);
}

#[test]
fn what_is_deleted_is_forgotten() {
    let api = Api::new();
    let (path, [group, _]) = api.ready("a", json!({}));
    api.post(&format!("{path}/users/u"), &json!({"group_id": group})).is(200);
    api.delete(&path).is(204);
    let (path, [group, _]) = api.running("b", json!({}));
    api.post(&format!("{path}/users/u"), &json!({"group_id": group})).is(200);
    // A group that is gone has nobody.
    api.status(&path, "paused").ok();
    api.group(&path, json!({"weight": 1}));
    api.patch(&format!("{path}/groups/{group}"), &json!({"is_control": false})).ok();
    api.delete(&format!("{path}/groups/{group}")).is(204);
    let groups = api.get(&format!("{path}/groups")).ok();
    let next = groups["data"][0]["id"].as_str().unwrap().to_owned();
    api.patch(&format!("{path}/groups/{next}"), &json!({"is_control": true})).ok();
    api.status(&path, "active").ok();
    assert_eq!(api.ask("", "u")["reason"], "split");
}

#[test]
fn an_attachment_to_a_group_that_is_gone_counts_for_nothing() {
    let api = Api::new();
    let (first, [a, b]) = api.ready("first", json!({"context_key": "c"}));
    let (second, [c, _]) = api.running("second", json!({"context_key": "c"}));
    api.post(&format!("{first}/users/u"), &json!({"group_id": b})).is(200);
    api.post(&format!("{second}/users/u"), &json!({"group_id": c})).is(409);
    api.delete(&format!("{first}/groups/{b}")).is(204);
    api.post(&format!("{second}/users/u"), &json!({"group_id": c})).is(200);
    api.delete(&format!("{second}/users/u")).is(204);
    api.status(&second, "finished").ok();
    // One that was attached and is drawn now is a member like any other.
    let third = api.group(&first, json!({"weight": 1}));
    api.status(&first, "active").ok();
    api.post(&format!("{first}/users/u"), &json!({"group_id": third})).is(200);
    api.status(&first, "paused").ok();
    api.group(&first, json!({"weight": 1}));
    api.delete(&format!("{first}/groups/{third}")).is(204);
    api.status(&first, "active").ok();
    assert_eq!(api.ask("c", "u")["reason"], "split");
    api.status(&first, "paused").ok();
    assert_eq!(api.ask("c", "u")["reason"], "kept");
    let summary = api.get("/v4/experiments/summary?filter[experiment_uid][]=first").ok();
    assert_eq!(summary["data"][0]["users"], 1);
    assert!(summary["data"][0]["groups"].to_string().contains(&a));
}

#[test]
fn a_group_that_is_new_takes_users_from_the_resumption_on() {
    let api = Api::new();
    let (path, _) = api.running("a", json!({"segment_percent": 0}));
    api.status(&path, "paused").ok();
    let group = api.group(&path, json!({"weight": 1}));
    api.post(&format!("{path}/users/u"), &json!({"group_id": group})).is(200);
    assert_eq!(api.ask("", "u")["in_experiment"], false);
    api.status(&path, "active").ok();
    assert_eq!(api.ask("", "u")["variation_id"], json!(group));
}

#[test]
fn an_experiment_takes_no_context_in_which_its_users_are_attached() {
    let api = Api::new();
    let (first, [a, _]) = api.running("first", json!({"context_key": "c"}));
    let (second, [b, _]) = api.ready("second", json!({"context_key": "d"}));
    api.post(&format!("{first}/users/u"), &json!({"group_id": a})).is(200);
    api.post(&format!("{second}/users/u"), &json!({"group_id": b})).is(200);
    api.patch(&second, &json!({"context_key": "c"})).conflict(&["context_key"]);
    api.delete(&format!("{first}/users/u")).is(204);
    api.patch(&second, &json!({"context_key": "c"})).ok();
}

#[test]
fn users_are_of_the_kind_that_the_experiment_goes_by() {
    let api = Api::new();
    let (path, [group, other]) = api.ready("a", json!({}));
    let devices = variate::NewExperiment::by_percentage("Devices", api.held("a").flag_id().clone())
        .key("devices")
        .weights(variate::Weights::Relative)
        .allocation(
            variate::Allocation::share(group.parse().unwrap(), 1.try_into().unwrap()).control(),
        )
        .allocation(variate::Allocation::share(other.parse().unwrap(), 1.try_into().unwrap()));
    api.commit(devices);
    let body = json!({"group_id": group});
    api.post("/v4/experiments/devices/users/u", &body).conflict(&[]).naming("device");
    api.post(&format!("{path}/users/u"), &body).is(200);
}

/// What is done in a random history.
#[derive(Debug, Clone)]
enum Step {
    Attach { experiment: usize, group: usize, user: usize },
    Detach { experiment: usize, user: usize },
    Status { experiment: usize, status: usize },
    Ask { context: usize, user: usize },
}

const CONTEXTS: [&str; 2] = ["one", "two"];
const STATES: [&str; 3] = ["active", "paused", "finished"];

/// Two experiments of each context.
const EXPERIMENTS: usize = 4;
const USERS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let (experiment, user) = (0..EXPERIMENTS, 0..USERS);
    prop_oneof![
        4 => (experiment.clone(), 0..2_usize, user.clone())
            .prop_map(|(experiment, group, user)| Step::Attach { experiment, group, user }),
        2 => (experiment.clone(), user.clone())
            .prop_map(|(experiment, user)| Step::Detach { experiment, user }),
        2 => (experiment, 0..STATES.len())
            .prop_map(|(experiment, status)| Step::Status { experiment, status }),
        6 => (0..CONTEXTS.len(), user).prop_map(|(context, user)| Step::Ask { context, user }),
    ]
}

/// The reference: what a user of the documentation would note down.
#[derive(Default)]
struct Model {
    status: [usize; EXPERIMENTS],
    /// The experiments in the order of their start.
    started: Vec<usize>,
    attached: BTreeMap<(usize, usize), usize>,
    members: BTreeSet<(usize, usize)>,
}

const DRAFT: usize = 0;
const ACTIVE: usize = 1;
const PAUSED: usize = 2;
const FINISHED: usize = 3;

impl Model {
    fn attach(&mut self, experiment: usize, group: usize, user: usize) -> u16 {
        if self.status[experiment] == FINISHED {
            return 409;
        }
        let rival = experiment ^ 1;
        if self.status[rival] != FINISHED && self.attached.contains_key(&(rival, user)) {
            return 409;
        }
        self.attached.insert((experiment, user), group);
        // Whoever is attached is so by hand alone.
        self.members.remove(&(experiment, user));
        200
    }

    fn detach(&mut self, experiment: usize, user: usize) {
        self.attached.remove(&(experiment, user));
    }

    fn set(&mut self, experiment: usize, status: usize) -> u16 {
        let from = self.status[experiment];
        if !matches!(
            (from, status),
            (DRAFT | PAUSED, ACTIVE) | (ACTIVE, PAUSED) | (ACTIVE | PAUSED, FINISHED)
        ) {
            return 409;
        }
        if from == DRAFT {
            self.started.push(experiment);
        }
        self.status[experiment] = status;
        200
    }

    /// The experiment that has a user in a context, and the group if it is by hand.
    fn ask(&mut self, context: usize, user: usize) -> Option<(usize, Option<usize>)> {
        let own = |experiment: &&usize| **experiment / 2 == context;
        let runs = |experiment: &usize| matches!(self.status[*experiment], ACTIVE | PAUSED);
        let running: Vec<usize> = self.started.iter().filter(own).copied().filter(runs).collect();
        let by_hand = running.iter().find(|own| self.attached.contains_key(&(**own, user)));
        let kept = running
            .iter()
            .find(|own| self.status[**own] == PAUSED && self.members.contains(&(**own, user)));
        // Everybody is included.
        let drawn = running.iter().find(|own| self.status[**own] == ACTIVE);
        let holder = by_hand.or(kept).or(drawn).copied();
        for experiment in running.iter().filter(|own| self.status[**own] == ACTIVE) {
            let is_attached = self.attached.contains_key(&(*experiment, user));
            if Some(*experiment) != holder {
                self.members.remove(&(*experiment, user));
            } else if !is_attached {
                self.members.insert((*experiment, user));
            }
        }
        holder.map(|own| (own, self.attached.get(&(own, user)).copied()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn histories_are_those_of_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let api = Api::new();
        let mut experiments = Vec::new();
        for index in 0..EXPERIMENTS {
            let facts = json!({"context_key": CONTEXTS[index / 2]});
            let (path, groups) = api.ready(&format!("e{index}"), facts);
            let id = api.get(&path).ok()["id"].clone();
            experiments.push((path, groups, id));
        }
        let mut model = Model::default();
        for step in &steps {
            match *step {
                Step::Attach { experiment, group, user } => {
                    let (path, groups, _) = &experiments[experiment];
                    let body = json!({"group_id": groups[group]});
                    let answer = api.post(&format!("{path}/users/user-{user}"), &body);
                    prop_assert_eq!(answer.status, model.attach(experiment, group, user), "{:?}", step);
                }
                Step::Detach { experiment, user } => {
                    let path = format!("{}/users/user-{user}", experiments[experiment].0);
                    api.delete(&path).is(204);
                    model.detach(experiment, user);
                }
                Step::Status { experiment, status } => {
                    let answer = api.status(&experiments[experiment].0, STATES[status]);
                    prop_assert_eq!(answer.status, model.set(experiment, status + 1), "{:?}", step);
                }
                Step::Ask { context, user } => {
                    let got = api.ask(CONTEXTS[context], &format!("user-{user}"));
                    match model.ask(context, user) {
                        None => prop_assert_eq!(&got["in_experiment"], false, "{:?} {}", step, got),
                        Some((experiment, group)) => {
                            let (_, groups, id) = &experiments[experiment];
                            prop_assert_eq!(&got["experiment_id"], id, "{:?} {}", step, got);
                            prop_assert_eq!(&got["in_experiment"], true);
                            if let Some(group) = group {
                                prop_assert_eq!(&got["variation_id"], &json!(groups[group]));
                                prop_assert_eq!(&got["reason"], "attached");
                            }
                        }
                    }
                }
            }
        }
    }
}
