//! `assign`: what subjects get from an experiment.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde::Serialize;
use variate::Decision;

use crate::shared::{Document, Fault, Output};
use crate::subjects::Asked;

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
    /// The experiment, by its id or key
    #[arg(long, value_name = "ID")]
    experiment: String,
    #[command(flatten)]
    subjects: Asked,
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
        let experiment = self.document.experiment(&snapshot, &self.experiment)?;
        let plan = snapshot.plan(experiment.id());
        let plan = plan.ok_or_else(|| self.document.no_experiment(&self.experiment))?;
        let own_kind = experiment.subject_kind().as_str();
        let moment = self.document.moment();

        let mut lines = self.subjects.lines()?;
        if let Some(message) = self.subjects.other_kind(experiment) {
            let _ = writeln!(io::stderr(), "variate: {message}");
        }
        if io::stdout().is_terminal() {
            lines = lines.without_progress();
        }
        let mut output = Output::new();
        while let Some(line) = lines.next(&mut output)? {
            let entry = match self.subjects.understand(line) {
                Ok(entry) => entry,
                Err(fault) => return Err(lines.fault(fault)),
            };
            let subject = self.subjects.subject(experiment, &entry).with_clock(&moment);
            let decision = plan.assign(&subject);
            let id = entry.id(own_kind);
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
