//! `assign`: what subjects get from an experiment.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use variate::Decision;

use crate::shared::{Document, Fault, Lines, Output};
use crate::subjects::{Entry, SubjectOptions};

/// Say what each of many subjects gets from an experiment.
///
/// Reads ids, one a line, and prints for each, in the same order, a line with the id, the id of the
/// variation, which is empty when there is none, and the reason, with tabs between them. An id that
/// has a tab or a line feed itself can only be told apart with --json.
///
/// Lines end with a line feed, or a carriage return and a line feed, and are UTF-8. The input can be
/// of any length.
#[derive(Args)]
#[command(after_help = EXAMPLE)]
pub struct Assign {
    #[command(flatten)]
    document: Document,
    /// The experiment
    #[arg(long, value_name = "ID")]
    experiment: String,
    /// File to read instead of standard input
    #[arg(long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    ids: PathBuf,
    #[command(flatten)]
    subjects: SubjectOptions,
    /// Print an object a line: `id` and the members of the decision
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Example:
  variate assign --config experiments.json --experiment exp_signin < devices.txt";

#[derive(Serialize)]
struct Row<'a> {
    id: Option<&'a str>,
    #[serde(flatten)]
    decision: Decision<'a>,
}

impl Assign {
    pub fn run(&self) -> Result<(), Fault> {
        self.subjects.check()?;
        let snapshot = self.document.read()?;
        let id = &self.experiment;
        let (Some(experiment), Some(plan)) = (snapshot.experiment(id), snapshot.plan(id)) else {
            return Err(self.document.no_experiment(id));
        };
        let own_kind = experiment.subject_kind().as_str();
        let kind = self.subjects.common().kind(own_kind);
        let moment = self.document.moment();

        let mut lines = Lines::open(&self.ids)?;
        if io::stdout().is_terminal() {
            lines = lines.without_progress();
        }
        let mut output = Output::new();
        while let Some(line) = lines.next(&mut output)? {
            let entry = match self.subjects.understand(line) {
                Ok(entry) => entry,
                Err(fault) => return Err(lines.fault(fault)),
            };
            let subject = self.subjects.subject(kind, &entry).with_clock(&moment);
            let decision = plan.assign(&subject);
            let id = match entry {
                Entry::Id(id) => Some(id),
                Entry::Described(_) => subject.id(own_kind),
            };
            if self.json {
                output.json(&Row { id, decision })?;
            } else {
                let variation = decision.variation_id().map_or("", |id| id.as_str());
                output.row([id.unwrap_or_default(), variation, decision.reason().as_str()])?;
            }
        }
        output.flush()?;
        Ok(())
    }
}
