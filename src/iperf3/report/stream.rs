//! Turns the lines of `iperf3 --json-stream` into the [`Document`] that `-J` would have printed.
//!
//! Owns what a line of the stream is; must not know processes. Each line is an event: `start` and `end` are the
//! document's parts of that name, `interval` is an element of its `intervals`, `error` its error. Anything else is
//! skipped: text before, between and after the events, a line torn by a full pipe, unused events. The events do not
//! show success: `end` comes after an error too.

use serde_json::{Map, Value};

use super::document::{Document, Unreadable};
use super::text;
use crate::iperf3::progress::Progress;

/// Longest line that is read: ten times the longest one seen, the end of a test of 128 streams per direction.
const LINE_LIMIT_BYTES: usize = 1024 * 1024;
/// How much is kept of the lines that are not events: iperf3's error message may be among them.
const OTHER_LIMIT_BYTES: usize = 16 * 1024;
/// The events that are members of the document, under their own names.
const PARTS: [&str; 3] = ["start", "end", "error"];

/// The result of a stream.
#[derive(Debug)]
pub(crate) struct Streamed {
    /// With everything that came; `None` if no event came.
    pub(crate) document: Option<Document>,
    /// What is wrong with the rest.
    pub(crate) unreadable: Option<Unreadable>,
    /// The text outside the document. iperf3's error message may be in it.
    pub(crate) other: Vec<u8>,
}

/// The state of a stream.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    /// Takes the intervals as they come.
    progress: &'a Progress,
    /// The beginning of a line.
    line: Vec<u8>,
    /// Whether the current line exceeds the limit. Its rest is skipped.
    is_too_long: bool,
    /// Whether any line exceeded the limit.
    has_skipped: bool,
    root: Map<String, Value>,
    has_events: bool,
    /// The lines that are not events, and an empty line for each event, so that line numbers are kept.
    other: Vec<u8>,
}

impl<'a> Stream<'a> {
    /// A stream that has not begun. The intervals go to `progress`.
    pub(crate) fn new(progress: &'a Progress) -> Self {
        Self {
            progress,
            line: Vec::new(),
            is_too_long: false,
            has_skipped: false,
            root: Map::new(),
            has_events: false,
            other: Vec::new(),
        }
    }

    /// Takes the next piece of standard output, which may end anywhere.
    pub(crate) fn take(&mut self, piece: &[u8]) {
        let mut lines = piece.split(|byte| *byte == b'\n');
        let rest = lines.next_back().unwrap_or_default();
        for line in lines {
            self.lengthen(line);
            if !self.is_too_long {
                self.read_line();
            }
            self.keep(b"\n");
            self.line.clear();
            self.is_too_long = false;
        }
        self.lengthen(rest);
    }

    fn lengthen(&mut self, part: &[u8]) {
        if self.line.len() + part.len() > LINE_LIMIT_BYTES {
            self.is_too_long = true;
            self.has_skipped = true;
            self.line = Vec::new();
        }
        if !self.is_too_long {
            self.line.extend_from_slice(part);
        }
    }

    fn keep(&mut self, text: &[u8]) {
        if self.other.len() + text.len() <= OTHER_LIMIT_BYTES {
            self.other.extend_from_slice(text);
        }
    }

    fn read_line(&mut self) {
        let Some((event, data)) = event(&self.line) else {
            let line = std::mem::take(&mut self.line);
            self.keep(&line);
            return;
        };
        match event.as_str() {
            "interval" => self.progress.update(|intervals| intervals.push(&data)),
            part if PARTS.contains(&part) => {
                if part == "start" {
                    self.progress.begin();
                    self.progress.update(|intervals| intervals.begin(&data));
                }
                // Of two errors, the first is the server's own.
                self.root.entry(event).or_insert(data);
            }
            _ => return,
        }
        self.has_events = true;
    }

    /// Returns the result. A line without a line end is not an event.
    pub(crate) fn finish(mut self) -> Streamed {
        let line = std::mem::take(&mut self.line);
        self.keep(&line);
        let other = std::mem::take(&mut self.other);
        let too_long = Unreadable::LineTooLong {
            limit_bytes: LINE_LIMIT_BYTES,
        };
        let skipped = self.has_skipped.then_some(too_long);
        Streamed {
            document: self.document(),
            unreadable: skipped.or_else(|| Document::read(&other).err().flatten()),
            other,
        }
    }

    fn document(mut self) -> Option<Document> {
        let intervals = self.progress.intervals().filter(|_| self.has_events)?;
        for part in ["start", "end"] {
            let empty = || Value::Object(Map::new());
            self.root.entry(part).or_insert_with(empty);
        }
        Some(Document::from_parts(Value::Object(self.root), intervals))
    }
}

/// The event of a line, and its data.
fn event(line: &[u8]) -> Option<(String, Value)> {
    let Value::Object(mut members) = text::find(line).ok()? else {
        return None;
    };
    let data = members.remove("data")?;
    let Value::String(event) = members.remove("event")? else {
        return None;
    };
    // A later iperf3 may add members to an event. Unknown ones are ignored, as within a document.
    Some((event, data))
}

#[cfg(test)]
mod tests {
    use super::{Document, LINE_LIMIT_BYTES, OTHER_LIMIT_BYTES, Stream};
    use crate::fuzz;
    use crate::iperf3::progress::Progress;
    use crate::iperf3::reason::Reason;
    use crate::iperf3::report::Fault;
    use crate::iperf3::report::intervals::Intervals;
    use crate::iperf3::{Failure, Mode};
    use serde_json::{Value, json};

    /// Reads a stream that comes in pieces of `piece_bytes`.
    fn read(text: &[u8], piece_bytes: usize) -> Option<Document> {
        let progress = Progress::new(None);
        progress.start(Some(Intervals::new(Mode::Upload)));
        let mut stream = Stream::new(&progress);
        for piece in text.chunks(piece_bytes) {
            stream.take(piece);
        }
        stream.finish().document
    }

    fn line(event: &str, data: &Value) -> String {
        json!({ "event": event, "data": data }).to_string() + "\n"
    }

    /// A short upload: the lines of its stream, one event each.
    fn upload() -> Vec<String> {
        let stream = |start: u32, bytes: u32| {
            json!({ "streams": [{ "start": start, "end": start + 1, "seconds": 1, "bytes": bytes, "rtt": 9,
                "omitted": false, "sender": true }] })
        };
        let side = json!({ "sender": true, "end": 2, "bytes": 300 });
        let sum = json!({ "seconds": 2, "bytes": 300, "retransmits": 0 });
        vec![
            line(
                "start",
                &json!({ "connected": [{}], "version": "iperf 3.18" }),
            ),
            line("interval", &stream(0, 100)),
            line("interval", &stream(1, 200)),
            line(
                "end",
                &json!({ "streams": [{ "sender": side, "receiver": side }],
                "sum_sent": sum, "sum_received": sum }),
            ),
        ]
    }

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let text = upload().concat();
        let whole = read(text.as_bytes(), text.len()).unwrap();
        let report = whole.report(Mode::Upload, false).unwrap();
        let direction = report.upload.as_ref().unwrap();
        assert_eq!(direction.rates.map(|rates| rates.sum), Some(300.0));
        assert_eq!(direction.intervals.len(), 2);
        assert!(whole.was_connected() && whole.end_part().unwrap().contains("sum_sent"));
        for piece_bytes in [1, 2, 7, 64, 4096] {
            let cut = read(text.as_bytes(), piece_bytes).unwrap();
            assert_eq!(
                cut.report(Mode::Upload, false).as_ref(),
                Ok(&report),
                "{piece_bytes}"
            );
        }
    }

    #[test]
    fn lines_that_are_not_events_are_skipped_anywhere() {
        let events = upload();
        let report = read(events.concat().as_bytes(), 4096)
            .unwrap()
            .report(Mode::Upload, false);
        let (torn, _) = events[1].split_at(events[1].len() / 2);
        let other_lines = [
            "Control connection MSS 1448\n",
            "\n",
            "{}\n",
            "[1]\n",
            "{\"event\":\"end\"}\n",
            "{\"event\":7,\"data\":{}}\n",
            "{\"event\":\"server_output_text\",\"data\":\"words\"}\n",
            "{\n",
            // A full pipe, then SIGTERM: the beginning of a line is joined to the next line.
            &[torn, events[2].as_str()].concat(),
        ];
        for other_line in other_lines {
            for at in 0..=events.len() {
                let (before, behind) = events.split_at(at);
                let text = [&before.concat(), other_line, &behind.concat()].concat();
                let document = read(text.as_bytes(), 4096).unwrap();
                assert_eq!(
                    document.report(Mode::Upload, false),
                    report,
                    "{other_line} {at}"
                );
            }
            let alone = read(other_line.as_bytes(), 4096);
            assert!(alone.is_none(), "{other_line}");
        }
        let unfinished = [events.concat().as_str(), torn].concat();
        let document = read(unfinished.as_bytes(), 4096).unwrap();
        assert_eq!(document.report(Mode::Upload, false), report);
    }

    #[test]
    fn an_event_may_have_unknown_members() {
        let events = upload();
        let more = events
            .iter()
            .map(|line| line.replacen('{', "{\"time\":{\"event\":1},", 1));
        let more = read(more.collect::<String>().as_bytes(), 4096).unwrap();
        let plain = read(events.concat().as_bytes(), 4096).unwrap();
        let report = plain.report(Mode::Upload, false);
        assert!(report.is_ok());
        assert_eq!(more.report(Mode::Upload, false), report);
    }

    #[test]
    fn other_lines_are_kept_at_their_line_within_a_limit() {
        let other = |text: &str| {
            let progress = Progress::new(None);
            progress.start(Some(Intervals::new(Mode::Upload)));
            let mut stream = Stream::new(&progress);
            stream.take(text.as_bytes());
            String::from_utf8(stream.finish().other).unwrap()
        };
        let text = format!("before\n{}iperf3: error - x\nrest", upload().concat());
        assert_eq!(other(&text), "before\n\n\n\n\niperf3: error - x\nrest");
        let endless = "words\n".repeat(OTHER_LIMIT_BYTES);
        assert!(other(&endless).len() <= OTHER_LIMIT_BYTES);
    }

    #[test]
    fn an_endless_line_is_dropped_and_the_next_one_is_read() {
        let progress = Progress::new(None);
        progress.start(Some(Intervals::new(Mode::Upload)));
        let mut stream = Stream::new(&progress);
        for _ in 0..3 * LINE_LIMIT_BYTES / 4096 {
            stream.take(&[b'x'; 4096]);
            assert!(stream.line.capacity() <= 2 * LINE_LIMIT_BYTES);
        }
        stream.take(b"\n");
        stream.take(upload().concat().as_bytes());
        let document = stream.finish().document.unwrap();
        assert!(document.report(Mode::Upload, false).is_ok());
        // The longest line that is read. Blanks before an event are allowed, but count.
        let error = line("error", &json!("e"));
        for (blanks, is_read) in [
            (LINE_LIMIT_BYTES - error.len() + 1, true),
            (LINE_LIMIT_BYTES, false),
        ] {
            let text = " ".repeat(blanks) + &error;
            assert_eq!(read(text.as_bytes(), 4096).is_some(), is_read, "{blanks}");
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_same_result_even_with_changed_bytes() {
        let recorded = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/3.18-stream/tcp.stream"
        );
        let recorded = std::fs::read(recorded).unwrap();
        fuzz::cases(300, |random| {
            let mut text = recorded.clone();
            random.mutate(&mut text);
            let outcome = |document: Option<Document>| {
                document.map(|document| (document.report(Mode::Upload, false), document.end_part()))
            };
            let whole = outcome(read(&text, text.len().max(1)));
            let pieces = outcome(read(&text, random.within(1..5000)));
            assert_eq!(whole, pieces);
        });
    }

    #[test]
    fn a_recorded_run_that_was_cut_off_has_a_cost() {
        let failure = || Failure {
            reason: Reason::Killed,
            message: String::new(),
        };
        for (name, bytes) in [
            // One second, then SIGKILL.
            ("3.18-stream/client-sigkill-tcp", 6_291_456.0),
            // The last interval is printed twice.
            ("3.18-stream/server-sigkill-tcp", 6_291_456.0),
            // One second, and half a second more when it was asked to end.
            ("3.21-stream/client-sigterm-tcp", 9_437_184.0),
            ("3.18-stream/refused", 0.0),
        ] {
            let path = format!(
                "{}/tests/fixtures/{name}.stream",
                env!("CARGO_MANIFEST_DIR")
            );
            let document = read(&std::fs::read(path).unwrap(), 4096).unwrap();
            let cost = document.cost(Mode::Upload, &Err(failure()));
            assert_eq!((cost.upload, cost.download), (bytes, 0.0), "{name}");
        }
    }

    #[test]
    fn an_end_event_is_not_success_and_the_first_of_two_errors_counts() {
        let text = [
            line("error", &json!("SERVER ERROR - first")),
            line("error", &json!("control socket has closed unexpectedly")),
            line("end", &json!({})),
        ];
        let document = read(text.concat().as_bytes(), 4096).unwrap();
        let fault = Fault::Error("SERVER ERROR - first".to_owned());
        assert_eq!(document.report(Mode::Upload, false), Err(fault));
        assert!(!document.was_connected());
        // Killed midway: what came is there, but is not a result.
        let cut = upload()[..2].concat();
        let document = read(cut.as_bytes(), 4096).unwrap();
        let incomplete = document.report(Mode::Upload, false);
        assert_eq!(incomplete, Err(Fault::Incomplete));
    }
}
