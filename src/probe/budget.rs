//! The day's budget of bytes, for metered links: what the tests of a UTC day cost, and which test may still run, or go on.
//!
//! In memory only: a restart forgets what was spent. Must not know flags or metrics.

use std::cell::Cell;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use super::params::Params;
use crate::iperf3::Cost;
use crate::sync;

const DAY_SECONDS: u64 = 86_400;

#[derive(Debug)]
pub(super) struct Budget {
    /// Most payload bytes of a day, both ways together.
    limit: Option<u64>,
    spent: Mutex<Spent>,
}

/// What one run has cost so far: it is spent as it comes, on the day on which it does.
#[derive(Debug)]
pub(super) struct Account<'a> {
    budget: &'a Budget,
    /// Bytes that are spent already.
    own: Cell<f64>,
    /// The most that was spent on its days.
    highest: Cell<f64>,
}

/// What one day's tests cost.
#[derive(Debug, Default)]
struct Spent {
    /// Counted from 1970-01-01.
    day: u64,
    bytes: f64,
}

impl Budget {
    /// Nothing spent yet. Without a limit it only counts.
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

    /// An account for a run that begins.
    pub(super) fn open(&self) -> Account<'_> {
        Account {
            budget: self,
            own: Cell::default(),
            highest: Cell::default(),
        }
    }

    /// Counts some bytes, and tells how many are spent on the day of `now` so far.
    ///
    /// A clock that was set back begins another day as well: without one that can be relied on, a router that booted
    /// in the wrong year would refuse until that year.
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

    /// Whether a test may run.
    ///
    /// # Errors
    /// Why it may not, as a line.
    pub(super) fn check(
        &self,
        params: &Params,
        seconds: Duration,
        now: SystemTime,
    ) -> Result<(), String> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let spent = self.today(now);
        let left = limit as f64 - spent;
        if left <= 0.0 {
            return Err(format!(
                "the daily budget is spent: {spent:.0} of {limit} bytes, the next budget begins at 00:00 UTC"
            ));
        }
        match size(params, seconds) {
            Some(size) if size > left => Err(format!(
                "the test would transfer {size:.0} bytes, but only {left:.0} of the daily budget of {limit} are left"
            )),
            _ => Ok(()),
        }
    }
}

impl Account<'_> {
    /// The run has cost so much so far; whether the budget of the day of `now` holds that.
    pub(super) fn spend(&self, cost: Cost, now: SystemTime) -> bool {
        // What was spent is not taken back.
        let total = (cost.upload + cost.download).max(self.own.get());
        let spent = self.budget.spend(total - self.own.replace(total), now);
        self.highest.set(self.highest.get().max(spent));
        self.budget.limit.is_none_or(|limit| spent <= limit as f64)
    }

    /// What to say of a run that was ended because the budget did not hold it.
    pub(super) fn message(&self) -> String {
        format!(
            "the test exceeded the daily budget and was stopped: {:.0} of {} bytes are spent, {:.0} of them by this \
             test, the next budget begins at 00:00 UTC",
            self.highest.get(),
            self.budget.limit.unwrap_or_default(),
            self.own.get()
        )
    }
}

/// Payload bytes of a test, both ways together, where what was asked for tells.
fn size(params: &Params, seconds: Duration) -> Option<f64> {
    let directions = f64::from(params.mode.directions());
    let streams = f64::from(params.parallel()) * directions;
    let bytes_per_second = params.bits_per_second().map(|bits| bits / 8.0 * streams);
    let Some(bytes) = params.options.bytes else {
        return bytes_per_second.map(|rate| rate * seconds.as_secs_f64());
    };
    // What is omitted comes on top: at the rate, and never more than the bytes, which iperf3 then counts anew.
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
    use super::Budget;
    use crate::iperf3::Cost;
    use crate::probe::params::Params;
    use std::time::{Duration, SystemTime};

    fn check(budget: &Budget, query: &str, now: SystemTime) -> Result<(), String> {
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
        assert_eq!(
            check(&budget, "target=a", noon),
            Err(
                "the daily budget is spent: 1100 of 1000 bytes, the next budget begins at 00:00 UTC"
                    .to_owned()
            )
        );
        let midnight = noon + Duration::from_secs(43_200);
        assert!(check(&budget, "target=a", midnight - Duration::from_secs(1)).is_err());
        assert_eq!(check(&budget, "target=a", midnight), Ok(()));
        assert!(budget.today(midnight).abs() < 1e-9);
    }

    #[test]
    fn a_run_spends_as_it_goes_and_each_byte_once() {
        let before = SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400 - 1);
        let budget = Budget::new(Some(1000));
        budget.open().spend(cost(100.0, 0.0), before);
        let account = budget.open();
        assert!(account.spend(cost(300.0, 100.0), before));
        assert!(account.spend(cost(300.0, 100.0), before));
        // All that there is may be spent.
        assert!(account.spend(cost(800.0, 100.0), before));
        let today = |now| format!("{}", budget.today(now));
        assert_eq!(today(before), "1000");
        assert!(!account.spend(cost(801.0, 100.0), before));
        let message = "the test exceeded the daily budget and was stopped: 1001 of 1000 bytes are spent, 901 of \
                       them by this test, the next budget begins at 00:00 UTC";
        assert_eq!(account.message(), message);
        // What comes behind midnight is the next day's, and the sentence is still of the day that it was ended on.
        let midnight = before + Duration::from_secs(1);
        assert!(account.spend(cost(806.0, 100.0), midnight));
        assert_eq!(today(midnight), "5");
        assert!(account.message().contains(" 1001 of 1000 bytes"));
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
            // Two seconds of it are 4 MB; what is omitted is never more than the bytes.
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
    }

    #[test]
    fn without_a_limit_all_is_counted_and_nothing_refused() {
        let now = SystemTime::now();
        let budget = Budget::new(None);
        assert!(budget.open().spend(cost(1e15, 1.0), now));
        assert!((budget.today(now) - 1e15 - 1.0).abs() < 1e-9);
        assert_eq!(check(&budget, "target=a", now), Ok(()));
    }
}
