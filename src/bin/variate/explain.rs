//! `explain`: why subjects get what they get.

use std::io::Write;
use std::mem;

use clap::Args;
use serde::Serialize;
use variate::Explanation;

use crate::shared::{Document, Fault, Output};
use crate::subjects::{Asked, Entry};

/// Say why subjects get what they get from an experiment.
///
/// Prints for each subject every gate that was asked, in order: what went in and what came out. With
/// several subjects, an empty line stands between them.
#[derive(Args)]
#[command(after_help = EXAMPLE)]
pub struct Explain {
    #[command(flatten)]
    document: Document,
    /// The experiment, by its id or key
    #[arg(long, value_name = "ID")]
    experiment: String,
    #[command(flatten)]
    subjects: Asked,
    /// Print an object a line: `id`, the members of the decision, and `steps`
    #[arg(long)]
    json: bool,
    /// The subjects; if left out, read from standard input or from --ids, one a line
    #[arg(value_name = "ID", conflicts_with = "ids")]
    arguments: Vec<String>,
}

const EXAMPLE: &str = "\
Examples:
  variate explain --config experiments.json --experiment exp_signin device-42
  echo '{\"ids\": {\"device\": \"device-42\"}, \"attributes\": {\"age\": 36}}' |
      variate explain --config experiments.json --experiment exp_signin --input json";

#[derive(Serialize)]
struct Row<'a> {
    id: Option<&'a str>,
    #[serde(flatten)]
    explanation: Explanation<'a>,
}

impl Explain {
    pub fn run(&self) -> Result<(), Fault> {
        self.subjects.check()?;
        self.subjects.check_arguments(&self.arguments)?;
        let snapshot = self.document.read()?;
        let experiment = self.document.experiment(&snapshot, &self.experiment)?;
        let own_kind = experiment.subject_kind().as_str();
        let moment = self.document.moment();

        let mut output = Output::new();
        let mut first = true;
        let mut explain = |entry: &Entry<'_>, output: &mut Output| {
            let subject = self.subjects.subject(experiment, entry).with_clock(&moment);
            let explanation = snapshot.explain(experiment.id(), &subject);
            if self.json {
                return output.json(&Row { id: entry.id(own_kind), explanation });
            }
            let gap = if mem::take(&mut first) { "" } else { "\n" };
            let text = explanation.to_string();
            Ok(writeln!(output, "{gap}{}", text.trim_end())?)
        };
        for id in &self.arguments {
            explain(&Entry::Id(id), &mut output)?;
        }
        if self.arguments.is_empty() {
            let mut lines = self.subjects.lines()?.without_progress();
            while let Some(line) = lines.next(&mut output)? {
                let entry = match self.subjects.understand(line) {
                    Ok(entry) => entry,
                    Err(fault) => return Err(lines.fault(fault)),
                };
                explain(&entry, &mut output)?;
            }
        }
        Ok(output.flush()?)
    }
}
