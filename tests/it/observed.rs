//! The exporter with the iperf3 on PATH, which also leaves its command line and its JSON for the test to read.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::forms;
use crate::harness::{Exporter, Fake, Reply};

/// The exporter and its wrapped iperf3.
pub struct Observed {
    fake: Fake,
    pub exporter: Exporter,
}

impl Observed {
    pub fn new() -> Self {
        Self::of(Path::new("iperf3"))
    }

    /// With another iperf3 than the one on PATH.
    pub fn of(iperf3: &Path) -> Self {
        let iperf3 = iperf3.display();
        let fake = Fake::with_help(
            &format!(
                "printf '%s ' \"$@\" > \"$DIR/words\"\n'{iperf3}' \"$@\" > \"$DIR/json\"\nstatus=$?\n\
                 cat \"$DIR/json\"\nexit $status"
            ),
            &format!("exec '{iperf3}' --help"),
        );
        let exporter = Exporter::start(&[fake.flag()]);
        Self { fake, exporter }
    }

    /// A probe that may fail.
    pub fn get(&self, query: &str) -> Reply {
        let reply = self.exporter.get(&format!("/probe?{query}"));
        assert_eq!(reply.code, 200, "{query}: {}", reply.body);
        reply
    }

    /// A probe that must succeed, with iperf3's own report of the same run.
    pub fn probe(&self, query: &str) -> (Reply, Value) {
        let reply = self.get(query);
        let text = fs::read_to_string(self.fake.dir().join("json")).unwrap();
        assert_eq!(
            reply.family("iperf3_up"),
            Some(1.0),
            "{query}: {}\n{text}\n{}",
            reply.body,
            self.exporter.log()
        );
        assert_eq!(reply.reason(), None, "{query}");
        let is_stream = self.words().contains("--json-stream");
        let document = if is_stream {
            forms::document_of(&text)
        } else {
            text
        };
        (reply, serde_json::from_str(&document).unwrap())
    }

    /// The command line of the last run, with a blank after each argument.
    pub fn words(&self) -> String {
        fs::read_to_string(self.fake.dir().join("words")).unwrap()
    }
}

/// A number of a report, by its JSON pointer.
pub fn number(report: &Value, pointer: &str) -> f64 {
    let value = report.pointer(pointer).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no {pointer} in {report}"))
}
