//! How a moment is told.

use super::*;

#[test]
fn a_moment_is_told_to_the_microsecond_in_utc() {
    assert_eq!(rfc_3339(0).unwrap(), "1970-01-01T00:00:00.000000Z");
    assert_eq!(
        rfc_3339(1_709_164_799_000_001).unwrap(),
        "2024-02-28T23:59:59.000001Z"
    );
    assert!(rfc_3339(u64::MAX).is_err());
}
