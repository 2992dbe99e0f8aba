//! Writer for the text exposition format, version 0.0.4.
//!
//! The only writer of `/metrics` and `/probe`. Must not know what a metric means. Source: Prometheus' documentation,
//! "Exposition formats".

use std::fmt::Write as _;

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// One family of a collector. `write` writes its samples from an `S`.
pub(crate) struct Family<S> {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) write: fn(&mut Text, &S),
}

/// Initial capacity: enough for the exporter's own metrics, the longest page.
const CAPACITY_BYTES: usize = 8 * 1024;

/// A page of metrics, written sample by sample. Collecting the samples first would need as many small allocations, each
/// of which locks the allocator (musl has one lock for all threads).
pub(crate) struct Text {
    out: String,
    /// Name of the current family.
    name: &'static str,
    /// Help and type of the family, until its first sample is written.
    header: Option<(&'static str, Kind)>,
}

impl Text {
    pub(crate) fn new() -> Self {
        Self {
            out: String::with_capacity(CAPACITY_BYTES),
            name: "",
            header: None,
        }
    }

    /// Starts a family. Without samples it writes nothing.
    pub(crate) fn family(&mut self, name: &'static str, help: &'static str, kind: Kind) {
        self.name = name;
        self.header = Some((help, kind));
    }

    pub(crate) fn families<S>(&mut self, families: &[Family<S>], source: &S) {
        for family in families {
            self.family(family.name, family.help, family.kind);
            (family.write)(self, source);
        }
    }

    /// Writes a sample of the family. `suffix` follows the name, such as `_sum`. A value that is not finite is skipped,
    /// whatever calculation it comes from.
    pub(crate) fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        if !value.is_finite() {
            return;
        }
        let (name, out) = (self.name, &mut self.out);
        if let Some((help, kind)) = self.header.take() {
            let _ = write!(out, "# HELP {name} ");
            push_escaped(out, help, false);
            let _ = writeln!(out, "\n# TYPE {name} {}", kind.word());
        }
        out.push_str(name);
        out.push_str(suffix);
        for (index, (label, value)) in labels.iter().enumerate() {
            out.push(if index == 0 { '{' } else { ',' });
            out.push_str(label);
            out.push_str("=\"");
            push_escaped(out, value, true);
            out.push('"');
        }
        if !labels.is_empty() {
            out.push('}');
        }
        out.push(' ');
        push_number(out, value);
        out.push('\n');
    }

    /// Writes a sample with labels, if there is a value.
    pub(crate) fn labelled(&mut self, labels: &[(&str, &str)], value: Option<f64>) {
        if let Some(value) = value {
            self.sample("", labels, value);
        }
    }

    /// Writes a sample without labels, if there is a value.
    pub(crate) fn plain(&mut self, value: Option<f64>) {
        self.labelled(&[], value);
    }

    pub(crate) fn into_string(self) -> String {
        self.out
    }
}

/// Counts by label value. There are few values, so a linear search is fast enough.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labelled(Vec<(&'static str, u64)>);

impl Labelled {
    pub(crate) fn count(&mut self, value: &'static str) {
        match self.0.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => *count += 1,
            None => self.0.push((value, 1)),
        }
    }

    /// Writes a sample for each of `values`, even if it was never counted.
    pub(crate) fn write(
        &self,
        text: &mut Text,
        name: &str,
        values: impl Iterator<Item = &'static str>,
    ) {
        for value in values {
            let known = self.0.iter().find(|(known, _)| *known == value);
            let count = known.map_or(0, |(_, count)| *count);
            text.sample("", &[(name, value)], count as f64);
        }
    }
}

/// Escapes backslashes and line feeds, and in label values also quotes.
fn push_escaped(text: &mut String, value: &str, is_label: bool) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if is_label => text.push_str("\\\""),
            c => text.push(c),
        }
    }
}

/// Writes the shortest text that parses to the same number. Whole numbers below `PLAIN_BELOW` have no decimal point.
fn push_number(text: &mut String, value: f64) {
    /// Below this, every whole number is exact and has few digits.
    const PLAIN_BELOW: f64 = 1e15;
    if value.fract() == 0.0 && value.abs() < PLAIN_BELOW {
        let _ = write!(text, "{value}");
    } else {
        let _ = write!(text, "{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Text};

    #[test]
    fn names_labels_and_values_follow_the_format() {
        let mut text = Text::new();
        text.family("a_total", "Back\\slash and\nline.", Kind::Counter);
        text.sample("", &[("x", "q\"b\\n\nz"), ("y", "é")], 12.0);
        text.sample("_sum", &[], 0.1);
        text.family("left_out", "No samples.", Kind::Gauge);
        text.plain(None);
        assert_eq!(
            text.into_string(),
            "# HELP a_total Back\\\\slash and\\nline.\n# TYPE a_total counter\n\
             a_total{x=\"q\\\"b\\\\n\\nz\",y=\"é\"} 12\na_total_sum 0.1\n"
        );
    }

    #[test]
    fn numbers_are_short_and_exact() {
        for (value, text) in [
            (0.0, "0"),
            (-1.0, "-1"),
            (2_901_803_008.0, "2901803008"),
            (1e15, "1000000000000000.0"),
            (1.8e19, "1.8e19"),
            (0.000_000_1, "1e-7"),
            (2.000_142, "2.000142"),
        ] {
            let mut out = String::new();
            super::push_number(&mut out, value);
            assert_eq!(out, text);
        }
    }
    #[test]
    fn values_that_are_not_finite_are_skipped() {
        let mut text = Text::new();
        text.family("a", "A.", Kind::Gauge);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            text.plain(Some(value));
        }
        text.sample("_sum", &[], 0.5);
        assert_eq!(
            text.into_string(),
            "# HELP a A.\n# TYPE a gauge\na_sum 0.5\n"
        );
    }
}
