//! `explain`: why subjects get what they get.

use std::io::Write;

use clap::Args;
use serde::Serialize;
use variate::Explanation;

use crate::shared::{Document, Fault, Lines, Output};
use crate::subjects::Common;

/// Say why subjects get what they get from an experiment.
///
/// Prints for each id every gate that was asked, in order: what went in and what came out. With
/// several ids, an empty line stands between them.
#[derive(Args)]
#[command(after_help = EXAMPLE)]
pub struct Explain {
    #[command(flatten)]
    document: Document,
    /// The experiment
    #[arg(long, value_name = "ID")]
    experiment: String,
    #[command(flatten)]
    common: Common,
    /// Print an object a line: `id`, the members of the decision, and `steps`
    #[arg(long)]
    json: bool,
    /// The subjects; if left out, read from standard input, one a line
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

const EXAMPLE: &str = "\
Example:
  variate explain --config experiments.json --experiment exp_signin device-42";

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    #[serde(flatten)]
    explanation: Explanation<'a>,
}

impl Explain {
    pub fn run(&self) -> Result<(), Fault> {
        self.common.check()?;
        let snapshot = self.document.read()?;
        let experiment = self.document.experiment(&snapshot, &self.experiment)?;
        let kind = self.common.kind(experiment.subject_kind().as_str());
        let moment = self.document.moment();

        let mut output = Output::new();
        let mut first = true;
        let mut explain = |id: &str, output: &mut Output| {
            let subject = self.common.subject(kind, id).with_clock(&moment);
            let explanation = snapshot.explain(experiment.id(), &subject);
            if self.json {
                return output.json(&Row { id, explanation });
            }
            let gap = if std::mem::take(&mut first) { "" } else { "\n" };
            Ok(write!(output, "{gap}{explanation}")?)
        };
        if self.ids.is_empty() {
            let mut lines = Lines::standard_input().without_progress();
            while let Some(id) = lines.next(&mut output)? {
                explain(id, &mut output)?;
            }
        }
        for id in &self.ids {
            explain(id, &mut output)?;
        }
        Ok(output.flush()?)
    }
}
