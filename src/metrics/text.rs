//! The text exposition format, version 0.0.4, by hand.
//!
//! The one writer of `/metrics` and `/probe`; must not know what a metric means. Source: Prometheus'
//! documentation, "Exposition formats".

use std::fmt::Write as _;

/// The content type of what [`write`] returns.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Goes up only.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bounds, with sum and count.
    Histogram,
    /// Sum and count, and quantiles where there are any.
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

/// A label's name and value.
pub(crate) type Label = (&'static str, String);

/// One line of a family.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// What stands behind the family's name, such as `_sum`.
    pub(crate) suffix: &'static str,
    /// In the order in which they are written.
    pub(crate) labels: Vec<Label>,
    /// The value.
    pub(crate) value: f64,
}

impl Sample {
    /// A sample of the family's own name.
    pub(crate) fn new(labels: Vec<Label>, value: f64) -> Self {
        Self {
            suffix: "",
            labels,
            value,
        }
    }
}

/// Samples of one name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// Its name.
    pub(crate) name: &'static str,
    /// One sentence.
    pub(crate) help: &'static str,
    /// Its type.
    pub(crate) kind: Kind,
    /// A family without samples is left out.
    pub(crate) samples: Vec<Sample>,
}

/// Writes the families in their order.
pub(crate) fn write(families: &[Family]) -> String {
    let mut text = String::with_capacity(8 * 1024);
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let name = family.name;
        let _ = write!(text, "# HELP {name} ");
        push_escaped(&mut text, family.help, false);
        let _ = writeln!(text, "\n# TYPE {name} {}", family.kind.word());
        for sample in &family.samples {
            text.push_str(name);
            text.push_str(sample.suffix);
            for (index, (label, value)) in sample.labels.iter().enumerate() {
                text.push(if index == 0 { '{' } else { ',' });
                text.push_str(label);
                text.push_str("=\"");
                push_escaped(&mut text, value, true);
                text.push('"');
            }
            if !sample.labels.is_empty() {
                text.push('}');
            }
            text.push(' ');
            push_number(&mut text, sample.value);
            text.push('\n');
        }
    }
    text
}

/// Backslash and line feed are escaped in both, the quote in label values only.
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

/// The shortest text that reads back as the same number; whole numbers without a point.
fn push_number(text: &mut String, value: f64) {
    /// Below this every whole number is exact and its digits are short.
    const PLAIN_BELOW: f64 = 1e15;
    if value.is_nan() {
        text.push_str("NaN");
    } else if value.is_infinite() {
        text.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value.fract() == 0.0 && value.abs() < PLAIN_BELOW {
        let _ = write!(text, "{value:.0}");
    } else {
        let _ = write!(text, "{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::{Family, Kind, Sample, write};

    #[test]
    fn names_labels_and_values_are_written_as_the_format_has_them() {
        let families = [
            Family {
                name: "a_total",
                help: "Back\\slash and\nline.",
                kind: Kind::Counter,
                samples: vec![
                    Sample::new(vec![("x", "q\"b\\n\nz".into()), ("y", "é".into())], 12.0),
                    Sample {
                        suffix: "_sum",
                        labels: vec![],
                        value: 0.1,
                    },
                ],
            },
            Family {
                name: "left_out",
                help: "No samples.",
                kind: Kind::Gauge,
                samples: vec![],
            },
        ];
        assert_eq!(
            write(&families),
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
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            let mut out = String::new();
            super::push_number(&mut out, value);
            assert_eq!(out, text);
        }
    }
}
