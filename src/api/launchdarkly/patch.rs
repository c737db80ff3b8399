//! Semantic patches: lists of instructions, carried out in order, all of them or none.

use std::sync::Arc;

use super::Experimentation;
use super::answer::Refusal;
use crate::api::call::Call;
use crate::change::{Change, Commit, Transaction};
use crate::error::Error;
use crate::id::SystemEntropy;
use crate::json::{Cursor, Object};
use crate::snapshot::Snapshot;

/// The body of a semantic patch.
pub(super) struct SemanticPatch<I> {
    comment: Option<String>,
    pub(super) environment: Option<String>,
    instructions: Vec<Instruction<I>>,
}

enum Instruction<I> {
    Known(I),
    /// What nobody knows, by its kind.
    Unknown(String),
}

impl<I> SemanticPatch<I> {
    /// Reads a patch whose instructions are of these kinds, each by the rule for its kind.
    pub(super) fn read(
        call: Call<'_>,
        kinds: &'static [&'static str],
        rule: impl Fn(&str, &Object<'_>) -> Result<I, Error>,
    ) -> Result<Self, Refusal> {
        let read = call.read(|cursor| {
            if cursor.is_array() {
                return Ok(None);
            }
            Self::read_object(cursor, kinds, rule).map(Some)
        })?;
        let Some(patch) = read else {
            let reason = "must be an object with instructions, and is no JSON patch";
            return Err(Refusal::not_understood("", reason));
        };
        if patch.instructions.is_empty() {
            return Err(Refusal::invalid("instructions", "must have at least one instruction"));
        }
        for (index, instruction) in patch.instructions.iter().enumerate() {
            if let Instruction::Unknown(kind) = instruction {
                let attribute = format!("instructions[{index}].kind");
                let reason = format!("must be one of {}; got {kind:?}", kinds.join(", "));
                return Err(Refusal::not_understood(attribute, reason));
            }
        }
        Ok(patch)
    }

    fn read_object(
        cursor: Cursor<'_>,
        kinds: &[&str],
        rule: impl Fn(&str, &Object<'_>) -> Result<I, Error>,
    ) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        let instructions = object.required("instructions")?.array(|item| {
            let object = item.open_object()?;
            let kind: String = object.read("kind")?;
            if !kinds.contains(&kind.as_str()) {
                return Ok(Instruction::Unknown(kind));
            }
            rule(&kind, &object).map(Instruction::Known)
        })?;
        Ok(Self {
            comment: super::input::maybe(&object, "comment")?,
            environment: super::input::maybe(&object, "environmentKey")?,
            instructions,
        })
    }

    /// The instructions in order.
    pub(super) fn instructions(&self) -> impl Iterator<Item = &I> {
        self.instructions.iter().filter_map(|instruction| match instruction {
            Instruction::Known(known) => Some(known),
            Instruction::Unknown(_) => None,
        })
    }
}

impl Experimentation {
    /// Commits what the instructions come to: each is turned into changes of what those before it
    /// have left, and refused by its index. The notes of instructions stand in the event, after the
    /// comment.
    pub(super) fn carry_out<'i, I: 'i>(
        &self,
        patch: &'i SemanticPatch<I>,
        note: impl Fn(&'i I) -> Option<&'i str>,
        step: impl Fn(&Snapshot, &I) -> Result<Vec<Change>, Refusal>,
    ) -> Result<Commit, Refusal> {
        let words =
            patch.comment.as_deref().into_iter().chain(patch.instructions().filter_map(note));
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        self.engine.commit_with(|snapshot| {
            let mut next = Arc::new(snapshot.clone());
            let mut changes = Vec::new();
            for (index, instruction) in patch.instructions().enumerate() {
                let here = |refusal: Refusal| refusal.within(&format!("instructions[{index}]"));
                let made = step(&next, instruction).map_err(here)?;
                // A trial: what is random is drawn again by the engine.
                let trial = next.apply(made.clone(), next.updated_at(), &mut SystemEntropy);
                next = trial.map_err(|error| here(error.into()))?.snapshot;
                changes.extend(made);
            }
            let transaction = Transaction::from(changes);
            Ok::<_, Refusal>(match words.is_empty() {
                true => transaction,
                false => transaction.comment(words.join("\n")),
            })
        })
    }
}
