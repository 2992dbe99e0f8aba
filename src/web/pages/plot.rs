//! Draws intervals as inline SVG: a small plot for a table row, and a large one with axes and units.
//!
//! Must not know where intervals come from. A rate is the mean of its whole interval, so the lines are steps: a smooth
//! line would show rates that were not measured. The style sheet sets the colours by class, because the page's policy
//! forbids inline styles. The directions also differ in their dashes.

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::units;
use crate::iperf3::report::intervals::{Interval, merged};
use crate::probe::history::Point;

/// The note below a large plot whose steps are means of several intervals.
pub(super) const OF_MEANS: &str = "<p class=\"soft\">Each step is the mean of neighbouring intervals: there were more than \
    fit.</p>\n";
/// Maximum steps of a small plot: more could not be distinguished, and a page may have a hundred of these plots.
const SPARK_STEPS: usize = 60;
/// Intervals further apart than this leave a gap in the line. Smaller distances are inaccuracies: iperf3's times
/// differ by microseconds.
const GAP_SECONDS: f64 = 0.01;

/// Where the axes of the large plot begin and end, in its 960 by 420 units.
const LEFT: f64 = 88.0;
const RIGHT: f64 = 936.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 356.0;
/// Approximate number of grid lines.
const GRID_LINES: f64 = 5.0;
/// Width of a legend entry: a sample of the line and its name.
const LEGEND_WIDTH: f64 = 210.0;

/// A direction that was measured: its name, its class in the stylesheet, its steps.
type Series<'a> = (&'static str, &'static str, &'a [Interval]);

/// The measured directions, and what they share.
struct Plot<'a> {
    series: Vec<Series<'a>>,
    end_seconds: f64,
    highest: f64,
    descriptions: Vec<String>,
}

impl<'a> Plot<'a> {
    /// `step` is what a step of the lines stands for.
    fn new(upload: &'a [Interval], download: &'a [Interval], step: &str) -> Self {
        let both = [("upload", "up", upload), ("download", "down", download)];
        let measured = both.into_iter().filter(|(.., steps)| !steps.is_empty());
        let series: Vec<Series<'_>> = measured.collect();
        let all = || upload.iter().chain(download);
        let descriptions = series.iter().map(|series| describe(series, step));
        Self {
            descriptions: descriptions.collect(),
            series,
            end_seconds: all().fold(0.0, |end, step| step.end_seconds.max(end)),
            highest: all().fold(0.0, |highest, step| step.bytes_per_second.max(highest)),
        }
    }
}

/// `upload, 10 intervals, 9.30 to 9.50 Mbit/s`.
fn describe((name, _, steps): &Series<'_>, step: &str) -> String {
    let rates = steps.iter().map(|step| step.bytes_per_second);
    let lowest = rates.clone().fold(f64::INFINITY, f64::min);
    let rates = units::bit_rates(lowest, rates.fold(0.0, f64::max));
    let count = steps.len();
    let plural = if count == 1 { "" } else { "s" };
    format!("{name}, {count} {step}{plural}, {rates}")
}

/// The intervals as a small plot, one text line high. Empty without intervals.
pub(super) fn spark(upload: &[Interval], download: &[Interval]) -> String {
    let plot = Plot::new(upload, download, "interval");
    if plot.series.is_empty() {
        return String::new();
    }
    // Four units for each pixel, so that whole numbers are precise enough; the margins at the top and at the bottom are
    // half of the line's width.
    let scale = Scale {
        x: (0.0, 480.0),
        y: (104.0, 8.0),
        seconds: plot.end_seconds,
        highest: plot.highest,
    };
    let mut svg = format!(
        "<svg class=\"spark\" viewBox=\"0 0 480 112\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
        plot.descriptions.join("; ")
    );
    for (_, class, steps) in &plot.series {
        // The label describes all intervals, while the line may show means.
        push_line(&mut svg, class, &merged(steps, SPARK_STEPS), &scale);
    }
    svg.push_str("</svg>");
    svg
}

/// Minimum number of places in a trend: fewer probes are not drawn wider.
const TREND_PLACES: usize = 10;

/// The last probes of a test as a small plot, one text line high, with the newest at the right: a step for each
/// successful probe, a mark for each other one.
pub(super) fn trend(points: &VecDeque<Point>) -> String {
    let count = points.len().max(TREND_PLACES);
    let places = || (count - points.len()..).zip(points);
    let steps = |direction: usize| -> Vec<Interval> {
        let steps = places().filter_map(|(place, point)| {
            let rate = point.rates.get(direction).copied()??;
            Some(Interval {
                start_seconds: place as f64,
                end_seconds: (place + 1) as f64,
                bytes_per_second: f64::from(rate),
            })
        });
        steps.collect()
    };
    let [upload, download] = [steps(0), steps(1)];
    let mut plot = Plot::new(&upload, &download, "probe");
    let scale = Scale {
        x: (0.0, 480.0),
        y: (104.0, 8.0),
        seconds: count as f64,
        highest: plot.highest,
    };
    let (mut marks, mut missed) = (String::new(), 0);
    for (place, _) in places().filter(|(_, point)| !point.is_success) {
        missed += 1;
        let _ = write!(marks, "M{:.0} 104V56", scale.x(place as f64 + 0.5));
    }
    if missed > 0 {
        let text = format!("{missed} of {} without a result", points.len());
        plot.descriptions.push(text);
    }
    let mut svg = format!(
        "<svg class=\"spark\" viewBox=\"0 0 480 112\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
        plot.descriptions.join("; ")
    );
    for (_, class, steps) in &plot.series {
        push_line(&mut svg, class, steps, &scale);
    }
    if missed > 0 {
        let _ = write!(svg, "<path class=\"miss\" d=\"{marks}\"/>");
    }
    svg.push_str("</svg>");
    svg
}

/// The intervals as a large plot with axes and units. Empty without intervals. The plot of a running test extends to
/// the planned end. Its ids are fixed, so a page can have only one.
pub(super) fn plot(upload: &[Interval], download: &[Interval], planned_seconds: f64) -> String {
    let plot = Plot::new(upload, download, "interval");
    if plot.series.is_empty() {
        return String::new();
    }
    let end_seconds = plot.end_seconds.max(planned_seconds);
    let (unit, unit_name) = units::bit_unit(plot.highest);
    let (second, time_name) = match end_seconds {
        end if end <= 120.0 => (1.0, "seconds"),
        end if end <= 7200.0 => (60.0, "minutes"),
        _ => (3600.0, "hours"),
    };
    let rates = ticks(plot.highest / unit);
    let scale = Scale {
        x: (LEFT, RIGHT),
        y: (BOTTOM, TOP),
        // The time axis of a finished test ends with its last interval, the rate axis at a grid line.
        seconds: end_seconds,
        highest: rates.last().map_or(plot.highest, |(tick, _)| tick * unit),
    };
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 960 420\" role=\"img\" aria-labelledby=\"plot-title plot-words\">\n\
         <title id=\"plot-title\">Bandwidth of each interval</title>\n<desc id=\"plot-words\">{}.</desc>\n",
        plot.descriptions.join("; ")
    );
    let times = ticks(end_seconds / second).into_iter();
    // A test of ten seconds may end a millisecond early: the tenth second gets its label anyway.
    let times = times.filter(|(tick, _)| tick * second <= end_seconds * 1.002);
    let times = times.map(|(tick, text)| (scale.x(tick * second).min(RIGHT), text));
    let rates = rates.into_iter();
    let rates = rates.map(|(tick, text)| (scale.y(tick * unit), text));
    // The grid comes first, so that the measured lines are drawn over it.
    push_grid(&mut svg, times, rates);
    let _ = writeln!(svg, "<text x=\"8\" y=\"28\">{unit_name}</text>");
    push_label(&mut svg, "end", RIGHT, 414.0, time_name);
    push_legend(&mut svg, &plot.series);
    for (_, class, steps) in &plot.series {
        push_line(&mut svg, class, steps, &scale);
    }
    svg.push_str("\n</svg>");
    svg
}

/// Grid lines at these positions, with their labels.
fn push_grid(
    svg: &mut String,
    times: impl Iterator<Item = (f64, String)>,
    rates: impl Iterator<Item = (f64, String)>,
) {
    let (mut grid, mut labels) = (String::new(), String::new());
    for (y, text) in rates {
        let _ = write!(grid, "M{LEFT:.0} {y:.0}H{RIGHT:.0}");
        push_label(&mut labels, "end", LEFT - 12.0, y + 9.0, &text);
    }
    for (x, text) in times {
        let _ = write!(grid, "M{x:.0} {TOP:.0}V{BOTTOM:.0}");
        push_label(&mut labels, "mid", x, BOTTOM + 30.0, &text);
    }
    let _ = write!(svg, "<path class=\"grid\" d=\"{grid}\"/>\n{labels}");
}

/// The legend at the top right: a sample of each line and its name.
fn push_legend(svg: &mut String, series: &[Series<'_>]) {
    let mut x = RIGHT - LEGEND_WIDTH * (series.len() as f64);
    for (name, class, _) in series {
        let _ = writeln!(
            svg,
            "<path class=\"{class}\" d=\"M{x:.0} 20h56\"/><text x=\"{:.0}\" y=\"28\">{name}</text>",
            x + 66.0
        );
        x += LEGEND_WIDTH;
    }
}

fn push_label(svg: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.0}\" y=\"{y:.0}\">{text}</text>"
    );
}

/// Draws steps, which are in order of time, as one path.
fn push_line(svg: &mut String, class: &str, steps: &[Interval], scale: &Scale) {
    let _ = write!(svg, "<path class=\"{class}\" d=\"");
    // The end of the previous step.
    let (mut end_seconds, mut height) = (f64::NEG_INFINITY, 0.0);
    for step in steps {
        let y = scale.y(step.bytes_per_second);
        let is_gap = (step.start_seconds - end_seconds).abs() >= GAP_SECONDS;
        // Steps of the same height are one horizontal line. Both heights are whole numbers.
        if is_gap || (y - height).abs() >= 1.0 {
            if end_seconds.is_finite() {
                let _ = write!(svg, "H{:.0}", scale.x(end_seconds));
            }
            let _ = if is_gap {
                write!(svg, "M{:.0} {y:.0}", scale.x(step.start_seconds))
            } else {
                write!(svg, "V{y:.0}")
            };
        }
        (end_seconds, height) = (step.end_seconds, y);
    }
    let _ = write!(svg, "H{:.0}\"/>", scale.x(end_seconds));
}

/// Maps seconds and rates to whole units of the drawing. `x` and `y` are the positions of 0 and of the highest value.
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
    seconds: f64,
    highest: f64,
}

impl Scale {
    fn x(&self, seconds: f64) -> f64 {
        (self.x.0 + (self.x.1 - self.x.0) * seconds / self.seconds).round()
    }

    fn y(&self, rate: f64) -> f64 {
        // If all rates are 0, the line is at the bottom.
        let part = rate / self.highest.max(f64::MIN_POSITIVE);
        (self.y.0 + (self.y.1 - self.y.0) * part).round()
    }
}

/// Round numbers along an axis, with their labels: from 0 to the first that reaches the highest value.
fn ticks(highest: f64) -> Vec<(f64, String)> {
    let highest = if highest > 0.0 { highest } else { 1.0 };
    let raw = highest / GRID_LINES;
    let power = 10.0_f64.powf(raw.log10().floor());
    // If none of the three is enough, 10 × `power` is, even if rounding made `power` too small by a factor of 10.
    let nice = [1.0, 2.0, 5.0].map(|nice| nice * power);
    let step = nice.into_iter().find(|step| *step >= raw * 0.999);
    let step = step.unwrap_or(power * 10.0);
    // A test with a fixed number of bytes may end within a millisecond.
    let is_finer = |digits: &i32| step < 10.0_f64.powi(-digits) * 0.999;
    let digits = (0..6).take_while(is_finer).count();
    let count = (highest / step * 0.9999).ceil();
    let ticks = (0_u32..16).map(f64::from).take_while(|tick| *tick <= count);
    ticks
        .map(|tick| {
            let (tick, digits) = (tick * step, if tick == 0.0 { 0 } else { digits });
            (tick, format!("{tick:.digits$}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Interval, Point, SPARK_STEPS, plot, spark, ticks, trend};

    /// Consecutive intervals of one second.
    fn steps(rates: &[f64]) -> Vec<Interval> {
        let step = |(index, rate): (u32, &f64)| Interval {
            start_seconds: f64::from(index),
            end_seconds: f64::from(index) + 1.0,
            bytes_per_second: *rate,
        };
        (0..).zip(rates).map(step).collect()
    }

    /// All numbers in a plot's attributes.
    fn numbers(svg: &str) -> Vec<f64> {
        let mut numbers = Vec::new();
        for name in [" d=\"", " x=\"", " y=\"", " viewBox=\""] {
            for rest in svg.split(name).skip(1) {
                let value = rest.split('"').next().unwrap();
                let is_command = |c: char| "MHVh ".contains(c);
                numbers.extend(
                    value
                        .split(is_command)
                        .filter(|word| !word.is_empty())
                        .map(|word| word.parse::<f64>().unwrap_or_else(|_| panic!("{value}"))),
                );
            }
        }
        numbers
    }

    #[test]
    fn a_small_plot_is_steps_and_a_label() {
        assert_eq!(
            spark(&steps(&[1e6, 1e6, 5e5, 0.0]), &steps(&[2.5e5])),
            "<svg class=\"spark\" viewBox=\"0 0 480 112\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"upload, 4 intervals, 0 to 8.00\u{a0}Mbit/s; \
             download, 1 interval, 2.00\u{a0}Mbit/s\"><path class=\"up\" d=\"M0 8H240V56H360V104H480\"/>\
             <path class=\"down\" d=\"M0 80H120\"/></svg>"
        );
    }

    #[test]
    fn a_large_plot_has_axes_units_a_legend_and_a_description() {
        let expected = r#"<svg class="plot" viewBox="0 0 960 420" role="img" aria-labelledby="plot-title plot-words">
<title id="plot-title">Bandwidth of each interval</title>
<desc id="plot-words">upload, 2 intervals, 6.00 to 8.00\u{a0}Mbit/s; download, 1 interval, 2.00\u{a0}Mbit/s.</desc>
<path class="grid" d="M88 356H936M88 281H936M88 206H936M88 131H936M88 56H936M88 56V356M300 56V356M512 56V356M724 56V356M936 56V356"/>
<text class="end" x="76" y="365">0</text>
<text class="end" x="76" y="290">2</text>
<text class="end" x="76" y="215">4</text>
<text class="end" x="76" y="140">6</text>
<text class="end" x="76" y="65">8</text>
<text class="mid" x="88" y="386">0</text>
<text class="mid" x="300" y="386">0.5</text>
<text class="mid" x="512" y="386">1.0</text>
<text class="mid" x="724" y="386">1.5</text>
<text class="mid" x="936" y="386">2.0</text>
<text x="8" y="28">Mbit/s</text>
<text class="end" x="936" y="414">seconds</text>
<path class="up" d="M516 20h56"/><text x="582" y="28">upload</text>
<path class="down" d="M726 20h56"/><text x="792" y="28">download</text>
<path class="up" d="M88 56H512V131H936"/><path class="down" d="M88 281H512"/>
</svg>"#;
        assert_eq!(
            plot(&steps(&[1e6, 7.5e5]), &steps(&[2.5e5]), 0.0),
            expected.replace("\\u{a0}", "\u{a0}")
        );
    }

    #[test]
    fn a_test_that_is_not_over_has_room_up_to_its_planned_end() {
        let half = plot(&steps(&[1e6, 1e6]), &[], 4.0);
        assert!(half.contains("d=\"M88 56H512\""), "{half}");
        assert!(half.contains("x=\"936\" y=\"386\">4</text>"), "{half}");
        // A test that takes longer than planned is shown in full.
        let late = plot(&steps(&[1e6, 1e6]), &[], 1.0);
        assert_eq!(late, plot(&steps(&[1e6, 1e6]), &[], 0.0));
    }

    #[test]
    fn no_rates_and_no_times_lead_out_of_the_picture() {
        assert_eq!((spark(&[], &[]), plot(&[], &[], 60.0)), Default::default());
        let long: Vec<f64> = (0..300)
            .map(|index| f64::from(index * 7919 % 1000))
            .collect();
        let mut day = steps(&[1e9]);
        day[0].end_seconds = 86_400.0;
        let mut blink = steps(&[1e9]);
        blink[0].end_seconds = 1e-6;
        for series in [
            steps(&[1.0]),
            steps(&[0.0]),
            steps(&[0.0; 10]),
            steps(&[1e-9; 3]),
            steps(&[1.25e8; 10]),
            steps(&[1e18, 0.0, 1e18]),
            steps(&long),
            day,
            blink,
        ] {
            for (upload, download) in [(&series[..], &[][..]), (&[], &series), (&series, &series)] {
                for (svg, width, height) in [
                    (spark(upload, download), 480.0, 112.0),
                    (plot(upload, download, 0.0), 960.0, 420.0),
                    (plot(upload, download, 3600.0), 960.0, 420.0),
                ] {
                    let lines = usize::from(!upload.is_empty()) + usize::from(!download.is_empty());
                    let drawn =
                        svg.matches("class=\"up\"").count() + svg.matches("class=\"down\"").count();
                    let legend = if width > 900.0 { lines } else { 0 };
                    assert_eq!(drawn, lines + legend, "{svg}");
                    for number in numbers(&svg) {
                        assert!((0.0..=width).contains(&number), "{number} in {svg}");
                    }
                    for y in svg.split(" y=\"").skip(1) {
                        let y: f64 = y.split('"').next().unwrap().parse().unwrap();
                        assert!((0.0..=height).contains(&y), "{y} in {svg}");
                    }
                    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                    assert!(!svg.contains(" style="), "the policy forbids it");
                }
            }
        }
    }

    #[test]
    fn a_gap_between_intervals_is_a_gap_in_the_line() {
        let mut gapped = steps(&[1.0, 1.0, 1.0]);
        gapped.remove(1);
        assert!(
            spark(&gapped, &[]).contains("d=\"M0 8H160M320 8H480\""),
            "{}",
            spark(&gapped, &[])
        );
    }

    #[test]
    fn a_trend_has_a_step_for_each_success_and_a_mark_for_each_other_probe() {
        let success = |rate: f32| Point {
            is_success: true,
            rates: [Some(rate), None],
        };
        let missed = Point::default();
        let svg = trend(&[success(1.25e6), missed, success(2.5e6)].into());
        let label = "upload, 2 probes, 10.0 to 20.0\u{a0}Mbit/s; 1 of 3 without a result";
        assert!(svg.contains(&format!("aria-label=\"{label}\"")), "{svg}");
        // The newest probe is at the right end, the older ones to its left.
        assert!(
            svg.contains("class=\"up\" d=\"M336 56H384M432 8H480\""),
            "{svg}"
        );
        assert!(svg.contains("class=\"miss\" d=\"M408 104V56\""), "{svg}");
        let svg = trend(&vec![missed; 20].into());
        assert!(
            svg.contains("aria-label=\"20 of 20 without a result\""),
            "{svg}"
        );
        assert_eq!(svg.matches("<path").count(), 1, "{svg}");
    }

    #[test]
    fn a_small_plot_of_a_long_test_is_small_and_keeps_its_means() {
        let rates: Vec<f64> = (0..300).map(|index| f64::from(index % 5)).collect();
        let svg = spark(&steps(&rates), &[]);
        // Each five intervals have the mean 2, and the highest rate is 4. The label describes all intervals.
        assert!(
            svg.contains("upload, 300 intervals, 0 to 32.0\u{a0}bit/s"),
            "{svg}"
        );
        assert!(svg.contains("d=\"M0 56H480\""), "{svg}");
        let noise: Vec<f64> = (0..300)
            .map(|index| f64::from(index * index % 977))
            .collect();
        let svg = spark(&steps(&noise), &steps(&noise));
        assert!(svg.matches('V').count() <= 2 * SPARK_STEPS, "{svg}");
        assert!(svg.len() < 1500, "{} bytes", svg.len());
    }

    #[test]
    fn ticks_are_round_numbers_that_reach_the_highest_value() {
        for (highest, texts) in [
            (9.0, "0 2 4 6 8 10"),
            (9.42, "0 2 4 6 8 10"),
            (10.0, "0 2 4 6 8 10"),
            (1.0, "0 0.2 0.4 0.6 0.8 1.0"),
            (1.2, "0 0.5 1.0 1.5"),
            (999.0, "0 200 400 600 800 1000"),
            (23.0, "0 5 10 15 20 25"),
            (0.0, "0 0.2 0.4 0.6 0.8 1.0"),
            (5e-4, "0 0.0001 0.0002 0.0003 0.0004 0.0005"),
        ] {
            let all: Vec<String> = ticks(highest).into_iter().map(|tick| tick.1).collect();
            assert_eq!(all.join(" "), texts, "{highest}");
        }
        for power in -6..9 {
            for part in 1..1000 {
                let highest = f64::from(part) * 10.0_f64.powi(power);
                let ticks = ticks(highest);
                let (end, _) = ticks.last().unwrap();
                assert!(*end >= highest * 0.9998, "{highest}");
                assert!((2..=7).contains(&ticks.len()), "{highest}");
            }
        }
    }
}
