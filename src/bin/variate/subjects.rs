//! Subjects, as the command line and lines of input describe them.

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::Value;
use variate::Subject;

use crate::shared::Fault;
use crate::strict::{Members, WholeObject};

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
    /// An object: {"ids": {"device": "d-1"}, "attributes": {"country": "DE"}}; the attributes, of any
    /// type, can be left out. Goes without --kind and --attribute
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    ids: Members<String>,
    #[serde(default)]
    attributes: Members<Value>,
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

    /// # Errors
    /// What is wrong with the line.
    pub fn understand<'l>(&self, line: &'l str) -> Result<Entry<'l>, String> {
        match self.input {
            Form::Id => Ok(Entry::Id(line)),
            Form::Json => match serde_json::from_str(line) {
                Ok(WholeObject(described)) => Ok(Entry::Described(described)),
                Err(error) => Err(without_line(&error)),
            },
        }
    }

    /// The subject of a line, whose id is of this kind if the line does not say.
    pub fn subject<'a>(&'a self, kind: &'a str, entry: &'a Entry<'_>) -> Subject<'a> {
        match entry {
            Entry::Id(id) => self.common.subject(kind, id),
            Entry::Described(Described { ids, attributes }) => {
                let subject = Subject::new("").with_attributes(&attributes.0);
                ids.0.iter().fold(subject, |subject, (kind, id)| subject.with_id(kind, id))
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
