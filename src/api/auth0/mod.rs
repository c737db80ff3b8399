//! Auth0's Experiment Center: the experimentation endpoints of its Management API over an
//! [`Engine`], and what its login flows do with the experiments.
//!
//! A program that talks to those endpoints can be pointed at a process of its own.
//! [`ExperimentCenter::handle`] answers a request; [`resolve`] says what a subject gets.
//!
//! ```
//! use http::Request;
//! use serde_json::{Value, json};
//! use variate::Engine;
//! use variate::api::auth0::ExperimentCenter;
//!
//! let center = ExperimentCenter::new(Engine::new());
//! let flag = json!({
//!     "name": "Sign-in screen",
//!     "parameters": {"headline": {"type": "string", "value": "Welcome back"}},
//! });
//! let request = Request::post("/api/v2/experimentation/feature-flags").body(flag.to_string())?;
//! let response = center.handle(&request);
//! assert_eq!(response.status(), 201);
//!
//! let created: Value = serde_json::from_slice(response.body())?;
//! let id = created["id"].as_str().unwrap();
//! assert_eq!(center.engine().snapshot().flag(id).unwrap().name(), "Sign-in screen");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Endpoints
//!
//! With or without `/api/v2` in front; a router must not take `/experimentation` away. Bodies are
//! JSON of at most 1 MiB. A call blocks for as long as a commit does, with the engine's journals and
//! listeners. The repository's `examples/auth0_server.rs` mounts it in a server with a token check.
//!
//! | path | methods | members of a body, those that creating demands in bold |
//! |---|---|---|
//! | `/experimentation/experiments` | `GET`, `POST` | **`name`**, `description`, **`feature_flag_id`**, **`authentication_flow`**, **`allocation_strategy`**, `assignment_config`, `allocations`, `levels`, `default_config` |
//! | `/experimentation/experiments/{id}` | `GET`, `PATCH`, `DELETE` | `name`, `description`, `assignment_config`, `allocations`, `authentication_flow`, `default_config`, `levels`, `status` |
//! | `/experimentation/experiments/{id}/status` | `POST` | **`status`** |
//! | `/experimentation/experiments/{id}/validate` | `POST` | |
//! | `/experimentation/experiments/{id}/advance-ramp` | `POST` | **`target_level`** |
//! | `/experimentation/feature-flags` | `GET`, `POST` | **`name`**, `description`, **`parameters`** |
//! | `/experimentation/feature-flags/{id}` | `GET`, `PATCH`, `DELETE` | `name`, `description`, `parameters`, `status` |
//! | `/experimentation/feature-flags/{id}/status` | `POST` | **`status`** |
//! | `/experimentation/feature-flags/{id}/variations` | `GET`, `POST` | **`name`**, `description`, **`overrides`** |
//! | `/experimentation/feature-flags/{id}/variations/{vid}` | `GET`, `PATCH`, `DELETE` | `name`, `description`, `overrides` |
//! | `/experimentation/segments` | `GET`, `POST` | **`name`**, `description`, **`rules`** |
//! | `/experimentation/segments/{id}` | `GET`, `PATCH`, `DELETE` | `name`, `description`, `rules`, `status` |
//!
//! # Generations
//!
//! The API has been published twice, in a beta, whose reference pages decide here, and in an early
//! access. Requests of both are understood, so that `status` in a PATCH, `levels` and
//! `advance-ramp`, a PATCH of `authentication_flow`, the status of segments and overrides without
//! envelope work in either. What is demanded and what is answered follows the [`Generation`]:
//!
//! | | `seeds` | `early-access` |
//! |---|---|---|
//! | creating an experiment | demands `assignment_config` and `allocations` | demands neither |
//! | `authentication_flow` | any [`Flow`](crate::Flow) | one of six |
//! | weights | up to 6 decimals | whole numbers |
//! | well-formed, but senseless | 400 | 422 |
//! | the last variation of a flag | stays | can be deleted |
//! | experiments in answers | `assignment_config` | `editable_fields`, names, snapshots, levels |
//! | overrides in answers | in envelopes, `{"value": …}` | bare |
//! | segments in answers | | `status` |
//!
//! # Where Auth0 is silent
//!
//! Its pages leave these open, and this surface decides:
//!
//! - **Errors.** `errorCode` is Auth0's where it has published one, otherwise [`Code`]'s. When an
//!   activation is refused it is the first violation's, and the message names them all. What is the
//!   server's own fault, such as a journal that fails, is a 500 that does not say why.
//! - **Media types.** A body that says it is something other than JSON is a 415; one that says
//!   nothing is read as JSON. Bodies that an operation has no use for are passed over.
//! - **Transitions** to the status that there is already are refused. A PATCH with edits and a
//!   transition is applied whole or not at all; the transition sees the edits.
//! - **Experiments.** Fields of the other strategy are refused when they are written, and so are
//!   weights beside levels. `default_config` is refused for every experiment, since there are no
//!   flags of Auth0's own; `type` is always `self`. What else keeps an experiment from starting is
//!   listed by `validate`: see [`Readiness`](crate::Readiness). `is_valid` is never stale.
//! - **Ramps.** The level is the share of the subjects that have the treatments, all of these
//!   alike; everyone else has the control. A draft with weights becomes a ramp when `levels` and
//!   `allocations` without weights come together; a ramp stays one. Advancing one that is not active is a 409, unless it
//!   stands at that level.
//! - **Snapshots** hold the name and parameters of the flag, the name and overrides of a variation,
//!   the name and rules of a segment, and are left out before the first activation.
//! - **Overrides.** `{"value": X}`, with nothing beside it, is an envelope if X is of the parameter's
//!   type; to give a parameter of type `object` a value of just that form, put it into an envelope,
//!   as it is then shown in either generation.
//!   A PATCH merges by parameter, `null` removes one, and `null` or `{}` for the map clears all. The
//!   `parameters` of a flag are replaced as a whole.
//! - **Segments** match any attribute, not only those that Auth0 knows. Their size is that of their
//!   rules. What Auth0 cannot ask in a rule is shown where the program has written it, and no
//!   request writes it.
//! - **Lists** are in the order of creation. Unless they ask for the status `archived`, those of
//!   experiments and flags leave archived ones out; segments, whose list has no such filter, are
//!   all there. An unknown or repeated parameter is refused.
//! - **The engine's own.** What Auth0 does not know is neither shown nor set here: keys, the switch of
//!   a flag, maintainers, names of arms. Arms that keep their variation and segment keep their name.
//!   Names have 3 to 255 characters and descriptions 3 to 1024, though the engine takes others; what
//!   the program has written can be sent back. Experiments are created on subjects of the kind
//!   `device`. One whose flag is off applies to nobody.
//! - **Bounds.** A flag has at most 100 variations; names of parameters and attributes have 1 to 255
//!   characters, ids at most 255; values are nested at most 32 deep; a number that 64 bits cannot hold
//!   is refused, not rounded.
//! - **Edits.** A PATCH that makes no difference leaves `updated_at`. Completed experiments can be
//!   renamed. Archived entities keep their names. Flags and segments can be archived while they are
//!   used. A parameter's value can become that of an override which is there already.
//! - **Order.** The body is looked at before the entity, so a 400 comes before a 404; whatever is not
//!   an id is the id of nothing. `HEAD` and `OPTIONS` are methods that no path has.
//! - **What Auth0 does not have.** An experiment without a flow shows the empty text; one that goes
//!   by another kind of subject than `device` shows that kind; weights and levels are shown with
//!   the decimals that they have. [Relative](crate::Weights::Relative) weights are shown as shares
//!   in percent, with as many decimals as the generation takes, which sum to exactly 100 and leave
//!   the weights as they are when they are sent back; any others are the new weights, and need not
//!   sum to 100. Traffic, salt and tags are not shown, and no request changes
//!   them.
//! - **What is archived** stays as it is: flags with their variations, and segments, refuse edits.
//!   Deleting a variation of an archived flag is a 409.
//! - **The runtime** gives the experiment that started first, of those on the flow that have an arm
//!   for the subject. A variation or segment that the experiment does not have is passed over with
//!   a warning of our own.
//!
//! How many experiments can be active at once is [`ActiveLimit`](crate::ActiveLimit)'s to say, with
//! the code `experiment_active_limit_exceeded`. Who may call, and how often, is the host's to check:
//! there is no 401, 403 or 429 here, but [`refusal`] words one.

mod answer;
mod experiments;
mod flags;
mod list;
mod runtime;
mod segments;
mod show;
mod texts;
mod variations;

use http::{Method, Request, Response};

use answer::{Answer, Refusal, respond};

pub use answer::refusal;
pub use runtime::{ExperimentContext, LogRecord, Login, Resolution, Warning, resolve};

use crate::api::call::{Call, parts};
use crate::engine::Engine;
#[cfg(doc)]
use crate::error::Code;
use crate::error::codes;

/// The experimentation endpoints of Auth0's Management API, over an [`Engine`].
#[derive(Debug, Clone)]
pub struct ExperimentCenter {
    engine: Engine,
    generation: Generation,
}

codes! {
    /// Which of the two published generations of the API answers.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum Generation {
        /// The reference pages of the beta: the contract of this surface.
        #[default]
        Seeds = "seeds",
        /// What the early access answers.
        EarlyAccess = "early-access",
    }
}

impl ExperimentCenter {
    /// The surface over an engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine, generation: Generation::default() }
    }

    /// The same surface, answering as this generation does.
    pub fn generation(self, generation: Generation) -> Self {
        Self { generation, ..self }
    }

    /// The engine that it works on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Answers a request. Total: whatever it is, the answer says what is wrong with it.
    pub fn handle<B: AsRef<[u8]>>(&self, request: &Request<B>) -> Response<Vec<u8>> {
        let call = Call::of(request);
        let outcome = self.answer(request.method(), request.uri().path(), call);
        respond(self.generation, outcome)
    }

    fn answer(&self, method: &Method, path: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        let rest = path.strip_prefix("/api/v2").unwrap_or(path);
        let Some(rest) = rest.strip_prefix("/experimentation/") else {
            return Err(Refusal::no_such_path(path));
        };
        let parts = parts(rest);
        let segments: Vec<&str> = parts.iter().map(|part| &**part).collect();
        if segments.contains(&"") {
            return Err(Refusal::no_such_path(path));
        }
        match (segments.as_slice(), method.as_str()) {
            (["experiments"], "GET") => self.list_experiments(call),
            (["experiments"], "POST") => self.create_experiment(call),
            (["experiments", id], "GET") => self.get_experiment(id),
            (["experiments", id], "PATCH") => self.patch_experiment(id, call),
            (["experiments", id], "DELETE") => self.delete_experiment(id),
            (["experiments", id, "status"], "POST") => self.set_experiment_status(id, call),
            (["experiments", id, "validate"], "POST") => self.validate_experiment(id),
            (["experiments", id, "advance-ramp"], "POST") => self.advance_ramp(id, call),
            (["feature-flags"], "GET") => self.list_flags(call),
            (["feature-flags"], "POST") => self.create_flag(call),
            (["feature-flags", id], "GET") => self.get_flag(id),
            (["feature-flags", id], "PATCH") => self.patch_flag(id, call),
            (["feature-flags", id], "DELETE") => self.delete_flag(id),
            (["feature-flags", id, "status"], "POST") => self.set_flag_status(id, call),
            (["feature-flags", id, "variations"], "GET") => self.list_variations(id, call),
            (["feature-flags", id, "variations"], "POST") => self.create_variation(id, call),
            (["feature-flags", id, "variations", vid], "GET") => self.get_variation(id, vid),
            (["feature-flags", id, "variations", vid], "PATCH") => {
                self.patch_variation(id, vid, call)
            }
            (["feature-flags", id, "variations", vid], "DELETE") => self.delete_variation(id, vid),
            (["segments"], "GET") => self.list_segments(call),
            (["segments"], "POST") => self.create_segment(call),
            (["segments", id], "GET") => self.get_segment(id),
            (["segments", id], "PATCH") => self.patch_segment(id, call),
            (["segments", id], "DELETE") => self.delete_segment(id),
            (known, _) => Err(match methods(known) {
                Some(allow) => Refusal::method_not_allowed(allow),
                None => Refusal::no_such_path(path),
            }),
        }
    }
}

/// The methods of a path, if there is such a path.
fn methods(segments: &[&str]) -> Option<&'static str> {
    match segments {
        ["experiments" | "feature-flags" | "segments"] | ["feature-flags", _, "variations"] => {
            Some("GET, POST")
        }
        ["experiments" | "feature-flags" | "segments", _]
        | ["feature-flags", _, "variations", _] => Some("GET, PATCH, DELETE"),
        ["experiments", _, "status" | "validate" | "advance-ramp"]
        | ["feature-flags", _, "status"] => Some("POST"),
        _ => None,
    }
}
