//! Qonversion's experiments: the experiments endpoints of its REST API v4 over an [`Engine`].
//!
//! A program that talks to those endpoints can be pointed at a process of its own.
//! [`Experiments::handle`] answers a request. What it makes are experiments and flags like any
//! others; what a user gets is for the [`Keeper`] to say, which remembers who was let in and who was
//! attached by hand.
//!
//! ```
//! use http::Request;
//! use serde_json::{Value, json};
//! use variate::api::qonversion::Experiments;
//! use variate::{Engine, Subject};
//!
//! let surface = Experiments::new(Engine::new())?;
//! let send = |method, path: &str, body: Value| -> Result<Value, Box<dyn std::error::Error>> {
//!     let request = Request::builder().method(method).uri(path).body(body.to_string())?;
//!     Ok(serde_json::from_slice(surface.handle(&request).body())?)
//! };
//! let paywall = json!({"name": "Paywall", "alias_id": "paywall_v3", "context_key": "paywall"});
//! let created = send("POST", "/v4/experiments", paywall)?;
//! let path = created["url"].as_str().unwrap();
//!
//! let groups = format!("{path}/groups");
//! let today = json!({"weight": 2, "is_control": true, "remote_config_uid": "rc_today"});
//! send("POST", &groups, today)?;
//! send("POST", &groups, json!({"weight": 1, "remote_config_uid": "rc_short"}))?;
//! let running = send("POST", &format!("{path}/status"), json!({"status": "active"}))?;
//! assert_eq!(running["status"], "active");
//!
//! // Asked by the app, whenever it wants its remote config.
//! let snapshot = surface.engine().snapshot();
//! let user = Subject::of("user", "QON_7791a27f");
//! let decision = surface.keeper().assign_in_chain(&snapshot, "paywall", &user)?;
//! let served = decision.config().unwrap().get("remote_config_uid").unwrap();
//! assert!(served == "rc_today" || served == "rc_short");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Endpoints
//!
//! Before all stands `/v4`. Bodies are JSON of at most 1 MiB; a member that there is not is refused
//! by name.
//!
//! | path | methods |
//! |---|---|
//! | `/experiments` | `GET`, `POST` |
//! | `/experiments/summary` | `GET` |
//! | `/experiments/{id}` | `GET`, `PATCH`, `DELETE` |
//! | `/experiments/{id}/status` | `POST` |
//! | `/experiments/{id}/groups` | `GET`, `POST` |
//! | `/experiments/{id}/groups/{group_id}` | `PATCH`, `DELETE` |
//! | `/experiments/{id}/users/{user_id}` | `POST`, `DELETE` |
//!
//! | request | body or query, what must be there in bold |
//! |---|---|
//! | create an experiment | **`name`**, **`alias_id`**, and the fields of the PATCH below; of which only these can be `null`: `segment_percent`, `primary_metric`, `goal_value`, `goal_direction` |
//! | create or edit a group | **`weight`** (not to edit), `name`, `is_control`, `remote_config_uid`; `name` and `remote_config_uid` can be `null` |
//! | change the status | **`status`**: `active`, `paused` or `finished` |
//! | attach a user | **`group_id`** |
//! | summary | **`filter[experiment_uid][]`**, 1 to 50 times |
//! | lists | `limit`, `starting_after` |
//!
//! `{id}` is an experiment's id or its alias id. `POST` that creates answers 201 with a `Location`,
//! `DELETE` 204.
//!
//! # A PATCH, field by field
//!
//! What is left out stays as it is. A value that the field has already is no edit, whatever the
//! status; one that it cannot have in this status is a 409 that names every such field.
//!
//! | field | value | `null` | changes while |
//! |---|---|---|---|
//! | `name` | a [`Name`](crate::Name) | refused | `draft`, `active`, `paused`, `finished` |
//! | `alias_id` | that of the experiment; any other is refused | refused | never |
//! | `description` | a [`Description`](crate::Description); the empty text clears | reads back as `""` | `draft`, `active`, `paused`, `finished` |
//! | `segment_percent` | 0 to 100, at most 6 decimals | includes everybody, reads back as `null` | `draft`, `active`, `paused` |
//! | `primary_metric` | 1 to 2048 characters; hyphens become underscores | cleared | `draft`, `active`, `paused` |
//! | `goal_value` | a number | cleared | `draft`, `active`, `paused` |
//! | `goal_direction` | 1 to 2048 characters | cleared | `draft`, `active`, `paused` |
//! | `context_key` | at most 255 characters | reads back as `""` | `draft`, `paused` |
//! | `is_context_specific` | `true` or `false` | reads back as `false` | `draft`, `paused` |
//!
//! A metric that the program has written with hyphens is shown as it is, and becomes one with
//! underscores when it is sent back while it can change; while it cannot, one that differs by that alone
//! is no edit.
//!
//! # What is what
//!
//! | Qonversion | here |
//! |---|---|
//! | `alias_id` | the [`Key`](crate::Key); what has none shows its id |
//! | group, its id | an [`Allocation`](crate::Allocation), its variation's id |
//! | weight | the weight, [relative](crate::Weights::Relative) |
//! | `remote_config_uid` | the value of the flag's parameter of this name |
//! | `segment_percent` | the traffic |
//! | context key | the [chain](crate::Experiment::chain); `""` while the experiment is not restricted to it |
//! | `primary_metric`, `goal_value`, `goal_direction` | the [`Goal`](crate::Goal) |
//! | `finished` | `completed` |
//! | user | a subject of the kind `user` |
//!
//! An experiment that is created here gets a flag of its own, whose key is the experiment's id, and
//! takes it along when it is deleted here. What Qonversion says beyond that, such as a context that an
//! experiment is not restricted to, stands in its [annotations](crate::Experiment::annotations).
//!
//! # Who gets what
//!
//! For each context key, the experiments that run are asked in the order of their start; each draws
//! for itself whom it includes, and the first that does has the user. Whoever it does not include
//! falls through to the next. So behind an experiment of 70 %, one of 30 % has 9 % of all users. A user
//! is in at most one of the experiments that are restricted to a context key. That is a
//! [`Chain`](crate::Chain). Several that start at one moment are asked in the order in which they did.
//!
//! A paused experiment keeps the users that were in when they last asked, and admits nobody; a
//! finished one has nobody. A user who is attached is in that group, while the experiment is active or
//! paused, until detached.
//!
//! # Where Qonversion is silent
//!
//! - **Errors.** Every fault of a body is told at once, in `details`, with 400 and `invalid_data`. What
//!   exists already is a 409 with `already_exists`; what the present state forbids one with
//!   `conflict`. What a body names and does not exist is a 422 with `relation_not_found`, an
//!   experiment that cannot start one with `not_ready`, a group too many one with `limit_exceeded`. A
//!   path that there is not is a 404 with `invalid_request`, a method that a path does not have a 405
//!   with `not_implemented`. A store that fails is a 500 with `storage_error`, any other fault of the
//!   program's one with `unknown_error`.
//! - **Status.** `draft` leads to `active`, that to `paused` and back, and both to `finished`, which is
//!   the end. Anything else is a 409, so `draft` is never a target. To start, and to go on, an
//!   experiment needs two groups, one of them the control. Archived ones show as `finished`, and never
//!   change.
//! - **Alias ids** have at most 256 characters when created, as that page has it, and 64 in a PATCH
//!   unless it is the experiment's own. Where a path means something else, as with `summary`, an
//!   experiment is found by its id.
//! - **Context.** An experiment that is created with a `context_key` is restricted to it unless it says
//!   otherwise. One that is made here and not restricted, or to no key, stands in the chain of the
//!   empty key, whatever key it shows. One that others have made without a chain shows the empty key
//!   too, and is in none.
//! - **Metrics.** The words for metrics and directions are not published, so any will do.
//! - **Iterations.** A draft of a next iteration, which only others open, brings its own goal and share
//!   with it when it starts, and keeps the groups that it names from being deleted.
//! - **Groups** are created, edited and deleted while the experiment is a draft or paused, at most 20
//!   of them. A weight is more than 0 and at most 1,000,000,000, with at most 6 decimals, and counts
//!   exactly. A second control is a 409. What is edited while paused counts from the resumption here
//!   on; a remote config is not taken up by one elsewhere. A group's `updated_at` is never before the
//!   experiment's.
//! - **Users.** An attachment needs an experiment that is not finished and goes by users. Attaching to
//!   another group of the experiment moves the user; it is a 409 while the user is attached to another
//!   experiment of the context key that is not finished, and so is a PATCH that would bring two such
//!   experiments together. It takes effect when the experiment starts, or is resumed with a group that
//!   is new, and ends with the group. Attaching forgets that the user was a member. Detaching whom
//!   nothing attaches is a 204 as well. The id of a user is written like an alias id, in at most 256
//!   characters, that of a group in at most 64.
//! - **Deleting** an active experiment, or one that a layer or holdout has, is a 409.
//! - **Lists** begin with the latest experiment and the first group. `limit` is from 1 to 100, by
//!   default 20. `starting_after` is an id; if it is not there any more, the list begins anew and a
//!   header `X-Qon-Pagination-Restarted: true` says so. Parameters that nobody knows are passed over.
//! - **The summary** has no results, which are not held here. It has the share of each group in
//!   percent, cut so that they sum to 100, and how many users are remembered in it.
//! - **Names** of groups and remote configs have 1 to 255 characters.
//! - **What Qonversion does not have.** An experiment that assigns by segment shows each variation as
//!   a group, without a weight with 0, and no request changes these. One whose flag has no text parameter `remote_config_uid` shows
//!   `null` there, and no request sets it.
//!
//! Who may call, and how often, is the host's to check: there is no 401, 403 or 429 here, but
//! [`refusal`] words one.

mod answer;
mod experiments;
mod groups;
mod input;
mod list;
mod show;
mod summary;
mod users;

use std::sync::Arc;

use http::{Method, Request, Response};

use answer::{Refusal, Reply, respond};
use list::Query;

pub use answer::{ErrorType, refusal};

use crate::api::call::{Call, Stray, check_route, parts};
use crate::engine::Engine;
use crate::error::Error;
use crate::keeper::Keeper;

/// Qonversion's experiments over an [`Engine`], and over what is remembered of its subjects.
#[derive(Debug, Clone)]
pub struct Experiments {
    keeper: Keeper,
    subject_kind: Arc<str>,
}

impl Experiments {
    /// The surface over an engine, which remembers in memory whom it has attached.
    ///
    /// # Errors
    /// Those of [`Keeper::new`].
    pub fn new(engine: Engine) -> Result<Self, Error> {
        Keeper::new(engine).map(Self::with_keeper)
    }

    /// The surface over an engine and what a keeper remembers.
    pub fn with_keeper(keeper: Keeper) -> Self {
        Self { keeper, subject_kind: "user".into() }
    }

    /// The same surface, whose experiments from now on go by ids of this kind; `user` unless said.
    pub fn subject_kind(self, kind: impl Into<Arc<str>>) -> Self {
        Self { subject_kind: kind.into(), ..self }
    }

    /// The engine that it works on.
    pub fn engine(&self) -> &Engine {
        self.keeper.engine()
    }

    /// What remembers whom it has attached.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Answers a request. Total: whatever it is, the answer says what is wrong with it.
    pub fn handle<B: AsRef<[u8]>>(&self, request: &Request<B>) -> Response<Vec<u8>> {
        let call = Call::of(request);
        respond(self.answer(request.method(), request.uri().path(), call))
    }

    fn answer(&self, method: &Method, path: &str, call: Call<'_>) -> Result<Reply, Refusal> {
        let Some(rest) = path.strip_prefix("/v4/") else {
            return Err(Refusal::no_such_path(path));
        };
        let parts = parts(rest);
        let segments: Vec<&str> = parts.iter().map(|part| &**part).collect();
        let allow = check_route(&segments, method, methods).map_err(|stray| match stray {
            Stray::NoSuchPath => Refusal::no_such_path(path),
            Stray::NotAllowed(allow) => Refusal::method_not_allowed(allow),
        })?;
        let query = || Query::read(call.query);
        match (segments.as_slice(), method.as_str()) {
            (["experiments"], "GET") => self.list_experiments(&query()),
            (["experiments"], "POST") => self.create_experiment(call),
            (["experiments", "summary"], "GET") => self.summarise(&query()),
            (["experiments", id], "GET") => self.get_experiment(id),
            (["experiments", id], "PATCH") => self.patch_experiment(id, call),
            (["experiments", id], "DELETE") => self.delete_experiment(id),
            (["experiments", id, "status"], "POST") => self.set_status(id, call),
            (["experiments", id, "groups"], "GET") => self.list_groups(id, &query()),
            (["experiments", id, "groups"], "POST") => self.create_group(id, call),
            (["experiments", id, "groups", group], "PATCH") => self.patch_group(id, group, call),
            (["experiments", id, "groups", group], "DELETE") => self.delete_group(id, group),
            (["experiments", id, "users", user], "POST") => self.attach_user(id, user, call),
            (["experiments", id, "users", user], "DELETE") => self.detach_user(id, user),
            _ => Err(Refusal::method_not_allowed(allow)),
        }
    }
}

/// The methods of a path, if there is such a path.
fn methods(segments: &[&str]) -> Option<&'static str> {
    match segments {
        ["experiments"] | ["experiments", _, "groups"] => Some("GET, POST"),
        ["experiments", "summary"] => Some("GET"),
        ["experiments", _] => Some("GET, PATCH, DELETE"),
        ["experiments", _, "status"] => Some("POST"),
        ["experiments", _, "groups", _] => Some("PATCH, DELETE"),
        ["experiments", _, "users", _] => Some("POST, DELETE"),
        _ => None,
    }
}
