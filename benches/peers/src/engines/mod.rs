//! The engines, each by its leanest way to a decision.

pub mod eppo;
pub mod featurevisor;
pub mod flagsmith;
pub mod growthbook;
pub mod launchdarkly;
pub mod optimizely;
#[cfg(feature = "statsig")]
pub mod statsig;
pub mod unleash;
pub mod variate;

use std::hint::black_box;

use crate::world::{Facts, World};

/// An engine that is compared.
///
/// Subjects are made before anything is measured, as far as the engine lets them be kept.
pub trait Engine: Sized + 'static {
    const NAME: &'static str;

    /// Its crate.
    const CRATE: &'static str;

    /// Whether it can assign a subject to one experiment without all others.
    const ASSIGNS_ONE: bool = true;

    type Subject: 'static;

    type Decision<'a>;

    /// A world in the engine's own format.
    fn text(world: &World) -> String;

    fn load(text: &str) -> Self;

    fn subject(&'static self, id: &'static str, facts: Option<&'static Facts>) -> Self::Subject;

    fn assign<'a>(&'a self, key: &'a str, subject: &'a Self::Subject) -> Self::Decision<'a>;

    fn arm(&self, decision: &Self::Decision<'_>) -> Option<usize>;

    /// Assigns a subject to every experiment.
    fn assign_all(&self, keys: &[String], subject: &Self::Subject) {
        for key in keys {
            black_box(&self.assign(key, subject));
        }
    }

    /// The text of one experiment's edit; of the whole world where the engine takes nothing less.
    fn edit(world: &World, number: usize) -> String {
        Self::text(&world.edited(number))
    }

    /// The text of an edit that takes it back.
    fn edit_back(world: &World, _number: usize) -> String {
        Self::text(world)
    }

    /// Makes an edit visible to whoever asks next.
    fn update(&mut self, edit: &str) {
        *self = Self::load(edit);
    }
}

/// What is done with every engine.
pub trait Visitor {
    fn visit<E: Engine>(&mut self);
}

/// Has every engine visited, this crate first.
pub fn each(visitor: &mut impl Visitor) {
    visitor.visit::<variate::Variate>();
    visitor.visit::<eppo::Eppo>();
    visitor.visit::<featurevisor::Featurevisor>();
    visitor.visit::<flagsmith::Flagsmith>();
    visitor.visit::<growthbook::GrowthBook>();
    visitor.visit::<launchdarkly::LaunchDarkly>();
    visitor.visit::<optimizely::Optimizely>();
    #[cfg(feature = "statsig")]
    visitor.visit::<statsig::Statsig>();
    visitor.visit::<unleash::Unleash>();
}
