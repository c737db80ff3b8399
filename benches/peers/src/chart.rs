//! The results as a picture: bars on a logarithmic scale, a group for each workload.

use std::fmt::Write;

use crate::results::{Results, spell};
use crate::workloads::WORKLOADS;

/// The workloads that are drawn.
const DRAWN: [&str; 4] = ["W1", "W2", "W3_tenth", "W4_10000"];

const WIDTH: f64 = 860.0;
/// Where bars begin, and where the longest may end, with room for its number.
const LEFT: f64 = 130.0;
const RIGHT: f64 = 785.0;
const TOP: f64 = 64.0;
const BAR: f64 = 15.0;
const STEP: f64 = 19.0;
const HEADING: f64 = 26.0;
const GAP: f64 = 14.0;

/// A picture for a README, on white wherever it stands.
pub fn chart(results: &Results) -> String {
    let groups: Vec<Group> = DRAWN.iter().filter_map(|name| Group::new(results, name)).collect();
    let height = groups.iter().map(Group::height).sum::<f64>() + TOP + 20.0;
    let longest = groups.iter().flat_map(|group| &group.bars).map(|(_, ns)| *ns);
    let scale = Scale::up_to(longest.fold(1.0, f64::max));
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"Helvetica, Arial, sans-serif\" \
         font-size=\"12\" fill=\"#24292f\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"20\" y=\"26\" font-size=\"15\" font-weight=\"bold\">\
         Time of one assignment, median, logarithmic scale</text>\n"
    );
    scale.draw(&mut picture, height - 14.0);
    let mut y = TOP;
    for group in &groups {
        group.draw(&mut picture, y, &scale);
        y += group.height();
    }
    picture + "</svg>\n"
}

/// From a nanosecond to a power of ten.
struct Scale {
    decades: i32,
}

impl Scale {
    fn up_to(ns: f64) -> Self {
        Self { decades: ns.log10().ceil().max(1.0) as i32 }
    }

    fn x(&self, ns: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * ns.max(1.0).log10() / f64::from(self.decades)
    }

    /// A line for each power of ten.
    fn draw(&self, picture: &mut String, bottom: f64) {
        for decade in 0..=self.decades {
            let (x, top) = (self.x(10_f64.powi(decade)), TOP - 8.0);
            let label = spell(10_f64.powi(decade)).replace(".00", "").replace(".0", "");
            let _ = write!(
                picture,
                "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" \
                 stroke=\"#d0d7de\"/>\n\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#57606a\">{label}\
                 </text>\n",
                top - 6.0,
            );
        }
    }
}

/// A workload's bars, the shortest first.
struct Group {
    words: &'static str,
    bars: Vec<(String, f64)>,
}

impl Group {
    fn new(results: &Results, name: &str) -> Option<Self> {
        let workload = WORKLOADS.iter().find(|workload| workload.name == name)?;
        let engines = results.peers().chain(["floor", "variate"]);
        let mut bars: Vec<(String, f64)> = engines
            .filter_map(|engine| Some((engine.to_owned(), results.ns(name, engine)?)))
            .collect();
        bars.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        Some(Self { words: workload.words, bars }).filter(|group| !group.bars.is_empty())
    }

    fn height(&self) -> f64 {
        HEADING + STEP * self.bars.len() as f64 + GAP
    }

    fn draw(&self, picture: &mut String, top: f64, scale: &Scale) {
        let heading = self.words.trim_start_matches("assign: ");
        let y = top + 16.0;
        // On white, so that the scale's lines do not run through it.
        let _ = write!(
            picture,
            "<rect x=\"18\" y=\"{top}\" width=\"{}\" height=\"22\" fill=\"#ffffff\"/>\n\
             <text x=\"20\" y=\"{y}\" font-size=\"13\" font-weight=\"bold\">{heading}</text>\n",
            heading.len() as f64 * 7.5 + 8.0,
        );
        for (row, (name, ns)) in self.bars.iter().enumerate() {
            let y = top + HEADING + STEP * row as f64;
            let (text_y, end) = (y + 12.0, scale.x(*ns));
            let (color, weight) = match name.as_str() {
                "variate" => ("#1a7f37", "bold"),
                "floor" => ("#8c959f", "normal"),
                _ => ("#54aeff", "normal"),
            };
            let _ = write!(
                picture,
                "<text x=\"{:.1}\" y=\"{text_y}\" text-anchor=\"end\" font-weight=\"{weight}\">\
                 {name}</text>\n\
                 <rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{color}\"/>\n\
                 <rect x=\"{:.1}\" y=\"{y}\" width=\"54\" height=\"{BAR}\" fill=\"#ffffff\"/>\n\
                 <text x=\"{:.1}\" y=\"{text_y}\" font-weight=\"{weight}\">{}</text>\n",
                LEFT - 8.0,
                end - LEFT,
                end + 2.0,
                end + 6.0,
                spell(*ns),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_results_give_a_bar_each() {
        let mut results = Results::default();
        results.versions.insert("slow".to_owned(), "1.0.0".to_owned());
        let medians = [("variate", 10.0), ("floor", 4.5), ("slow", 4_000.0)];
        let medians = medians.map(|(name, ns)| (name.to_owned(), ns));
        results.workloads.insert("W1".to_owned(), medians.into());
        let picture = chart(&results);
        assert_eq!(picture.matches(">variate</text>").count(), 1);
        assert_eq!(picture.matches("fill=\"#54aeff\"").count(), 1);
        // 10 ns is a quarter of the way to 10 µs.
        assert!(picture.contains("width=\"163.8\" height=\"15\" fill=\"#1a7f37\""));
        assert!(picture.contains(">4.00 µs</text>"));
    }
}
