//! Intervals as inline SVG: a small one for a row of a table, and one with axes and units.
//!
//! Must not know where intervals come from. A rate holds over its whole interval, so the lines are steps: a smooth one
//! would show rates that nobody measured. The colours are the stylesheet's, by class, as the page's policy forbids
//! styles within it; the directions differ in their dashes too.

use std::fmt::Write as _;

use super::units;
use crate::iperf3::report::intervals::Interval;

/// More than any network carries: a rate over it would only make the others a flat line.
const LIMIT_BYTES_PER_SECOND: f64 = 1e18;
/// Longer than any test: times are iperf3's words.
const LIMIT_SECONDS: f64 = 1e6;
/// What a small plot is reduced to: more steps than this are not told apart, and a hundred rows are to stay light.
const SPARK_STEPS: usize = 60;
/// A hole between intervals that is wider than this is one: times differ by microseconds.
const HOLE_SECONDS: f64 = 0.01;

/// The small one's width and height. Four units a pixel, so that whole numbers are fine enough.
const SPARK: (f64, f64) = (480.0, 112.0);
/// Room for half of a line at the top and at the bottom.
const SPARK_MARGIN: f64 = 8.0;

/// The large one's whole width and height.
const PLOT: (f64, f64) = (960.0, 420.0);
/// Where its axes begin and end: left, right, top, bottom.
const LEFT: f64 = 88.0;
const RIGHT: f64 = 936.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 356.0;
/// About how many lines a grid has.
const GRID_LINES: f64 = 5.0;

/// A direction with the steps of it that can be drawn, and what people read of them.
struct Way {
    name: &'static str,
    class: &'static str,
    steps: Vec<Interval>,
}

/// Both directions, as far as they were measured, and what is common to them.
struct Drawn {
    ways: Vec<Way>,
    end_seconds: f64,
    highest: f64,
}

impl Drawn {
    /// None when there is nothing to draw.
    fn new(upload: &[Interval], download: &[Interval]) -> Option<Self> {
        let mut drawn = Self {
            ways: Vec::with_capacity(2),
            end_seconds: 0.0,
            highest: 0.0,
        };
        for (name, class, steps) in [("upload", "up", upload), ("download", "down", download)] {
            let steps: Vec<Interval> = steps.iter().copied().filter(is_drawable).collect();
            for step in &steps {
                drawn.end_seconds = drawn.end_seconds.max(step.end_seconds);
                drawn.highest = drawn.highest.max(step.bytes_per_second);
            }
            if !steps.is_empty() {
                drawn.ways.push(Way { name, class, steps });
            }
        }
        (!drawn.ways.is_empty()).then_some(drawn)
    }
}

impl Way {
    /// `upload, 10 intervals, 9.30 to 9.50 Mbit/s`.
    fn words(&self) -> String {
        let rates = self.steps.iter().map(|step| step.bytes_per_second);
        let lowest = rates.clone().fold(f64::INFINITY, f64::min);
        let highest = rates.fold(0.0, f64::max);
        let count = self.steps.len();
        let plural = if count == 1 { "" } else { "s" };
        let rates = units::bit_rates(lowest, highest);
        format!("{}, {count} interval{plural}, {rates}", self.name)
    }
}

fn is_drawable(step: &Interval) -> bool {
    step.start_seconds >= 0.0
        && step.end_seconds > step.start_seconds
        && step.end_seconds <= LIMIT_SECONDS
        && (0.0..=LIMIT_BYTES_PER_SECOND).contains(&step.bytes_per_second)
}

/// The intervals as a picture of a line's height; empty when there are none.
pub(super) fn spark(upload: &[Interval], download: &[Interval]) -> String {
    let Some(mut drawn) = Drawn::new(upload, download) else {
        return String::new();
    };
    // The words are of what was measured, the line may be of means.
    let words: Vec<String> = drawn.ways.iter().map(Way::words).collect();
    for way in &mut drawn.ways {
        way.steps = reduced(&way.steps);
    }
    let (width, height) = SPARK;
    let scale = Scale {
        left: 0.0,
        right: width,
        top: SPARK_MARGIN,
        bottom: height - SPARK_MARGIN,
        seconds: drawn.end_seconds,
        highest: drawn.highest,
    };
    let mut svg = format!(
        "<svg class=\"spark\" viewBox=\"0 0 {width:.0} {height:.0}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
        words.join("; ")
    );
    push_lines(&mut svg, &drawn, &scale);
    svg.push_str("</svg>");
    svg
}

/// Neighbours taken together until there are few enough, each with its mean rate.
fn reduced(steps: &[Interval]) -> Vec<Interval> {
    let together = steps.len().div_ceil(SPARK_STEPS).max(1);
    let mean = |steps: &[Interval]| {
        let (first, last) = (steps.first()?, steps.last()?);
        let length = |step: &Interval| step.end_seconds - step.start_seconds;
        let seconds: f64 = steps.iter().map(length).sum();
        let bytes = steps
            .iter()
            .map(|step| step.bytes_per_second * length(step));
        Some(Interval {
            start_seconds: first.start_seconds,
            end_seconds: last.end_seconds,
            bytes_per_second: bytes.sum::<f64>() / seconds,
        })
    };
    steps.chunks(together).filter_map(mean).collect()
}

/// The intervals with axes and units; empty when there are none. Its ids allow one of them a page.
pub(super) fn plot(upload: &[Interval], download: &[Interval]) -> String {
    let Some(drawn) = Drawn::new(upload, download) else {
        return String::new();
    };
    let (unit, unit_name) = units::bit_unit(drawn.highest);
    let rates = Ticks::up_to(drawn.highest / unit);
    let (second, time_name) = match drawn.end_seconds {
        end if end <= 120.0 => (1.0, "seconds"),
        end if end <= 7200.0 => (60.0, "minutes"),
        _ => (3600.0, "hours"),
    };
    let times = Ticks::up_to(drawn.end_seconds / second);
    let scale = Scale {
        left: LEFT,
        right: RIGHT,
        top: TOP,
        bottom: BOTTOM,
        // The test ends where its last interval does, the rates at a line of the grid.
        seconds: drawn.end_seconds,
        highest: rates.end * unit,
    };
    let words: Vec<String> = drawn.ways.iter().map(Way::words).collect();
    let (width, height) = PLOT;
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-labelledby=\"plot-title plot-words\">\n\
         <title id=\"plot-title\">Bandwidth of each interval</title>\n<desc id=\"plot-words\">{}.</desc>\n",
        words.join("; ")
    );
    // Lines first: what was measured lies over them.
    let mut labels = String::new();
    let mut grid = String::new();
    for tick in rates.all() {
        let y = scale.y(tick * unit);
        let _ = write!(grid, "M{LEFT:.0} {y:.0}H{RIGHT:.0}");
        let (x, y) = (LEFT - 12.0, y + 9.0);
        let text = rates.text(tick);
        let _ = writeln!(
            labels,
            "<text class=\"end\" x=\"{x:.0}\" y=\"{y:.0}\">{text}</text>"
        );
    }
    // A test of ten seconds may end a millisecond before the tenth: that is labelled all the same.
    for tick in times.all().filter(|tick| *tick <= times.highest * 1.002) {
        let x = scale.x(tick * second).min(RIGHT);
        let _ = write!(grid, "M{x:.0} {TOP:.0}V{BOTTOM:.0}");
        let text = times.text(tick);
        let _ = writeln!(
            labels,
            "<text class=\"mid\" x=\"{x:.0}\" y=\"{:.0}\">{text}</text>",
            BOTTOM + 30.0
        );
    }
    let _ = write!(svg, "<path class=\"grid\" d=\"{grid}\"/>\n{labels}");
    let _ = writeln!(
        svg,
        "<text x=\"8\" y=\"28\">{unit_name}</text>\n<text class=\"end\" x=\"{RIGHT:.0}\" y=\"{:.0}\">{time_name}</text>",
        height - 6.0
    );
    push_legend(&mut svg, &drawn.ways);
    push_lines(&mut svg, &drawn, &scale);
    svg.push_str("\n</svg>");
    svg
}

/// Names beside pieces of the lines, at the top right.
fn push_legend(svg: &mut String, ways: &[Way]) {
    let mut x = RIGHT - 210.0 * (ways.len() as f64);
    for Way { name, class, .. } in ways {
        let _ = writeln!(
            svg,
            "<path class=\"{class}\" d=\"M{x:.0} 20h56\"/><text x=\"{:.0}\" y=\"28\">{name}</text>",
            x + 66.0
        );
        x += 210.0;
    }
}

/// The directions' steps, each direction one path.
fn push_lines(svg: &mut String, drawn: &Drawn, scale: &Scale) {
    for way in &drawn.ways {
        let _ = write!(svg, "<path class=\"{}\" d=\"", way.class);
        let mut before: Option<&Interval> = None;
        let mut height = 0.0;
        for step in &way.steps {
            let y = scale.y(step.bytes_per_second);
            match before {
                Some(last) if (step.start_seconds - last.end_seconds).abs() < HOLE_SECONDS => {
                    // A line that goes on at its height is written once. Both are whole numbers.
                    if (y - height).abs() >= 1.0 {
                        let _ = write!(svg, "H{:.0}V{y:.0}", scale.x(last.end_seconds));
                    }
                }
                last => {
                    if let Some(last) = last {
                        let _ = write!(svg, "H{:.0}", scale.x(last.end_seconds));
                    }
                    let _ = write!(svg, "M{:.0} {y:.0}", scale.x(step.start_seconds));
                }
            }
            height = y;
            before = Some(step);
        }
        if let Some(last) = before {
            let _ = write!(svg, "H{:.0}", scale.x(last.end_seconds));
        }
        svg.push_str("\"/>");
    }
}

/// From seconds and rates to the picture's whole units. Rates begin at 0.
struct Scale {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    seconds: f64,
    highest: f64,
}

impl Scale {
    fn x(&self, seconds: f64) -> f64 {
        (self.left + (self.right - self.left) * seconds / self.seconds).round()
    }

    fn y(&self, rate: f64) -> f64 {
        // Nothing but zeros is a line at the bottom.
        let part = if self.highest > 0.0 {
            rate / self.highest
        } else {
            0.0
        };
        (self.bottom - (self.bottom - self.top) * part).round()
    }
}

/// Round numbers along an axis that begins at 0.
struct Ticks {
    step: f64,
    /// The last of them, at or over the highest value.
    end: f64,
    highest: f64,
    digits: usize,
}

impl Ticks {
    fn up_to(highest: f64) -> Self {
        let highest = if highest > 0.0 { highest } else { 1.0 };
        let raw = highest / GRID_LINES;
        let power = 10.0_f64.powf(raw.log10().floor());
        // Rounding may have put `power` next to the right one: the largest always suits.
        let nice = [1.0, 2.0, 5.0, 10.0].into_iter();
        let step = nice
            .map(|nice| nice * power)
            .find(|step| *step >= raw * 0.999)
            .unwrap_or(power * 10.0);
        // A test of so many bytes may end within a millisecond.
        let digits = [1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5]
            .iter()
            .take_while(|least| step < **least * 0.999)
            .count();
        Self {
            step,
            end: (highest / step * 0.9999).ceil() * step,
            highest,
            digits,
        }
    }

    fn all(&self) -> impl Iterator<Item = f64> + use<> {
        let (step, end) = (self.step, self.end + self.step / 2.0);
        (0_u32..)
            .map(move |index| f64::from(index) * step)
            .take_while(move |tick| *tick < end)
            .take(16)
    }

    fn text(&self, tick: f64) -> String {
        let digits = if tick == 0.0 { 0 } else { self.digits };
        format!("{tick:.digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Interval, SPARK_STEPS, Ticks, plot, spark};

    /// Intervals of one second in a row.
    fn steps(rates: &[f64]) -> Vec<Interval> {
        let step = |(index, rate): (u32, &f64)| Interval {
            start_seconds: f64::from(index),
            end_seconds: f64::from(index) + 1.0,
            bytes_per_second: *rate,
        };
        (0..).zip(rates).map(step).collect()
    }

    /// Every number of a picture: of attributes, with what stands between them taken as blanks.
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
    fn a_small_plot_is_steps_and_words() {
        assert_eq!(
            spark(&steps(&[1e6, 1e6, 5e5, 0.0]), &steps(&[2.5e5])),
            "<svg class=\"spark\" viewBox=\"0 0 480 112\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"upload, 4 intervals, 0 to 8.00\u{a0}Mbit/s; \
             download, 1 interval, 2.00\u{a0}Mbit/s\"><path class=\"up\" d=\"M0 8H240V56H360V104H480\"/>\
             <path class=\"down\" d=\"M0 80H120\"/></svg>"
        );
    }

    #[test]
    fn a_large_plot_has_axes_units_a_legend_and_words() {
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
            plot(&steps(&[1e6, 7.5e5]), &steps(&[2.5e5])),
            expected.replace("\\u{a0}", "\u{a0}")
        );
    }

    #[test]
    fn no_rates_and_no_times_lead_out_of_the_picture() {
        let broken = [
            (0.0, 1.0, f64::NAN),
            (0.0, 1.0, f64::INFINITY),
            (0.0, 1.0, -1.0),
            (0.0, 1.0, 1e300),
            (1.0, 1.0, 1.0),
            (2.0, 1.0, 1.0),
            (f64::NAN, 1.0, 1.0),
            (0.0, f64::NAN, 1.0),
            (0.0, f64::INFINITY, 1.0),
            (0.0, 1e300, 1.0),
            (-1.0, 1.0, 1.0),
        ]
        .map(|(start_seconds, end_seconds, bytes_per_second)| Interval {
            start_seconds,
            end_seconds,
            bytes_per_second,
        });
        assert_eq!(
            (spark(&broken, &[]), plot(&broken, &[])),
            Default::default()
        );
        assert_eq!((spark(&[], &[]), plot(&[], &[])), Default::default());
        let long: Vec<f64> = (0..300)
            .map(|index| f64::from(index * 7919 % 1000))
            .collect();
        let mut day = steps(&[1e9]);
        day[0].end_seconds = 86_400.0;
        let mut blink = steps(&[1e9]);
        blink[0].end_seconds = 1e-6;
        let mut mixed = broken.to_vec();
        mixed.extend(steps(&[3.0, 4.0]));
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
            mixed,
        ] {
            for (upload, download) in [(&series[..], &[][..]), (&[], &series), (&series, &series)] {
                for (svg, width, height) in [
                    (spark(upload, download), 480.0, 112.0),
                    (plot(upload, download), 960.0, 420.0),
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
    fn a_hole_between_intervals_is_a_hole_in_the_line() {
        let mut holed = steps(&[1.0, 1.0, 1.0]);
        holed.remove(1);
        assert!(
            spark(&holed, &[]).contains("d=\"M0 8H160M320 8H480\""),
            "{}",
            spark(&holed, &[])
        );
    }

    #[test]
    fn a_small_plot_of_a_long_test_is_small_and_keeps_its_means() {
        let rates: Vec<f64> = (0..300).map(|index| f64::from(index % 5)).collect();
        let svg = spark(&steps(&rates), &[]);
        // The mean of each five is 2, the highest rate 4; the words are of all.
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
            let ticks = Ticks::up_to(highest);
            let all: Vec<String> = ticks.all().map(|tick| ticks.text(tick)).collect();
            assert_eq!(all.join(" "), texts, "{highest}");
        }
        for power in -6..9 {
            for part in 1..1000 {
                let highest = f64::from(part) * 10.0_f64.powi(power);
                let ticks = Ticks::up_to(highest);
                assert!(ticks.end >= highest * 0.9998, "{highest}");
                assert!((2..=7).contains(&ticks.all().count()), "{highest}");
            }
        }
    }
}
