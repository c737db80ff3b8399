//! `explain`: why subjects get what they get.

use std::io::Write;
use std::mem;

use clap::Args;
use serde::Serialize;
use variate::Explanation;

use crate::shared::{Document, Fault, Output};
use crate::subjects::{Asked, Entry};
use crate::target::Named;

/// Say why subjects get what they get from an experiment, or from the experiments of a chain.
///
/// Prints for each subject every gate that was asked, in order: what went in and what came out; with
/// --chain of each experiment, in the order of the chain, under its id. With several subjects, an
/// empty line stands between them.
#[derive(Args)]
#[command(after_help = EXAMPLE)]
pub struct Explain {
    #[command(flatten)]
    document: Document,
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    subjects: Asked,
    /// Print an object a line: `id`, the members of the decision, and `steps`; with --chain a list of
    /// them a line
    #[arg(long)]
    json: bool,
    /// The subjects; if left out, read from standard input or from --ids, one a line
    #[arg(value_name = "ID", conflicts_with = "ids")]
    arguments: Vec<String>,
}

const EXAMPLE: &str = "\
Examples:
  variate explain --config experiments.json --experiment exp_signin device-42
  variate explain --config experiments.json --chain paywall user-42
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
        let target = self.named.find(&self.document, &snapshot)?;
        self.subjects.check_kind(&target)?;
        let moment = self.document.moment();

        let mut output = Output::new();
        let mut first = true;
        let mut explain = |entry: &Entry<'_>, output: &mut Output| {
            let subject = self.subjects.subject(&target, entry).with_clock(&moment);
            let explanations = target.explain(&subject);
            if self.json {
                let id = entry.id(target.kinds());
                let row = |explanation| Row { id, explanation };
                let rows: Vec<Row<'_>> = explanations.into_iter().map(row).collect();
                return match (target.experiment(), &*rows) {
                    (Some(_), [row]) => output.json(row),
                    _ => output.json(&rows),
                };
            }
            if !mem::take(&mut first) {
                writeln!(output)?;
            }
            if explanations.is_empty() {
                writeln!(output, "no experiment of the chain runs")?;
            }
            for explanation in explanations {
                writeln!(output, "{}", explanation.to_string().trim_end())?;
            }
            Ok(())
        };
        for id in &self.arguments {
            explain(&Entry::Id(id), &mut output)?;
        }
        if self.arguments.is_empty() {
            let mut lines = self.subjects.lines()?.without_progress();
            while let Some(line) = lines.next(&mut output)? {
                let entry = match self.subjects.understand(line, &snapshot) {
                    Ok(entry) => entry,
                    Err(fault) => return Err(lines.fault(fault)),
                };
                explain(&entry, &mut output)?;
            }
        }
        Ok(output.flush()?)
    }
}
