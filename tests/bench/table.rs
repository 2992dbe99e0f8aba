//! The output of the bench: one line per figure, beside the Go exporter's and the aim; and the statistics of samples.
//!
//! It must not know how a figure was measured.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

/// The unit of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Milliseconds,
    PerSecond,
    Mebibytes,
    Megabytes,
    /// A number without a unit.
    Ratio,
}

/// The range of good numbers.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    AtMost(f64),
    AtLeast(f64),
    /// No aim is set: the figure is for information.
    Open,
}

/// One figure.
pub(crate) struct Row {
    pub(crate) figure: &'static str,
    pub(crate) unit: Unit,
    pub(crate) measured: f64,
    /// The Go exporter's figure, if there is one.
    pub(crate) go: Option<f64>,
    pub(crate) aim: Aim,
    /// Helps to judge the number: its spread, its parts.
    pub(crate) note: String,
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let in_unit = |value| Number(value, self.unit).to_string();
        let (aim, meets) = match self.aim {
            Aim::AtMost(most) => (format!("<= {}", in_unit(most)), Some(self.measured <= most)),
            Aim::AtLeast(least) => (
                format!(">= {}", in_unit(least)),
                Some(self.measured >= least),
            ),
            Aim::Open => ("-".to_owned(), None),
        };
        [
            self.figure.to_owned(),
            in_unit(self.measured),
            self.go.map_or("-".to_owned(), in_unit),
            aim,
            self.go
                .map_or("-".to_owned(), |go| format!("{:.2}", self.measured / go)),
            match meets {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "-",
            }
            .to_owned(),
        ]
    }
}

struct Number(f64, Unit);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, unit) = self;
        match unit {
            Unit::Milliseconds if *value < 1.0 => write!(f, "{value:.3} ms"),
            Unit::Milliseconds => write!(f, "{value:.2} ms"),
            Unit::PerSecond => write!(f, "{value:.0} /s"),
            Unit::Mebibytes => write!(f, "{value:.2} MiB"),
            Unit::Megabytes => write!(f, "{value:.2} MB"),
            Unit::Ratio => write!(f, "{value:.3}"),
        }
    }
}

const HEADS: [&str; 6] = [
    "figure",
    "measured here",
    "Go's, recorded",
    "aim",
    "ratio to Go's",
    "meets the aim",
];

/// Writes the table, then the rows' notes.
pub(crate) fn write(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let mut lines = vec![HEADS.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let mut widths = [0; HEADS.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    for (index, line) in lines.iter().enumerate() {
        let padded: Vec<String> = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "| {} |", padded.join(" | "))?;
        if index == 0 {
            let rules = widths.map(|width| "-".repeat(width + 2));
            writeln!(out, "|{}|", rules.join("|"))?;
        }
    }
    writeln!(out)?;
    for row in rows.iter().filter(|row| !row.note.is_empty()) {
        writeln!(out, "{}: {}", row.figure, row.note)?;
    }
    Ok(())
}

/// Samples of one quantity.
#[derive(Default)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// In milliseconds.
    pub(crate) fn add_time(&mut self, time: Duration) {
        self.add(time.as_secs_f64() * 1e3);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The sample below which `part` of all lie; NaN, which meets no aim, without samples.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = (part.clamp(0.0, 1.0) * last as f64).round() as usize;
        sorted.get(rank).copied().unwrap_or(f64::NAN)
    }

    /// The samples between which the true median lies with 95 % confidence, for any distribution: with one toss of a
    /// fair coin per sample, a result outside this range is that unlikely.
    pub(crate) fn median_within(&self) -> (f64, f64) {
        let part = 1.0 / (self.len().max(1) as f64).sqrt();
        (self.quantile(0.5 - part), self.quantile(0.5 + part))
    }

    /// `lowest to highest`, in the samples' own unit.
    pub(crate) fn range(&self) -> String {
        let (low, high) = (self.quantile(0.0), self.quantile(1.0));
        if high < 100.0 {
            format!("{low:.3} to {high:.3}")
        } else {
            format!("{low:.0} to {high:.0}")
        }
    }
}
