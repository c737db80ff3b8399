//! Subjects, as the command line and lines of input describe them.

use std::mem;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use variate::{Experiment, Snapshot, Subject};

use crate::shared::{Fault, Lines, experiment};
use crate::strict::{Members, Strict, WholeObject};
use crate::target::Target;

/// The subjects of whom one experiment or chain is asked.
#[derive(Args)]
pub struct Asked {
    /// File to read instead of standard input
    #[arg(long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    ids: PathBuf,
    #[command(flatten)]
    options: SubjectOptions,
    /// Variation that every subject is forced into, as by a tester's link; passed over if it is no
    /// arm of the experiment
    #[arg(long, value_name = "VARIATION", conflicts_with = "chain")]
    forced: Option<String>,
    /// Variation that every subject is attached to by hand; passed over if it is no arm of the
    /// experiment
    #[arg(long, value_name = "VARIATION", conflicts_with = "chain")]
    attached: Option<String>,
    /// Variation that every subject once got, as from a cookie; passed over if it is no arm of the
    /// experiment
    #[arg(long, value_name = "VARIATION", conflicts_with = "chain")]
    kept: Option<String>,
}

impl Asked {
    pub fn check(&self) -> Result<(), Fault> {
        let brought = [&self.forced, &self.attached, &self.kept];
        if self.options.input == Form::Json && brought.into_iter().any(Option::is_some) {
            let message =
                "--input json: the lines say what is brought, not --forced, --attached and --kept";
            return Err(Fault::Usage(message.to_owned()));
        }
        self.options.check()
    }

    /// Refuses ids that are arguments where lines of input describe the subjects.
    pub fn check_arguments(&self, ids: &[String]) -> Result<(), Fault> {
        match ids.first() {
            Some(id) if self.options.input == Form::Json => Err(Fault::Usage(format!(
                "--input json: the lines say the ids, not the argument {id:?}"
            ))),
            _ => Ok(()),
        }
    }

    pub fn lines(&self) -> Result<Lines, Fault> {
        Lines::open(&self.ids)
    }

    /// Refuses ids whose kind nobody says, where there is more than one.
    pub fn check_kind(&self, target: &Target<'_>) -> Result<(), Fault> {
        let is_open = self.options.input == Form::Id && self.options.common.kind.is_none();
        match target.kinds() {
            kinds @ [_, _, ..] if is_open => Err(Fault::Usage(format!(
                "--kind is missing: the experiments of the chain go by {}",
                kinds.join(" and ")
            ))),
            _ => Ok(()),
        }
    }

    /// The subject that a line is, of whom is asked about experiments of this snapshot.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn understand<'l>(&self, line: &'l str, snapshot: &Snapshot) -> Result<Entry<'l>, String> {
        self.options.understand(line, |id| experiment(snapshot, id))
    }

    /// What there is to say when the ids are of another kind than an experiment goes by.
    pub fn other_kinds(&self, target: &Target<'_>) -> Vec<String> {
        let other = |experiment: &&Experiment| {
            let own = experiment.subject_kind().as_str();
            let kind = self.options.common.kind(own);
            (kind != own).then(|| format!("--kind {kind}: {} goes by {own}", experiment.id()))
        };
        target.experiments().iter().filter_map(other).collect()
    }

    /// The subject of an entry, with what it brings to the experiment.
    pub fn subject<'a>(&'a self, target: &Target<'a>, entry: &'a Entry<'_>) -> Subject<'a> {
        let kind = self.options.common.kind(target.kinds().first().copied().unwrap_or_default());
        let mut subject = self.options.subject(kind, entry);
        let Some(id) = target.experiment().map(|own| own.id().as_str()) else { return subject };
        if let Some(variation) = &self.forced {
            subject = subject.forced(id, variation);
        }
        if let Some(variation) = &self.attached {
            subject = subject.attached(id, variation);
        }
        if let Some(variation) = &self.kept {
            subject = subject.kept(id, variation);
        }
        subject
    }
}

/// What a line of input is, and what holds for all of them.
#[derive(Args)]
pub struct SubjectOptions {
    /// What a line of input is
    #[arg(long, value_enum, default_value_t = Form::Id)]
    input: Form,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Form {
    /// An id as it stands; an empty line is an empty id
    Id,
    /// An object: `{"ids": {"device": "d-1"}, "attributes": {"country": "DE"}}`; the attributes, of
    /// any type, can be left out. What the subject brings, by the id or key of the experiment, can be
    /// added: `"forced": {"exp_a": "var_a"}`, and in the same way `"attached"` and `"kept"`. Goes
    /// without the options that say these things of all ids
    Json,
}

/// What holds for all subjects that are given by id alone.
#[derive(Args)]
pub struct Common {
    /// Kind of the ids; if left out, the one that the experiment goes by
    #[arg(long)]
    kind: Option<String>,
    /// Attribute of every subject, a text; for several, several times
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = pair)]
    attributes: Vec<(String, String)>,
}

/// Text on the command line for a name and what belongs to it.
pub fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be a name, an equals sign and a value"),
    }
}

/// Refuses a name that is given twice.
pub fn check_names(pairs: &[(String, String)]) -> Result<(), Fault> {
    let twice = |(index, (name, _)): &(usize, &(String, String))| {
        pairs.iter().take(*index).any(|(earlier, _)| earlier == name)
    };
    match pairs.iter().enumerate().find(twice) {
        Some((_, (name, _))) => Err(Fault::Usage(format!("--attribute {name}: is given twice"))),
        None => Ok(()),
    }
}

impl Common {
    pub fn check(&self) -> Result<(), Fault> {
        check_names(&self.attributes)
    }

    /// The kind of the ids, for an experiment that goes by this one.
    pub fn kind<'a>(&'a self, own: &'a str) -> &'a str {
        self.kind.as_deref().unwrap_or(own)
    }

    pub fn subject<'a>(&'a self, kind: &'a str, id: &'a str) -> Subject<'a> {
        Subject::of(kind, id).with_attributes(&self.attributes)
    }
}

/// A line of input that has been understood.
pub enum Entry<'l> {
    Id(&'l str),
    Described(Described),
}

impl Entry<'_> {
    /// The id that an answer names: what the line is, or the one of the first of these kinds; `None`
    /// if all are missing or empty.
    pub fn id(&self, kinds: &[&str]) -> Option<&str> {
        match self {
            Self::Id(id) => Some(id),
            Self::Described(described) => {
                let mut ids = kinds.iter().filter_map(|kind| described.ids.0.get(*kind));
                ids.find(|id| !id.is_empty()).map(String::as_str)
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    ids: Members<String>,
    #[serde(default)]
    attributes: Members<Strict>,
    /// The variation that the subject is forced into in each experiment.
    #[serde(default)]
    forced: Members<String>,
    /// The variation that the subject is attached to in each experiment.
    #[serde(default)]
    attached: Members<String>,
    /// The variation that the subject once got in each experiment.
    #[serde(default)]
    kept: Members<String>,
}

impl Described {
    /// Names the experiments that something is brought to by their ids.
    ///
    /// # Errors
    /// When there is no such experiment, or one is named by its id and its key.
    fn resolve<'s>(&mut self, find: impl Fn(&str) -> Option<&'s Experiment>) -> Result<(), String> {
        let brought = [
            ("forced", &mut self.forced.0),
            ("attached", &mut self.attached.0),
            ("kept", &mut self.kept.0),
        ];
        for (member, variations) in brought {
            for (name, variation) in mem::take(variations) {
                let Some(experiment) = find(&name) else {
                    return Err(format!("{member}: there is no experiment {name:?}"));
                };
                let id = experiment.id().to_string();
                if variations.insert(id, variation).is_some() {
                    return Err(format!("{member}: {} stands there twice", experiment.id()));
                }
            }
        }
        Ok(())
    }
}

impl SubjectOptions {
    pub fn check(&self) -> Result<(), Fault> {
        if self.input == Form::Json
            && (self.common.kind.is_some() || !self.common.attributes.is_empty())
        {
            let message =
                "--input json: the lines say kinds and attributes, not --kind and --attribute";
            return Err(Fault::Usage(message.to_owned()));
        }
        self.common.check()
    }

    pub fn common(&self) -> &Common {
        &self.common
    }

    /// The subject that a line is; `find` finds experiments by id or key.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn understand<'l, 's>(
        &self,
        line: &'l str,
        find: impl Fn(&str) -> Option<&'s Experiment>,
    ) -> Result<Entry<'l>, String> {
        match self.input {
            Form::Id => Ok(Entry::Id(line)),
            Form::Json => {
                let WholeObject::<Described>(mut described) =
                    serde_json::from_str(line).map_err(|error| without_line(&error))?;
                described.resolve(find)?;
                Ok(Entry::Described(described))
            }
        }
    }

    /// The subject of a line, whose id is of this kind if the line does not say.
    pub fn subject<'a>(&'a self, kind: &'a str, entry: &'a Entry<'_>) -> Subject<'a> {
        match entry {
            Entry::Id(id) => self.common.subject(kind, id),
            Entry::Described(Described { ids, attributes, forced, attached, kept }) => {
                let mut subject = Subject::new("").with_attributes(&attributes.0);
                for (kind, id) in &ids.0 {
                    subject = subject.with_id(kind, id);
                }
                for (experiment, variation) in &forced.0 {
                    subject = subject.forced(experiment, variation);
                }
                for (experiment, variation) in &attached.0 {
                    subject = subject.attached(experiment, variation);
                }
                for (experiment, variation) in &kept.0 {
                    subject = subject.kept(experiment, variation);
                }
                subject
            }
        }
    }
}

/// The message of an error in JSON that is one line, whose number would always be 1.
fn without_line(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match message.strip_suffix(&place) {
        Some(message) => format!("column {}: {message}", error.column()),
        None => message,
    }
}
