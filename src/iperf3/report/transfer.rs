//! What was transferred, and in which direction.
//!
//! Owns when the two ends contradict each other; must not know where a number is in the JSON.

use serde_json::Value;

use super::plausibility;
use crate::iperf3::mode::Mode;

/// Bytes and the time that they took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Transfer {
    /// Seconds by that side's clock.
    pub(crate) seconds: Option<f64>,
    /// Payload bytes.
    pub(crate) bytes: Option<f64>,
}

impl Transfer {
    pub(crate) fn bytes_per_second(&self) -> Option<f64> {
        plausibility::rate(self.bytes?, self.seconds?)
    }

    pub(crate) fn bits_per_second(&self) -> Option<f64> {
        Some(self.bytes_per_second()? * 8.0)
    }
}

/// The direction in which data flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowDirection {
    Upload,
    Download,
}

impl FlowDirection {
    /// Whether `side`, a stream or a side of one, has this direction in a test of this mode. Versions before 3.7 have
    /// neither `sender` nor bidirectional tests.
    pub(super) fn has(self, side: &Value, mode: Mode) -> bool {
        let client_sends = side.get("sender").and_then(Value::as_bool);
        let client_sends = client_sends.or(match mode {
            Mode::Upload => Some(true),
            Mode::Reverse => Some(false),
            Mode::Bidirectional => None,
        });
        client_sends == Some(self == Self::Upload)
    }
}

/// Drops the server's values that contradict the client's count: in an upload what arrived, in a download what was
/// sent. `max_received` returns the most that can have arrived of the bytes sent, if that is known.
pub(super) fn drop_contradictions(
    direction: FlowDirection,
    sent: &mut Transfer,
    received: &mut Transfer,
    max_received: impl FnOnce(f64) -> Option<f64>,
) {
    let max = sent.bytes.and_then(max_received);
    let is_more = max.is_some() && received.bytes > max;
    let (ours, theirs) = match direction {
        FlowDirection::Upload => (sent, received),
        FlowDirection::Download => (received, sent),
    };
    theirs.bytes = theirs.bytes.filter(|_| !is_more);
    theirs.seconds = theirs
        .seconds
        .filter(|theirs| ours.seconds.is_none_or(|ours| is_same_test(*theirs, ours)));
}

/// Whether both durations can belong to the same test. The two ends start and stop one round trip apart, and a sender
/// stops late if it waits for a queue to take its last block.
fn is_same_test(theirs: f64, ours: f64) -> bool {
    /// How much a short test may differ.
    const EARLY_SECONDS: f64 = 0.1;
    const LATE_SECONDS: f64 = 10.0;
    (0.5 * ours - EARLY_SECONDS..=4.0 * ours + LATE_SECONDS).contains(&theirs)
}

#[cfg(test)]
mod tests {
    use super::{FlowDirection, Transfer, drop_contradictions};

    #[test]
    fn server_values_that_contradict_the_clients_count_are_dropped() {
        let transfer = |seconds, bytes| Transfer {
            seconds: Some(seconds),
            bytes: Some(bytes),
        };
        let judged = |direction, mut sent: Transfer, mut received: Transfer| {
            drop_contradictions(direction, &mut sent, &mut received, |sent| {
                Some(sent + 10.0)
            });
            (sent, received)
        };
        let (one, ten_more, eleven_more) = (
            transfer(1.0, 100.0),
            transfer(1.1, 110.0),
            transfer(1.0, 111.0),
        );
        assert_eq!(
            judged(FlowDirection::Upload, one, ten_more),
            (one, ten_more)
        );
        assert_eq!(
            judged(FlowDirection::Download, one, ten_more),
            (one, ten_more)
        );
        let no_bytes = Transfer { bytes: None, ..one };
        assert_eq!(
            judged(FlowDirection::Upload, one, eleven_more),
            (one, no_bytes)
        );
        assert_eq!(
            judged(FlowDirection::Download, one, eleven_more),
            (no_bytes, eleven_more)
        );
        for (theirs, is_possible) in [
            (1e-300, false),
            (0.39, false),
            (0.41, true),
            (13.9, true),
            (14.1, false),
        ] {
            let server = transfer(theirs, 100.0);
            let (_, received) = judged(FlowDirection::Upload, one, server);
            assert_eq!(received.seconds.is_some(), is_possible, "{theirs}");
            let (sent, received) = judged(FlowDirection::Download, server, one);
            assert_eq!(sent.seconds.is_some(), is_possible, "{theirs}");
            assert_eq!(received, one);
        }
        // Omitted seconds: how much can have arrived is unknown.
        let (mut sent, mut received) = (one, eleven_more);
        drop_contradictions(FlowDirection::Upload, &mut sent, &mut received, |_| None);
        assert_eq!((sent, received), (one, eleven_more));
    }
}
