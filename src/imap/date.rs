//! Dates as IMAP writes them: INTERNALDATE and the days that SEARCH compares. Knows no clock.

use super::Refusal;
use super::wire::lex::Cursor;
pub use crate::mail::day::Day;
use crate::mail::id::Timestamp;

const SECONDS_PER_DAY: i64 = 86_400;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `date`, quoted or not: `1-Feb-1994`. RFC 3501 §9
pub fn date(cursor: &mut Cursor<'_>) -> Result<Day, Refusal> {
    let start = cursor.clone();
    let quoted = cursor.take(b'"');
    let day = day_month_year(cursor, &start)?;
    if quoted && !cursor.take(b'"') {
        return Err(cursor.expected("a closing quote"));
    }
    Ok(day)
}

/// `date-time`: `" 7-Feb-1994 22:43:04 -0800"`. RFC 3501 §9
pub fn date_time(cursor: &mut Cursor<'_>) -> Result<Timestamp, Refusal> {
    let start = cursor.clone();
    let wrong = || start.expected("a date and time like \" 7-Feb-1994 22:43:04 -0800\"");
    if !cursor.take(b'"') {
        return Err(wrong());
    }
    cursor.take(b' ');
    let day = day_month_year(cursor, &start)?;
    let mut fields = [0i64; 3];
    for (n, field) in fields.iter_mut().enumerate() {
        let separator = if n == 0 { b' ' } else { b':' };
        *field =
            if cursor.take(separator) { two_digits(cursor) } else { None }.ok_or_else(wrong)?;
    }
    let [hour, minute, second] = fields;
    let zone = zone(cursor).ok_or_else(wrong)?;
    if !cursor.take(b'"') || hour > 23 || minute > 59 || second > 60 {
        return Err(wrong());
    }
    let seconds = day.0 * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - zone;
    Ok(Timestamp::from_seconds(seconds))
}

/// Writes INTERNALDATE, quoted. The store keeps the moment, not the zone it was given in.
pub fn write_date_time(out: &mut Vec<u8>, time: Timestamp) {
    let (year, month, day) = Day::of(time).civil();
    let second = time.seconds().rem_euclid(SECONDS_PER_DAY) as u32;
    let digit = |n: u32| b'0' + (n % 10) as u8;
    let year = year.clamp(0, 9999) as u32;
    out.push(b'"');
    out.extend_from_slice(&[if day < 10 { b' ' } else { digit(day / 10) }, digit(day), b'-']);
    out.extend_from_slice(MONTHS[month as usize - 1].as_bytes());
    out.extend_from_slice(&[b'-', digit(year / 1000), digit(year / 100), digit(year / 10)]);
    out.extend_from_slice(&[digit(year), b' ']);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    out.extend_from_slice(&[digit(hour / 10), digit(hour), b':']);
    out.extend_from_slice(&[digit(minute / 10), digit(minute), b':']);
    out.extend_from_slice(&[digit(second / 10), digit(second)]);
    out.extend_from_slice(b" +0000\"");
}

fn day_month_year(cursor: &mut Cursor<'_>, start: &Cursor<'_>) -> Result<Day, Refusal> {
    let wrong = || start.expected("a date like 1-Feb-1994");
    let day = cursor.number().map_err(|_| wrong())?;
    let dash = cursor.take(b'-');
    let letters = cursor.take_while("a month", |b| b.is_ascii_alphabetic()).map_err(|_| wrong())?;
    let month = MONTHS.iter().position(|m| m.as_bytes().eq_ignore_ascii_case(letters));
    let dashes = dash && cursor.take(b'-');
    let digits = cursor.take_while("a year", |b| b.is_ascii_digit()).map_err(|_| wrong())?;
    let year = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
    match (month, year) {
        (Some(month), Some(year)) if dashes && digits.len() == 4 => {
            Day::from_civil(year, month as u32 + 1, day).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn two_digits(cursor: &mut Cursor<'_>) -> Option<i64> {
    let digits = cursor.take_while("two digits", |b| b.is_ascii_digit()).ok()?;
    match digits {
        [tens, ones] => Some(i64::from((tens - b'0') * 10 + (ones - b'0'))),
        _ => None,
    }
}

/// `SP zone`, in seconds east of UTC.
fn zone(cursor: &mut Cursor<'_>) -> Option<i64> {
    if !cursor.take(b' ') {
        return None;
    }
    let east = match cursor.peek() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return None,
    };
    let (plus, minus) = (b'+', b'-');
    let _sign = cursor.take(plus) || cursor.take(minus);
    let digits = cursor.take_while("a zone", |b| b.is_ascii_digit()).ok()?;
    let digit = |n: usize| i64::from(digits[n] - b'0');
    (digits.len() == 4)
        .then(|| east * ((digit(0) * 10 + digit(1)) * 3600 + (digit(2) * 10 + digit(3)) * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Timestamp> {
        date_time(&mut Cursor::new(text.as_bytes())).ok()
    }

    #[test]
    fn a_date_time_survives_the_way_in_and_out() {
        for (text, seconds, shown) in [
            ("\" 7-Feb-1994 22:43:04 -0800\"", 760_689_784, "\" 8-Feb-1994 06:43:04 +0000\""),
            ("\"29-Feb-2000 00:00:00 +0130\"", 951_777_000, "\"28-Feb-2000 22:30:00 +0000\""),
            ("\"01-jan-1970 00:00:00 +0000\"", 0, "\" 1-Jan-1970 00:00:00 +0000\""),
            ("\"31-Dec-1969 23:59:59 +0000\"", -1, "\"31-Dec-1969 23:59:59 +0000\""),
        ] {
            assert_eq!(parsed(text), Some(Timestamp::from_seconds(seconds)), "{text}");
            let mut out = Vec::new();
            write_date_time(&mut out, Timestamp::from_seconds(seconds));
            assert_eq!(String::from_utf8_lossy(&out), shown);
        }
    }

    #[test]
    fn a_day_that_does_not_exist_is_refused() {
        for text in ["29-Feb-1900", "31-Apr-2020", "0-Jan-2020", "1-Foo-2020", "1-Jan-20"] {
            assert!(date(&mut Cursor::new(text.as_bytes())).is_err(), "{text}");
        }
        assert_eq!(date(&mut Cursor::new(b"\"2-Jan-1970\"")), Ok(Day(1)));
        assert_eq!(parsed("\" 7-Feb-1994 24:43:04 -0800\""), None);
        assert_eq!(parsed("\" 7-Feb-1994 22:43:04\""), None);
    }

    #[test]
    fn every_day_is_its_own_inverse() {
        for day in (-800_000..800_000).step_by(97) {
            let (year, month, of_month) = Day(day).civil();
            assert_eq!(Day::from_civil(year, month, of_month), Some(Day(day)));
        }
    }
}
