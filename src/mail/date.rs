//! Points in time as header fields write them. Knows no clock.

use super::day::Day;
use super::id::Timestamp;

/// The form of Date and Received, in UTC. RFC 5322 §3.3
pub fn rfc5322(time: Timestamp) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (today, second) = (Day::of(time), time.seconds().rem_euclid(86_400));
    let (year, month, day) = today.civil();
    format!(
        "{}, {day} {} {year} {:02}:{:02}:{:02} +0000",
        WEEKDAYS[today.0.rem_euclid(7) as usize],
        MONTHS[(month - 1) as usize],
        second / 3600,
        second / 60 % 60,
        second % 60,
    )
}

/// `2026-12-05T14:05:09Z`. RFC 3339 §5.6
pub fn rfc3339(time: Timestamp) -> String {
    let (day, second) = (Day::of(time), time.seconds().rem_euclid(86_400));
    format!("{}T{:02}:{:02}:{:02}Z", day, second / 3600, second / 60 % 60, second % 60)
}

/// A day, or a moment of one, as people write it: `2026-12-05`, `2026-12-05T14:05`, and with
/// seconds or a `Z` behind; always UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// The whole day.
    Day(Day),
    /// This second.
    At(Timestamp),
}

impl When {
    /// Reads it.
    pub fn parse(text: &str) -> Option<When> {
        let text = text.strip_suffix('Z').unwrap_or(text);
        let (day, time) = match text.split_once(['T', ' ']) {
            Some((day, time)) => (day, Some(time)),
            None => (text, None),
        };
        let day = Day::parse(day)?;
        let Some(time) = time else { return Some(When::Day(day)) };
        let numbers: Option<Vec<i64>> = time.split(':').map(two_digits).collect();
        let (hour, minute, second) = match numbers?[..] {
            [hour, minute] => (hour, minute, 0),
            [hour, minute, second] => (hour, minute, second),
            _ => return None,
        };
        let is_time = hour < 24 && minute < 60 && second < 60;
        let seconds = day.start().seconds() + hour * 3600 + minute * 60 + second;
        is_time.then(|| When::At(Timestamp::from_seconds(seconds)))
    }

    /// The first moment of it.
    pub fn start(self) -> Timestamp {
        match self {
            When::Day(day) => day.start(),
            When::At(time) => time,
        }
    }

    /// The first moment behind it.
    pub fn end(self) -> Timestamp {
        match self {
            When::Day(day) => Day(day.0 + 1).start(),
            When::At(time) => time,
        }
    }
}

fn two_digits(text: &str) -> Option<i64> {
    let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_told_from_a_moment() {
        let at =
            |text| When::parse(text).map(|when| (when.start().seconds(), when.end().seconds()));
        assert_eq!(at("2026-12-05"), Some((1_796_428_800, 1_796_515_200)));
        assert_eq!(at("2026-12-05T14:05"), Some((1_796_479_500, 1_796_479_500)));
        assert_eq!(at("2026-12-05 14:05:09"), Some((1_796_479_509, 1_796_479_509)));
        assert_eq!(at("2026-12-05T14:05:09Z"), Some((1_796_479_509, 1_796_479_509)));
        assert_eq!(rfc3339(Timestamp::from_seconds(1_796_479_509)), "2026-12-05T14:05:09Z");
        for odd in ["", "2026-13-01", "2026-12-5", "2026-12-05T24:00", "2026-12-05T1:00", "x"] {
            assert_eq!(at(odd), None, "{odd}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 +0000"),
            (4_107_542_400, "Mon, 1 Mar 2100 00:00:00 +0000"),
            (-1, "Wed, 31 Dec 1969 23:59:59 +0000"),
        ] {
            assert_eq!(rfc5322(Timestamp::from_seconds(seconds)), expected);
        }
    }
}
