//! The daily byte budget for metered links: what the tests of a UTC day cost, and whether a test may start or continue.
//!
//! Kept in memory only: a restart resets it. Must not know flags or metrics.

use std::cell::Cell;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use super::params::Params;
use crate::iperf3::Cost;
use crate::sync;

const DAY_SECONDS: u64 = 86_400;

#[derive(Debug)]
pub(super) struct Budget {
    /// Maximum payload bytes per day, both directions together.
    limit: Option<u64>,
    spent: Mutex<Spent>,
}

/// The cost of one run so far. Bytes are charged as they are transferred, to the day on which that happens.
#[derive(Debug)]
pub(super) struct Account<'a> {
    budget: &'a Budget,
    /// Bytes that were charged for this run so far.
    own: Cell<f64>,
    /// Highest daily total that was reached during this run.
    highest: Cell<f64>,
}

/// The cost of one day's tests.
#[derive(Debug, Default)]
struct Spent {
    /// Days since 1970-01-01.
    day: u64,
    bytes: f64,
}

/// Why the daily budget does not allow a test. All numbers are bytes.
#[derive(Debug, PartialEq)]
pub(super) enum OverBudget {
    /// Nothing is left.
    Spent { spent: f64, limit: u64 },
    /// Less is left than the test would transfer.
    TooLittleLeft { size: f64, left: f64, limit: u64 },
    /// The test exceeded the budget while it ran. `own` is what it transferred itself.
    Exceeded { spent: f64, limit: u64, own: f64 },
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spent { spent, limit } => write!(
                f,
                "the daily budget is spent: {spent:.0} of {limit} bytes, the next budget begins at 00:00 UTC"
            ),
            Self::TooLittleLeft { size, left, limit } => write!(
                f,
                "the test would transfer {size:.0} bytes, but only {left:.0} bytes of the daily budget of {limit} bytes \
                 are left"
            ),
            Self::Exceeded { spent, limit, own } => write!(
                f,
                "the test exceeded the daily budget and was stopped: {spent:.0} of {limit} bytes are spent, {own:.0} of \
                 them by this test, the next budget begins at 00:00 UTC"
            ),
        }
    }
}

impl Budget {
    /// An unspent budget. Without a limit it only counts.
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self {
            limit,
            spent: Mutex::default(),
        }
    }

    /// Bytes spent on the day of `now`.
    pub(super) fn today(&self, now: SystemTime) -> f64 {
        self.spend(0.0, now)
    }

    /// Opens an account for a new run.
    pub(super) fn open(&self) -> Account<'_> {
        Account {
            budget: self,
            own: Cell::default(),
            highest: Cell::default(),
        }
    }

    /// Adds bytes, and returns the total of the day of `now` so far.
    ///
    /// A clock that is set back also starts a new day. Otherwise a router that booted with a date in the future would
    /// refuse tests until that date.
    fn spend(&self, bytes: f64, now: SystemTime) -> f64 {
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let day = since.unwrap_or_default().as_secs() / DAY_SECONDS;
        let mut spent = sync::lock(&self.spent);
        if day != spent.day {
            *spent = Spent { day, bytes: 0.0 };
        }
        spent.bytes += bytes;
        spent.bytes
    }

    /// Checks whether a test may run.
    pub(super) fn check(
        &self,
        params: &Params,
        seconds: Duration,
        now: SystemTime,
    ) -> Result<(), OverBudget> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let spent = self.today(now);
        let left = limit as f64 - spent;
        if left <= 0.0 {
            return Err(OverBudget::Spent { spent, limit });
        }
        match size(params, seconds) {
            Some(size) if size > left => Err(OverBudget::TooLittleLeft { size, left, limit }),
            _ => Ok(()),
        }
    }
}

impl Account<'_> {
    /// Charges the run's cost so far, and returns whether the budget of the day of `now` allows it.
    pub(super) fn spend(&self, cost: Cost, now: SystemTime) -> bool {
        // Spent bytes are never refunded.
        let total = (cost.upload + cost.download).max(self.own.get());
        let spent = self.budget.spend(total - self.own.replace(total), now);
        self.highest.set(self.highest.get().max(spent));
        self.budget.limit.is_none_or(|limit| spent <= limit as f64)
    }

    /// The error of a run that was stopped because it exceeded the budget.
    pub(super) fn exceeded(&self) -> OverBudget {
        OverBudget::Exceeded {
            spent: self.highest.get(),
            limit: self.budget.limit.unwrap_or_default(),
            own: self.own.get(),
        }
    }
}

/// Payload bytes of a test, both directions together, if its parameters determine them.
fn size(params: &Params, seconds: Duration) -> Option<f64> {
    let directions = f64::from(params.mode.directions());
    let streams = f64::from(params.parallel()) * directions;
    let bytes_per_second = params.bits_per_second().map(|bits| bits / 8.0 * streams);
    let Some(bytes) = params.options.bytes else {
        return bytes_per_second.map(|rate| rate * seconds.as_secs_f64());
    };
    // Omitted bytes come on top: at most what the rate allows, and at most `bytes`. iperf3 restarts its byte count
    // after the omitted seconds.
    let bytes = bytes as f64 * directions;
    let omitted = match (params.options.omit_seconds, bytes_per_second) {
        (0, _) => 0.0,
        (_, None) => bytes,
        (seconds, Some(rate)) => (rate * seconds as f64).min(bytes),
    };
    Some(bytes + omitted)
}

#[cfg(test)]
mod tests {
    use super::{Budget, OverBudget};
    use crate::iperf3::Cost;
    use crate::probe::params::Params;
    use std::time::{Duration, SystemTime};

    fn check(budget: &Budget, query: &str, now: SystemTime) -> Result<(), OverBudget> {
        let params = Params::parse(query).unwrap();
        let seconds = Duration::from_secs(params.least_seconds(params.period_seconds));
        budget.check(&params, seconds, now)
    }

    fn cost(upload: f64, download: f64) -> Cost {
        Cost { upload, download }
    }

    #[test]
    fn a_spent_budget_refuses_until_the_next_day() {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400 + 43_200);
        let budget = Budget::new(Some(1000));
        assert_eq!(check(&budget, "target=a", noon), Ok(()));
        budget.spend(900.0, noon);
        assert_eq!(check(&budget, "target=a", noon), Ok(()));
        budget.spend(200.0, noon);
        let error = check(&budget, "target=a", noon).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the daily budget is spent: 1100 of 1000 bytes, the next budget begins at 00:00 UTC"
        );
        let midnight = noon + Duration::from_secs(43_200);
        assert!(check(&budget, "target=a", midnight - Duration::from_secs(1)).is_err());
        assert_eq!(check(&budget, "target=a", midnight), Ok(()));
        assert!(budget.today(midnight).abs() < 1e-9);
    }

    #[test]
    fn each_byte_of_a_run_is_charged_once_and_as_it_is_transferred() {
        let before = SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400 - 1);
        let budget = Budget::new(Some(1000));
        budget.open().spend(cost(100.0, 0.0), before);
        let account = budget.open();
        assert!(account.spend(cost(300.0, 100.0), before));
        assert!(account.spend(cost(300.0, 100.0), before));
        // The whole budget may be spent.
        assert!(account.spend(cost(800.0, 100.0), before));
        let today = |now| format!("{}", budget.today(now));
        assert_eq!(today(before), "1000");
        assert!(!account.spend(cost(801.0, 100.0), before));
        let message = "the test exceeded the daily budget and was stopped: 1001 of 1000 bytes are spent, 901 of \
                       them by this test, the next budget begins at 00:00 UTC";
        assert_eq!(account.exceeded().to_string(), message);
        // Bytes after midnight belong to the next day. The message still refers to the day on which the budget was
        // exceeded.
        let midnight = before + Duration::from_secs(1);
        assert!(account.spend(cost(806.0, 100.0), midnight));
        assert_eq!(today(midnight), "5");
        let exceeded = account.exceeded().to_string();
        assert!(exceeded.contains(" 1001 of 1000 bytes"));
        assert!(account.spend(cost(1.0, 1.0), midnight));
        assert_eq!(today(midnight), "5");
    }

    #[test]
    fn a_test_of_a_known_size_has_to_fit() {
        let now = SystemTime::now();
        let budget = Budget::new(Some(10_000_000));
        for (query, fits) in [
            ("target=a&bitrate=16M&period=5s", true),
            ("target=a&bitrate=16M&period=6s", false),
            ("target=a&bitrate=16M&period=5s&bidirectional=1", false),
            ("target=a&bitrate=4M&period=5s&parallel=4", true),
            ("target=a&bitrate=4M&period=5s&parallel=5", false),
            ("target=a&udp_mode=1&period=76s", true),
            ("target=a&udp_mode=1&period=77s", false),
            ("target=a&bytes=9.5M", true),
            ("target=a&bytes=9.6M", false),
            ("target=a&bytes=5M&bidirectional=1", false),
            ("target=a&bytes=5M&bitrate=16M&omit=2", true),
            // Above, two seconds at 16M are 4 MB. Below, the omitted bytes are limited by `bytes`.
            ("target=a&bytes=4M&bitrate=1G&omit=2", true),
            ("target=a&bytes=5M&bitrate=1G&omit=2", false),
            ("target=a&bytes=4M&omit=1", true),
            ("target=a&bytes=5M&omit=1", false),
            ("target=a&bitrate=16M&period=4s&omit=1", true),
            ("target=a&bitrate=16M&period=5s&omit=1", false),
            ("target=a&bitrate=0&period=1h", true),
            ("target=a&period=1h", true),
        ] {
            assert_eq!(check(&budget, query, now).is_ok(), fits, "{query}");
        }
        budget.spend(1_000_000.0, now);
        let error = check(&budget, "target=a&bytes=9.6M", now).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the test would transfer 10066329 bytes, but only 9000000 bytes of the daily budget of 10000000 bytes are \
             left"
        );
    }

    #[test]
    fn without_a_limit_bytes_are_counted_and_no_test_is_refused() {
        let now = SystemTime::now();
        let budget = Budget::new(None);
        assert!(budget.open().spend(cost(1e15, 1.0), now));
        assert!((budget.today(now) - 1e15 - 1.0).abs() < 1e-9);
        assert_eq!(check(&budget, "target=a", now), Ok(()));
    }
}
