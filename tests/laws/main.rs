//! What the documentation promises, one law or table a module.

#[path = "../common/mod.rs"]
mod common;

mod analysis;
mod annotations;
mod arms;
mod assignment;
mod batch;
mod brought;
mod chains;
mod chains_shown;
mod documents;
mod explain;
mod explain_shown;
mod freezing;
mod golden;
mod holdouts;
mod iterations;
mod journals;
mod keeper;
mod kept;
mod keys;
mod layers;
mod lifecycle;
mod lint;
mod metrics;
mod moves;
mod partition;
mod patches;
mod preview;
mod ramp_changes;
mod ramps;
mod readiness;
mod replay;
mod rollouts;
mod rules;
mod schedules;
mod settings;
mod sharing;
mod splits;
mod sql;
mod statistics;
mod switch;
mod trials;
mod users;
mod weights;
