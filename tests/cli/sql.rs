//! An experiment as an expression.

use variate::{Change, Dialect, ExperimentPatch, SqlColumns, Status};

use super::common::{brought_to, ok, p, world};
use super::{Directory, run, running};

#[test]
fn the_expression_is_the_library_s() {
    let (directory, snapshot) = (Directory::new(), running());
    let config = directory.config(&snapshot);
    let attributes = ["--attribute", "country=land", "--attribute", "platform=system"];
    for dialect in Dialect::ALL {
        let sql = |experiment, more: &[&str]| {
            let sql = ["sql", "--config", &config, "--dialect", dialect.as_str()];
            let on = ["--experiment", experiment, "--id-column", "device_id"];
            run(&[&sql[..], &on, more].concat(), b"")
        };
        let columns = SqlColumns::new("device_id");
        let expected = snapshot.sql("exp_weights", *dialect, &columns).unwrap();
        assert_eq!(sql("exp_weights", &[]).done(), format!("{expected}\n"));

        let columns = columns.attribute("country", "land").attribute("platform", "system");
        let expected = snapshot.sql("exp_segments", *dialect, &columns).unwrap();
        assert_eq!(sql("exp_segments", &attributes).done(), format!("{expected}\n"));
        assert_eq!(sql("exp_segments", &attributes[..2]).refused(3, "exp_segments: "), "");
        assert_eq!(sql("exp_draft", &[]).refused(3, "exp_draft: "), "");
        assert_eq!(sql("exp_other", &[]).refused(3, "there is no experiment \"exp_other\""), "");
        sql("exp_weights", &["--attribute", "a=b", "--attribute", "a=c"])
            .refused(2, "--attribute a");
        sql("exp_weights", &["--at", "noon"]).refused(2, "RFC 3339");
    }
    let sql = ["sql", "--config", &config, "--experiment", "exp_weights", "--id-column", "a"];
    run(&[&sql[..], &["--dialect", "sqlite"]].concat(), b"").refused(2, "clickhouse");
}

#[test]
fn a_schedule_is_taken_at_a_moment() {
    let directory = Directory::new();
    let start = ExperimentPatch::new().starts_at(p("2026-11-21T12:00:00Z"));
    let world = ok(&world(), Change::patch_experiment(&p("exp_weights"), start));
    let snapshot = brought_to(&world, "exp_weights", Status::Active);
    let config = directory.config(&snapshot);
    let sql = |moment: &str| {
        let sql = ["sql", "--config", &config, "--experiment", "exp_weights"];
        let of = ["--dialect", "trino", "--id-column", "id", "--at", moment];
        run(&[&sql[..], &of].concat(), b"")
    };
    let columns = SqlColumns::new("id").at(p("2026-11-22T12:00:00Z"));
    let expected = snapshot.sql("exp_weights", Dialect::Trino, &columns).unwrap();
    assert_eq!(sql("2026-11-22T12:00:00Z").done(), format!("{expected}\n"));
    assert_eq!(sql("2026-11-20T12:00:00Z").refused(3, "variate: exp_weights: "), "");
}
