//! LaunchDarkly's experiments: the experimentation endpoints of its REST API over an [`Engine`].
//!
//! A program that talks to those endpoints can be pointed at a process of its own.
//! [`Experimentation::handle`] answers a request. What it makes are experiments, flags, layers,
//! holdouts and metrics like any others: [`Snapshot::assign`](crate::Snapshot::assign) says what a
//! subject gets, by the bucketing of LaunchDarkly's SDKs.
//!
//! ```
//! use http::Request;
//! use serde_json::{Value, json};
//! use variate::Engine;
//! use variate::api::launchdarkly::Experimentation;
//!
//! let surface = Experimentation::new(Engine::new());
//! let flag = json!({"key": "cart-label", "name": "Label of the cart", "isFlagOn": true});
//! let request = Request::post("/api/v2/flags/default").body(flag.to_string())?;
//! let response = surface.handle(&request);
//! assert_eq!(response.status(), 201);
//!
//! let flag: Value = serde_json::from_slice(response.body())?;
//! assert_eq!(flag["environments"]["production"]["on"], true);
//! assert_eq!(surface.engine().snapshot().flag_by_key("cart-label").unwrap().variations().len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Endpoints
//!
//! One surface serves one project and one environment; others do not exist. `{p}` is the project,
//! `{e}` the environment; before all stands `/api/v2`. Bodies are JSON of at most 1 MiB; members that
//! nobody knows are passed over, as LaunchDarkly does.
//!
//! | path | methods |
//! |---|---|
//! | `/projects/{p}/environments/{e}/experiments` | `GET`, `POST` |
//! | `/projects/{p}/experiments` | `GET` |
//! | `/projects/{p}/environments/{e}/experiments/{key}` | `GET`, `PATCH` |
//! | `/projects/{p}/environments/{e}/experiments/{key}/iterations` | `POST` |
//! | `/projects/{p}/layers` | `GET`, `POST` |
//! | `/projects/{p}/layers/{key}` | `PATCH` |
//! | `/projects/{p}/environments/{e}/holdouts` | `GET`, `POST` |
//! | `/projects/{p}/environments/{e}/holdouts/{key}` | `GET`, `PATCH` |
//! | `/projects/{p}/environments/{e}/holdouts/id/{id}` | `GET` |
//! | `/projects/{p}/experimentation-settings` | `GET`, `PUT` |
//! | `/flags/{p}` | `GET`, `POST` |
//! | `/flags/{p}/{key}` | `GET`, `PATCH` |
//! | `/metrics/{p}` | `GET`, `POST` |
//! | `/metrics/{p}/{key}` | `GET` |
//! | `/projects/{p}/metric-groups` | `GET`, `POST` |
//! | `/projects/{p}/metric-groups/{key}` | `GET` |
//!
//! Every PATCH is a semantic patch: a list of instructions that are carried out in order, each seeing
//! what those before it have done, and all of them or none. A refusal names the instruction by its
//! index. The `comment` and every `changeJustification` stand in the [`Event`](crate::Event).
//!
//! | what | instructions, with their members |
//! |---|---|
//! | an experiment | `updateName` and `updateDescription` (`value`), `updateExperimentFields` (`value`: by field, an object with `operation` and `value`), `saveAndStartNewIteration` (the same `value`, `changeJustification`), `startIteration` (`changeJustification`), `stopIteration` (`winningTreatmentId`, `winningReason`), `archiveExperiment`, `restoreExperiment` |
//! | a layer | `updateName` (`name`), `updateDescription` (`description`), `updateExperimentReservation` (`experimentKey`, `reservationPercent`), `removeExperiment` (`experimentKey`); the last two with an `environmentKey` beside `instructions` |
//! | a holdout | `updateName` and `updateDescription` (`value`), `endHoldout`, `removeExperiment` (`value`, the experiment's key) |
//! | a flag | `turnFlagOn` and `turnFlagOff`, with an `environmentKey` beside `instructions`; `archiveFlag` |
//!
//! # What is what
//!
//! | LaunchDarkly | here |
//! |---|---|
//! | key | [`Key`](crate::Key); what has none shows its id as its key |
//! | flag, its variations' values | a [`Flag`](crate::Flag) whose only parameter is `value` |
//! | treatment, `baseline`, `_id` | [`Allocation`](crate::Allocation), its control, its variation's id |
//! | `allocationPercent` | the weight; the sum of all is the traffic |
//! | `ruleId` | `fallthrough`, or the id of a [`Segment`](crate::Segment): the audience |
//! | `flagConfigVersion` | the flag's version |
//! | `notInExperimentVariationId` | the outside variation, the baseline's unless given |
//! | iteration, draft iteration | [`Iteration`](crate::Iteration), [`Draft`](crate::Draft) |
//! | archived | [shelved](crate::Change::ShelveExperiment) |
//! | seed | the salt |
//!
//! # Who gets what
//!
//! A draft draws its seed when it is created, and a new iteration after a stop another one. Edits of
//! a running experiment open an iteration under the same seed, and move only whom the shares move:
//!
//! | between two iterations | what happens |
//! |---|---|
//! | the shares stay | nobody moves |
//! | they grow | who is in stays; those who enter come from outside ([`Carryover::Analysed`]), or who is in is served the same as no part of the experiment, and all who are in come from outside ([`Carryover::ServedOnly`]) |
//! | they grow beyond what is outside | everybody is drawn anew if `canReshuffleTraffic` is true |
//! | they shrink | that share leaves; the others stay |
//! | weight goes from one treatment to another | that share moves, nobody else |
//! | stopped, a draft made by `POST …/iterations`, then started | everybody is drawn anew, whatever `canReshuffleTraffic` says |
//!
//! LaunchDarkly's pages contradict each other on the first two. [`Experimentation::carryover`] and
//! [`Experimentation::reshuffling`] choose; by default who is in stays in, and nobody is drawn anew
//! without need.
//!
//! Stopping ships the winner: everyone whom the rule matches gets it, until the next iteration
//! starts. A flag that is off serves its off variation to everyone, and so does a holdout to those
//! whom it holds out.
//!
//! Buckets are computed in whole numbers ([`HashVersion::Sha1V1`]), so that an edit never moves
//! anybody whom it need not; [`HashVersion::Sha1F32V1`] computes with 32-bit floats as their SDKs for
//! Go and Rust do, and differs for about 4 in 10^8. The answer to a `GET` of a flag has the rollout of
//! the experiment that runs on it, as the SDKs read it.
//!
//! # Bringing an experiment over
//!
//! Every subject stays where it is if the experiment is created natively with its seed as the salt, or
//! `flagKey.salt` where the rollout has no seed, and with its slices:
//!
//! ```
//! use variate::{
//!     Allocation, Analysis, Change, Engine, FlagStatus, HashVersion, NewExperiment, NewFlag,
//!     NewVariation, RolloutSlice, Status, Subject,
//! };
//!
//! // {"kind": "experiment", "contextKind": "user", "seed": 61, "variations": [
//! //     {"variation": 0, "weight": 20000}, {"variation": 1, "weight": 30000},
//! //     {"variation": 0, "weight": 50000, "untracked": true}]}
//! let flag = NewFlag::new("Label of the cart")
//!     .id("flg_cart".parse()?)
//!     .key("cart-label")
//!     .parameter("value", false)
//!     .variation(NewVariation::new("as it is").id("var_a".parse()?))
//!     .variation(NewVariation::new("short").id("var_b".parse()?).with("value", true));
//! let experiment = NewExperiment::by_percentage("Shorter label", "flg_cart".parse()?)
//!     .id("exp_cart".parse()?)
//!     .key("cart")
//!     .subject_kind("user")
//!     .hash(HashVersion::Sha1F32V1)
//!     .salt("61".parse()?)
//!     // All tracked weights together, and each for itself.
//!     .traffic(50.try_into()?)
//!     .allocation(Allocation::share("var_a".parse()?, 20.try_into()?).control())
//!     .allocation(Allocation::share("var_b".parse()?, 30.try_into()?))
//!     .outside_variation_id("var_a".parse()?)
//!     .rollout([
//!         RolloutSlice::tracked("var_a".parse()?, 20_000),
//!         RolloutSlice::tracked("var_b".parse()?, 30_000),
//!         RolloutSlice::untracked("var_a".parse()?, 50_000),
//!     ])
//!     // Without a metric an iteration would have to say that it only exports.
//!     .analysis(Analysis::new().methodology(variate::Methodology::ExportOnly));
//!
//! let engine = Engine::new();
//! engine.commit([
//!     flag.into(),
//!     Change::set_flag_status(&"flg_cart".parse()?, FlagStatus::Active),
//!     experiment.into(),
//!     Change::set_experiment_status(&"exp_cart".parse()?, Status::Active),
//! ])?;
//! let decision = engine.snapshot();
//! let decision = decision.assign("exp_cart", &Subject::of("user", "userKeyA"));
//! assert_eq!((decision.variation_id().unwrap().as_str(), decision.in_experiment()), ("var_a", true));
//! # Ok::<(), variate::Error>(())
//! ```
//!
//! [`HashVersion::Sha1F32V1`] is for subjects of the SDKs for Go and Rust, [`HashVersion::Sha1V1`] for
//! all others, which compute in 64 bits.
//!
//! # Where LaunchDarkly is silent
//!
//! - **Errors.** A fault of a body is a 400 with the first fault in `errors`. A kind of
//!   instruction that there is not, and a JSON patch, are a 422 with `patch_failed`. A key that is
//!   taken is a 409 with `invalid_request`; a stale `flagConfigVersion`, and a rule that has a running
//!   experiment, a 409 with `optimistic_locking_error`. What a body names and does not exist is a 404.
//!   What keeps an iteration from starting is a 400 with an error for each gate.
//! - **Fields.** `mutableFieldsByStatus` is printed from the engine's table,
//!   [`Field::changes_in`](crate::Field::changes_in) and [`Field::grows_in`](crate::Field::grows_in).
//!   Lists take `add`, `update` (all of it) and `remove` (these entries, or all; treatments by `_id`,
//!   metrics by key, of which the primary one stays). Once an experiment is stopped, the fields of an iteration are those of the draft,
//!   if there is one. `holdoutId` and the flag never change.
//! - **Layers and holdouts.** An experiment is in a holdout or in a layer, and enters a holdout by
//!   `holdoutId` when it is created. Layers draw by a seed of their own, independently of the
//!   experiments in them. What else is chosen stands at the operations.
//! - **Iterations.** `POST …/iterations` takes the place of a draft that is there already.
//!   `saveAndStartNewIteration` copies the running iteration and discards a draft beside it. An
//!   experiment has one flag. Its `_id` is the experiment's with the number. `currentIteration` is the
//!   running one, else the stopped one, else the draft.
//! - **Stopping** demands `winningTreatmentId`; that nothing has won is said by naming the baseline.
//! - **`flagConfigVersion`** is checked when it is written, and not again when the iteration starts.
//! - **Covariates** are not uploaded here: `covariateInfo` shows the id for a file name.
//! - **Metrics** never change, so `_versionId` is their id. A group is one of them.
//! - **Thresholds.** `bayesianThreshold` is from 0 to 100, `significanceThreshold` from 0 to 1,
//!   `testDirection` `one-sided` or `two-sided`; a correction or `sequentialTestingEnabled` is refused
//!   beside `bayesian`.
//! - **Flags** can be archived while an experiment runs on them, which goes on. They have no tags, no targeting and no prerequisites here, and always say that they are
//!   temporary. Variations have values of at most 1 KiB as JSON, and not `null`.
//! - **Maintainers** are free text; what has none shows [`Experimentation::member`]'s.
//! - **Instructions** may have members that nobody knows, too: what is written beside `value` instead of
//!   in it has no effect.
//! - **Lists** are in the order of creation. Filters of one kind are alternatives, those of different
//!   kinds must all hold.
//! - **Not here**: results, targeting rules, approvals, `_access`, rate limits. Who may call is the
//!   host's to check; [`refusal`] words a 401, 403 or 429.

mod analysis;
mod answer;
mod design;
mod experiments;
mod fields;
mod flags;
mod holdouts;
mod input;
mod instructions;
mod layers;
mod list;
mod metrics;
mod patch;
mod settings;
mod show;
mod used;

use std::sync::Arc;

use http::{Method, Request, Response};

use answer::{Answer, Refusal, respond};
use list::Query;

pub use answer::refusal;

use crate::api::call::{Call, Stray, check_route, parts};
use crate::engine::Engine;
use crate::error::codes;
use crate::model::{Carryover, HashVersion};

/// LaunchDarkly's experimentation endpoints over an [`Engine`], for one project and one environment.
#[derive(Debug, Clone)]
pub struct Experimentation {
    engine: Engine,
    project: Arc<str>,
    environment: Arc<str>,
    member: Arc<str>,
    hash: HashVersion,
    carryover: Carryover,
    reshuffling: Reshuffling,
}

codes! {
    /// How a bucket is computed.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum Arithmetic {
        /// In whole numbers: [`HashVersion::Sha1V1`].
        #[default]
        Exact = "exact",
        /// In floats of 32 bits, as LaunchDarkly's SDKs for Go and Rust do:
        /// [`HashVersion::Sha1F32V1`].
        Float32 = "float32",
    }
}

codes! {
    /// When a new iteration of a running experiment draws everybody anew, if the experiment allows
    /// it (`canReshuffleTraffic`). LaunchDarkly's pages contradict each other here.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum Reshuffling {
        /// When there are not enough buckets left to keep everybody where they are.
        #[default]
        WhenNeeded = "when_needed",
        /// Whenever a new iteration begins.
        Always = "always",
    }
}

impl Experimentation {
    /// The surface over an engine: project `default`, environment `production`,
    /// [exact](Arithmetic::Exact) arithmetic.
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            project: "default".into(),
            environment: "production".into(),
            member: "000000000000000000000000".into(),
            hash: HashVersion::Sha1V1,
            carryover: Carryover::default(),
            reshuffling: Reshuffling::default(),
        }
    }

    /// The same surface for the project of this key.
    pub fn project(self, key: impl Into<Arc<str>>) -> Self {
        Self { project: key.into(), ..self }
    }

    /// The same surface for the environment of this key.
    pub fn environment(self, key: impl Into<Arc<str>>) -> Self {
        Self { environment: key.into(), ..self }
    }

    /// The same surface, on which what nobody is named to maintain is this member's.
    pub fn member(self, id: impl Into<Arc<str>>) -> Self {
        Self { member: id.into(), ..self }
    }

    /// The same surface, whose experiments from now on are bucketed by this arithmetic.
    pub fn arithmetic(self, arithmetic: Arithmetic) -> Self {
        let hash = match arithmetic {
            Arithmetic::Exact => HashVersion::Sha1V1,
            Arithmetic::Float32 => HashVersion::Sha1F32V1,
        };
        Self { hash, ..self }
    }

    /// The same surface, on which a new iteration with more traffic treats who was in before like
    /// this.
    pub fn carryover(self, carryover: Carryover) -> Self {
        Self { carryover, ..self }
    }

    /// The same surface, on which a new iteration draws everybody anew when this says.
    pub fn reshuffling(self, reshuffling: Reshuffling) -> Self {
        Self { reshuffling, ..self }
    }

    /// The engine that it works on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Answers a request. Total: whatever it is, the answer says what is wrong with it.
    pub fn handle<B: AsRef<[u8]>>(&self, request: &Request<B>) -> Response<Vec<u8>> {
        let call = Call::of(request);
        respond(self.answer(request.method(), request.uri().path(), call))
    }

    fn answer(&self, method: &Method, path: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        let Some(rest) = path.strip_prefix("/api/v2/") else {
            return Err(Refusal::no_such_path(path));
        };
        let parts = parts(rest);
        let segments: Vec<&str> = parts.iter().map(|part| &**part).collect();
        let allow = check_route(&segments, method, methods).map_err(|stray| match stray {
            Stray::NoSuchPath => Refusal::no_such_path(path),
            Stray::NotAllowed(allow) => Refusal::method_not_allowed(allow),
        })?;
        let (scope, segments) = match segments.as_slice() {
            ["projects", project, "environments", environment, rest @ ..] => {
                self.check_environment(environment)?;
                (*project, rest)
            }
            ["projects", project, rest @ ..] => (*project, rest),
            ["flags" | "metrics", project, ..] => (*project, &segments[..]),
            _ => return Err(Refusal::no_such_path(path)),
        };
        self.check_project(scope)?;
        let query = Query::read(call.query);
        match (segments, method.as_str()) {
            (["experiments"], "GET") => self.list_experiments(&query, path),
            (["experiments"], "POST") => self.create_experiment(&query, call),
            (["experiments", key], "GET") => self.get_experiment(&query, key),
            (["experiments", key], "PATCH") => self.patch_experiment(&query, key, call),
            (["experiments", key, "iterations"], "POST") => self.create_iteration(key, call),
            (["experimentation-settings"], "GET") => Ok(self.get_settings()),
            (["experimentation-settings"], "PUT") => self.put_settings(call),
            (["flags", _], "GET") => self.list_flags(&query),
            (["flags", _], "POST") => self.create_flag(call),
            (["flags", _, key], "GET") => self.get_flag(key),
            (["flags", _, key], "PATCH") => self.patch_flag(key, call),
            (["holdouts"], "GET") => self.list_holdouts(&query),
            (["holdouts"], "POST") => self.create_holdout(call),
            (["holdouts", "id", id], "GET") => self.get_holdout_by_id(id),
            (["holdouts", key], "GET") => self.get_holdout(&query, key),
            (["holdouts", key], "PATCH") => self.patch_holdout(key, call),
            (["layers"], "GET") => self.list_layers(&query),
            (["layers"], "POST") => self.create_layer(call),
            (["layers", key], "PATCH") => self.patch_layer(key, call),
            (["metric-groups"], "GET") => self.list_metric_groups(&query),
            (["metric-groups"], "POST") => self.create_metric_group(call),
            (["metric-groups", key], "GET") => self.get_metric_group(key),
            (["metrics", _], "GET") => self.list_metrics(&query),
            (["metrics", _], "POST") => self.create_metric(call),
            (["metrics", _, key], "GET") => self.get_metric(key),
            _ => Err(Refusal::method_not_allowed(allow)),
        }
    }

    fn check_project(&self, key: &str) -> Result<(), Refusal> {
        match *key == *self.project {
            true => Ok(()),
            false => Err(Refusal::not_found("project", key)),
        }
    }

    fn check_environment(&self, key: &str) -> Result<(), Refusal> {
        match *key == *self.environment {
            true => Ok(()),
            false => Err(Refusal::not_found("environment", key)),
        }
    }

    /// The path of something in the project.
    fn in_project(&self, rest: &str) -> String {
        format!("/api/v2/projects/{}{rest}", self.project)
    }

    /// The path of something in the environment.
    fn in_environment(&self, rest: &str) -> String {
        self.in_project(&format!("/environments/{}{rest}", self.environment))
    }
}

/// The methods of a path, if there is such a path.
fn methods(segments: &[&str]) -> Option<&'static str> {
    match segments {
        ["projects", _, "environments", _, "experiments" | "holdouts"]
        | ["projects", _, "layers" | "metric-groups"]
        | ["flags" | "metrics", _] => Some("GET, POST"),
        ["projects", _, "environments", _, "experiments" | "holdouts", _] | ["flags", _, _] => {
            Some("GET, PATCH")
        }
        ["projects", _, "environments", _, "experiments", _, "iterations"] => Some("POST"),
        ["projects", _, "environments", _, "holdouts", "id", _]
        | ["projects", _, "experiments"]
        | ["projects", _, "metric-groups", _]
        | ["metrics", _, _] => Some("GET"),
        ["projects", _, "experimentation-settings"] => Some("GET, PUT"),
        ["projects", _, "layers", _] => Some("PATCH"),
        _ => None,
    }
}
