//! `sql`: an experiment's assignment as an expression.

use std::io::Write;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use variate::{Dialect, SqlColumns};

use crate::shared::{Document, Fault, Output};
use crate::subjects::{check_names, pair};

/// Print an SQL expression for what a subject gets from an experiment.
///
/// It gives for every row the id of the variation, or NULL when the subject has no part in the
/// experiment, and can stand in a SELECT list or a WHERE clause. It is refused when the experiment
/// is not active, or asks for something that the dialect has no exact words for.
#[derive(Args)]
#[command(after_help = EXAMPLE)]
pub struct Sql {
    #[command(flatten)]
    document: Document,
    /// The experiment, by its id or key
    #[arg(long, value_name = "ID")]
    experiment: String,
    /// What the expression is written for
    #[arg(long, value_parser = dialects())]
    dialect: Dialect,
    /// Column of the subject's id, of the kind that the experiment goes by
    #[arg(long, value_name = "NAME")]
    id_column: String,
    /// Column of an attribute that segments ask for; for several, several times
    #[arg(long = "attribute", value_name = "NAME=COLUMN", value_parser = pair)]
    attributes: Vec<(String, String)>,
}

const EXAMPLE: &str = "\
Example:
  variate sql --config experiments.json --experiment exp_signin --dialect trino \\
      --id-column device_id";

fn dialects() -> impl TypedValueParser<Value = Dialect> {
    let named =
        |name: String| Dialect::ALL.iter().find(|dialect| dialect.as_str() == name).copied();
    PossibleValuesParser::new(Dialect::ALL.iter().map(|dialect| dialect.as_str()))
        .try_map(move |name| named(name).ok_or("is none of them"))
}

impl Sql {
    pub fn run(&self) -> Result<(), Fault> {
        check_names(&self.attributes)?;
        let snapshot = self.document.read()?;
        let experiment = self.document.experiment(&snapshot, &self.experiment)?;
        let columns = SqlColumns::new(&self.id_column).at(self.document.moment());
        let columns = self
            .attributes
            .iter()
            .fold(columns, |columns, (name, column)| columns.attribute(name, column));
        let expression = snapshot
            .sql(experiment.id(), self.dialect, &columns)
            .map_err(|error| Fault::input(experiment.id(), error))?;
        let mut output = Output::new();
        writeln!(output, "{expression}")?;
        Ok(output.flush()?)
    }
}
