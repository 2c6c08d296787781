//! The figures as a picture: SVG that needs nothing besides itself and suits light and dark pages.

use std::fmt::Write;

use crate::SIZES;
use crate::contender::Contender;
use crate::figures::{Figures, Measure, Spread};
use crate::load::Sending;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 330.0;

/// Of each of the three parts, without what is around it.
const PART_WIDTH: f64 = 250.0;
const PART_HEIGHT: f64 = 200.0;
const LEFT: f64 = 55.0;
const TOP: f64 = 75.0;

/// Lines across a part.
const LINES: usize = 4;

/// Text takes the colour of the page's theme; the bars are legible on both.
const STYLE: &str = "
  text { font: 12px system-ui, sans-serif; fill: #333 }
  .title { font-weight: 600; font-size: 13px }
  .line { stroke: #8884; stroke-width: 1 }
  .spread { stroke: #333; stroke-width: 1 }
  @media (prefers-color-scheme: dark) { text { fill: #ddd } .spread { stroke: #ddd } }
";

/// One part: bars in groups, all on one scale.
struct Part<'a> {
    title: &'a str,
    groups: Vec<(String, Vec<(Contender, Spread)>)>,
    /// What the numbers at the lines are divided by, and what follows them.
    unit: (f64, &'a str),
}

/// The whole picture.
pub(crate) fn draw(figures: &Figures, contenders: &[Contender]) -> String {
    let flood = |sending| {
        let group = |size| (format!("{size} B"), bars(figures, contenders, Measure::Flood(sending, size)));
        SIZES.map(group).into()
    };
    let latency = [("median", Measure::P50), ("99 of 100", Measure::P99)];
    let latency = latency.map(|(name, measure)| (name.to_owned(), bars(figures, contenders, measure)));
    let parts = [
        Part {
            title: "Packets a second, sent in batches",
            groups: flood(Sending::Batches),
            unit: (1e6, " M"),
        },
        Part { title: "Packets a second, one a call", groups: flood(Sending::Singles), unit: (1e3, " k") },
        Part { title: "Latency, microseconds (512 B)", groups: latency.into(), unit: (1.0, "") },
    ];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Packets a second and latency of relays\">\n<style>{STYLE}</style>\n"
    );
    for (index, contender) in contenders.iter().enumerate() {
        let x = LEFT + index as f64 * 150.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"14\" width=\"12\" height=\"12\" fill=\"{}\"/>",
            colour(*contender)
        );
        let _ = writeln!(svg, "<text x=\"{}\" y=\"24\">{}</text>", x + 18.0, contender.name());
    }
    for (index, part) in parts.iter().enumerate() {
        part.draw(&mut svg, LEFT + index as f64 * (PART_WIDTH + LEFT));
    }
    svg.push_str("</svg>\n");
    svg
}

fn bars(figures: &Figures, contenders: &[Contender], measure: Measure) -> Vec<(Contender, Spread)> {
    contenders.iter().filter_map(|contender| Some((*contender, figures.of(measure, *contender)?))).collect()
}

const fn colour(contender: Contender) -> &'static str {
    match contender {
        Contender::Bare => "#8a8f98",
        Contender::Minimal => "#4aa3a2",
        Contender::Ours => "#e0782f",
        Contender::Coturn => "#6f7fd0",
        Contender::Socat => "#b06fb5",
    }
}

impl Part<'_> {
    fn draw(&self, svg: &mut String, left: f64) {
        // By the medians: one bad round would press all the others down. The line of its spread is cut off.
        let medians = self.groups.iter().flat_map(|(_, bars)| bars).map(|(_, bar)| bar.median);
        let step = round_up(medians.fold(0.0, f64::max) * 1.1 / LINES as f64);
        let scale = PART_HEIGHT / (step * LINES as f64);
        let bottom = TOP + PART_HEIGHT;
        let _ =
            writeln!(svg, "<text class=\"title\" x=\"{left}\" y=\"{}\">{}</text>", TOP - 20.0, self.title);
        for line in 0..=LINES {
            let value = step * line as f64;
            let y = bottom - value * scale;
            let right = left + PART_WIDTH;
            let _ = writeln!(
                svg,
                "<line class=\"line\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
            );
            let (divisor, unit) = self.unit;
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}{}</text>",
                left - 6.0,
                y + 4.0,
                value / divisor,
                if line == 0 { "" } else { unit },
            );
        }
        let group_width = PART_WIDTH / self.groups.len() as f64;
        for (index, (name, bars)) in self.groups.iter().enumerate() {
            let from = left + index as f64 * group_width;
            let middle = from + group_width / 2.0;
            let _ = writeln!(
                svg,
                "<text x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
                bottom + 18.0
            );
            let width = group_width * 0.84 / bars.len().max(1) as f64;
            for (index, (contender, bar)) in bars.iter().enumerate() {
                let x = from + group_width * 0.08 + index as f64 * width;
                let (y, height) = (bottom - bar.median * scale, bar.median * scale);
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{}\"/>",
                    width - 1.5,
                    colour(*contender),
                );
                let (x, low) = (x + width / 2.0 - 0.75, bottom - bar.low * scale);
                let high = (bottom - bar.high * scale).max(TOP);
                let _ = writeln!(
                    svg,
                    "<line class=\"spread\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\"/>"
                );
            }
        }
    }
}

/// To 1, 2, 2.5, 4 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 2.5, 4.0, 5.0].into_iter().find(|factor| factor * power >= value).unwrap_or(10.0);
    factor * power
}
