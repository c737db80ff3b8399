//! `assign`: what subjects get from an experiment or a chain.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde::Serialize;
use variate::Decision;

use crate::shared::{Document, Fault, Output};
use crate::subjects::Asked;
use crate::target::Named;

/// Say what each of many subjects gets from an experiment, or from the experiments of a chain.
///
/// Reads ids, one a line, and prints for each, in the same order, a line with the id, the id of the
/// variation, which is empty when there is none, and the reason, with tabs between them; with --chain
/// also the id of the experiment that has the subject, which is empty when none has it. An id that
/// has a tab or a line feed itself can only be told apart with --json.
///
/// Lines end with a line feed, or a carriage return and a line feed, and are UTF-8. The input can be
/// of any length.
#[derive(Args)]
#[command(after_help = EXAMPLE)]
pub struct Assign {
    #[command(flatten)]
    document: Document,
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    subjects: Asked,
    /// Print an object a line: `id` and the members of the decision
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  variate assign --config experiments.json --experiment exp_signin < devices.txt
  variate assign --config experiments.json --chain paywall < users.txt";

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
        let target = self.named.find(&self.document, &snapshot)?;
        self.subjects.check_kind(&target)?;
        let moment = self.document.moment();

        let mut lines = self.subjects.lines()?;
        for message in self.subjects.other_kinds(&target) {
            let _ = writeln!(io::stderr(), "variate: {message}");
        }
        if io::stdout().is_terminal() {
            lines = lines.without_progress();
        }
        let mut output = Output::new();
        while let Some(line) = lines.next(&mut output)? {
            let entry = match self.subjects.understand(line, &snapshot) {
                Ok(entry) => entry,
                Err(fault) => return Err(lines.fault(fault)),
            };
            let subject = self.subjects.subject(&target, &entry).with_clock(&moment);
            let decision = target.assign(&subject);
            let id = entry.id(target.kinds());
            if self.json {
                output.json(&Row { id, decision })?;
                continue;
            }
            let id = id.unwrap_or_default();
            let variation = decision.variation_id().map_or("", |id| id.as_str());
            let reason = decision.reason().as_str();
            if target.experiment().is_some() {
                output.row([id, variation, reason])?;
            } else {
                let experiment = decision.experiment_id().map_or("", |id| id.as_str());
                output.row([id, variation, reason, experiment])?;
            }
        }
        output.flush()?;
        Ok(())
    }
}
