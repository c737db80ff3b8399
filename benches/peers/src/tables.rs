//! The results as Markdown.

use std::fmt::Write;

use crate::results::{Results, spell, spell_ratio};
use crate::workloads::WORKLOADS;

/// The whole report.
pub fn report(results: &Results) -> String {
    let versions: Vec<String> =
        results.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut report = format!(
        "<!-- Made from results.json; `cargo run --release -- --render` makes it again. -->\n\n\
         Medians on {}, {}, {}.\n\nVersions: {}.\n\n",
        results.machine,
        results.date,
        results.rustc,
        versions.join(", "),
    );
    report += &compact(results);
    report += "\nAll engines, with how many times as long as variate each takes:\n\n";
    report += &wide(results);
    report += "\nWhat is no engine:\n\n";
    report += &aids(results);
    report += &memory(results);
    report += &readers(results);
    report
}

/// What fits into a README: this crate, the floor and the best peer.
pub fn compact(results: &Results) -> String {
    let mut rows = Vec::new();
    for workload in WORKLOADS {
        let Some(own) = results.ns(workload.name, "variate") else { continue };
        let floor = results.ns(workload.name, "floor").map(spell);
        let best = results.best_peer(workload.name);
        rows.push([
            workload.words.to_owned(),
            spell(own),
            floor.unwrap_or_default(),
            best.map(|(name, ns)| format!("{} ({name})", spell(ns))).unwrap_or_default(),
            best.map(|(_, ns)| spell_ratio(ns / own)).unwrap_or_default(),
        ]);
    }
    table(&["", "variate", "floor", "best peer", "ratio"].map(str::to_owned), &rows)
}

/// Every engine.
pub fn wide(results: &Results) -> String {
    let mut head = vec![String::new(), "variate".to_owned()];
    head.extend(results.peers().map(str::to_owned));
    let mut rows = Vec::new();
    for workload in WORKLOADS {
        let Some(own) = results.ns(workload.name, "variate") else { continue };
        if results.best_peer(workload.name).is_none() {
            continue;
        }
        let mut row = vec![workload.words.to_owned(), spell(own)];
        row.extend(results.peers().map(|peer| match results.ns(workload.name, peer) {
            Some(ns) => format!("{} ({})", spell(ns), spell_ratio(ns / own)),
            None => "–".to_owned(),
        }));
        rows.push(row);
    }
    table(&head, &rows)
}

/// What is measured in order to compare with it.
fn aids(results: &Results) -> String {
    let mut rows = Vec::new();
    for (aid, words) in [
        ("map", "floor and a look-up in `std::collections::HashMap`"),
        ("hashbrown_map", "floor and a look-up in `hashbrown::HashMap`"),
        ("serde_json_value", "variate's text into `serde_json::Value`"),
    ] {
        for workload in WORKLOADS {
            if let Some(ns) = results.ns(workload.name, aid) {
                let own = results.ns(workload.name, "variate").unwrap_or(ns);
                rows.push([
                    workload.words.to_owned(),
                    words.to_owned(),
                    spell(ns),
                    spell_ratio(ns / own),
                ]);
            }
        }
    }
    table(&["", "beside variate", "time", "ratio to variate"].map(str::to_owned), &rows)
}

fn memory(results: &Results) -> String {
    let memory = &results.memory;
    let mut names: Vec<&String> = memory.live_bytes.keys().collect();
    names.sort_by_key(|name| (!name.starts_with("variate"), *name));
    let number = |number: Option<&f64>| number.map(|n| format!("{n:.0}")).unwrap_or_default();
    let rows: Vec<[String; 3]> = names
        .into_iter()
        .map(|name| {
            let (allocations, bytes) = (memory.allocations.get(name), memory.live_bytes.get(name));
            [name.clone(), number(allocations), number(bytes)]
        })
        .collect();
    let head = ["", "allocations by assignment", "live bytes by experiment, of 10,000"];
    format!("\n{}", table(&head.map(str::to_owned), &rows))
}

fn readers(results: &Results) -> String {
    let Some(readers) = &results.readers else { return String::new() };
    format!(
        "\nTwo threads that read while {:.0} commits land each second, each beside one that reads \
         alone without a writer: {:.2} of its assignments by second of processor time, {:.2} by \
         second of the clock; {:.2} of what each of two that read without a writer does by second of \
         processor time.\n",
        readers.commits_per_second,
        readers.ratio_per_cpu_second,
        readers.ratio_per_wall_second,
        readers.ratio_to_two_per_cpu_second,
    )
}

fn table(head: &[String], rows: &[impl AsRef<[String]>]) -> String {
    let mut table = String::new();
    let mut line = |cells: &[String]| {
        let _ = writeln!(table, "| {} |", cells.join(" | "));
    };
    line(head);
    let rule = |(at, _)| if at == 0 { "---".to_owned() } else { "---:".to_owned() };
    line(&head.iter().enumerate().map(rule).collect::<Vec<_>>());
    for row in rows {
        line(row.as_ref());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_results_give_a_fixed_table() {
        let mut results = Results::default();
        for name in ["variate", "slow", "fast"] {
            results.versions.insert(name.to_owned(), "1.0.0".to_owned());
        }
        let medians = [("variate", 10.0), ("floor", 4.5), ("slow", 4_000.0), ("fast", 25.0)];
        let medians = medians.map(|(name, ns)| (name.to_owned(), ns));
        results.workloads.insert("W1".to_owned(), medians.into());
        assert_eq!(
            compact(&results),
            "|  | variate | floor | best peer | ratio |\n\
             | --- | ---: | ---: | ---: | ---: |\n\
             | assign: 50/50, by key | 10 ns | 4.5 ns | 25 ns (fast) | 2.5× |\n"
        );
        assert_eq!(
            wide(&results),
            "|  | variate | fast | slow |\n\
             | --- | ---: | ---: | ---: |\n\
             | assign: 50/50, by key | 10 ns | 25 ns (2.5×) | 4.00 µs (400×) |\n"
        );
        let json = serde_json::to_string(&results).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&json).unwrap(), results);
    }
}
