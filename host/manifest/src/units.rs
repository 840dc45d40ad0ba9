//! Durations, sizes and rates as people write them.

use std::time::Duration;

/// `250ms`, `10s`, `5m`, `1h`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim_start() {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" | "min" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(millis))
}

/// `512KiB`, `64MiB`, `1GiB`, in bytes.
pub(crate) fn size(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: usize = number.parse().ok()?;
    let factor: usize = match unit.trim_start() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// `20/s`, `600/m`, `10/h`: how many in what time.
pub(crate) fn rate(text: &str) -> Option<(u32, Duration)> {
    let (number, unit) = text.split_once('/')?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        _ => return None,
    };
    Some((number.parse().ok()?, Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_unit() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("10 s"), Some(Duration::from_secs(10)));
        assert_eq!(size("64MiB"), Some(64 << 20));
        for bad in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "10 weeks",
            "18446744073709551615h",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        for bad in ["", "10", "MiB", "1MB", "18446744073709551615GiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn rates_are_a_number_in_a_unit_of_time() {
        for (text, number, seconds) in [
            ("20/s", 20, 1),
            ("600/m", 600, 60),
            ("10/min", 10, 60),
            ("0/h", 0, 3_600),
        ] {
            assert_eq!(
                rate(text),
                Some((number, Duration::from_secs(seconds))),
                "{text}"
            );
        }
        for bad in [
            "",
            "20",
            "/s",
            "20/",
            "20/d",
            "+20/s",
            "2.5/s",
            "20 / s",
            "4294967296/s",
        ] {
            assert_eq!(rate(bad), None, "{bad}");
        }
    }
}
