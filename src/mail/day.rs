//! Days of the calendar, and the date and time of RFC 3339. Knows no clock and no zone but UTC,
//! which is what the offsets of others are turned into.

use super::id::Timestamp;

const SECONDS_PER_DAY: i64 = 86_400;

/// A day, counted from 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Day(pub i64);

impl Day {
    /// The day, in UTC, in which `time` lies.
    pub fn of(time: Timestamp) -> Day {
        Day(time.seconds().div_euclid(SECONDS_PER_DAY))
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

/// Writes `2026-11-26T10:57:52Z`. RFC 3339 §5.6
pub fn write_rfc3339(time: Timestamp) -> String {
    let (year, month, day) = Day::of(time).civil();
    let second = time.seconds().rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Reads a `date-time`; a fraction of a second is dropped. RFC 3339 §5.6
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, time) = (text.get(..10)?, text.get(10..)?);
    let time = time.strip_prefix(['T', 't'])?;
    let (clock, rest) = (time.get(..8)?, time.get(8..)?);
    let [year, month, day] = numbers(date, b'-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, b':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (zone.len() < fraction.len()).then_some(zone)?
        }
        None => rest,
    };
    let day = Day::from_civil(i64::from(year), month, day)?;
    let seconds = i64::from(hour * 3600 + minute * 60 + second) - offset(zone)?;
    Some(Timestamp::from_seconds(day.0 * SECONDS_PER_DAY + seconds))
}

/// Seconds east of UTC: `Z`, `+01:00`.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("Z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let [hours, minutes] = numbers(&zone[1..], b':', [2, 2])?;
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

/// Numbers of these many digits each, with a separator between them.
fn numbers<const N: usize>(text: &str, separator: u8, digits: [usize; N]) -> Option<[u32; N]> {
    let mut fields = text.split(char::from(separator));
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let field = fields.next()?;
        let fits = field.len() == digits && field.bytes().all(|b| b.is_ascii_digit());
        *number = fits.then(|| field.parse().ok())??;
    }
    fields.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(text: &str) -> Option<i64> {
        parse_rfc3339(text).map(Timestamp::seconds)
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        // RFC 3339 §5.8
        assert_eq!(seconds("1985-04-12T23:20:50.52Z"), Some(482_196_050));
        assert_eq!(seconds("1996-12-19T16:39:57-08:00"), seconds("1996-12-20T00:39:57Z"));
        assert_eq!(seconds("1990-12-31T23:59:60Z"), seconds("1991-01-01T00:00:00Z"));
        assert_eq!(seconds("1937-01-01t12:00:27.87+00:20"), seconds("1937-01-01T11:40:27z"));
    }

    #[test]
    fn what_is_no_date_and_time_is_refused() {
        for bad in [
            "",
            "2026-11-26",
            "2026-11-26T10:57:52",
            "2026-02-29T10:57:52Z",
            "2026-11-26T24:00:00Z",
            "2026-11-26T10:60:00Z",
            "2026-11-26T10:57:61Z",
            "2026-11-26T10:57:52.Z",
            "2026-11-26T10:57:52+1:00",
            "2026-11-26T10:57:52+24:00",
            "2026-11-26T10:57:52Zulu",
            "+026-11-26T10:57:52Z",
            "2026-11-2üT10:57:52Z",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_date_and_time_survives_the_way_out_and_in(seconds in 0i64..250_000_000_000) {
            let time = Timestamp::from_seconds(seconds);
            prop_assert_eq!(parse_rfc3339(&write_rfc3339(time)), Some(time));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[0-9T:.Z+\\-ü]{0,30}") {
            let _ = parse_rfc3339(&text);
        }
    }
}
