//! Days of the calendar. Knows no clock and no zone but UTC.

use std::fmt;

use super::id::Timestamp;

const SECONDS_PER_DAY: i64 = 86_400;

/// As `2026-12-05`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// A day, counted from 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Day(pub i64);

impl Day {
    /// The day, in UTC, in which `time` lies.
    pub fn of(time: Timestamp) -> Day {
        Day(time.seconds().div_euclid(SECONDS_PER_DAY))
    }

    /// Its first moment, in UTC.
    pub fn start(self) -> Timestamp {
        Timestamp::from_seconds(self.0.saturating_mul(SECONDS_PER_DAY))
    }

    /// Reads `2026-12-05`. RFC 3339 §5.6
    pub fn parse(text: &str) -> Option<Day> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let parts: Vec<&str> = text.split('-').filter(|part| digits(part)).collect();
        let [year, month, day] = parts[..] else { return None };
        if (year.len(), month.len(), day.len()) != (4, 2, 2) || text.len() != 10 {
            return None;
        }
        Day::from_civil(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
    }

    /// A day of the proleptic Gregorian calendar; `None` when there is no such day.
    pub fn from_civil(year: i64, month: u32, day: u32) -> Option<Day> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if !(1..=12).contains(&month) || day == 0 || day > length {
            return None;
        }
        // years start in March, so that the leap day is a year's last
        let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = i64::from((153 * month + 2) / 5 + day - 1);
        let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        Some(Day(era * 146_097 + of_era - 719_468))
    }

    /// Year, month and day.
    pub fn civil(self) -> (i64, u32, u32) {
        let days = self.0 + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = (of_year - (153 * month + 2) / 5 + 1) as u32;
        let month = if month < 10 { month + 3 } else { month - 9 } as u32;
        (year + era * 400 + i64::from(month < 3), month, day)
    }
}
