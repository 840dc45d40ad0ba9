//! `make swap-proof`, short: the command itself, with a host and servers of its own.

use std::{path::Path, process::Command};

#[test]
fn a_short_swap_proof_fails_no_request_and_loses_no_rating() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let proof = Command::new(env!("CARGO_BIN_EXE_marquee-bench"))
        .args(["swaps", "--rounds", "10", "--pause-ms", "100"])
        .args(["--seconds", "2"])
        // As `make swap-proof` runs it.
        .current_dir(&root)
        // Nothing but what the command starts itself.
        .env_remove("KAFKA_BROKERS")
        .env_remove("DATABASE_URL_METADATA")
        .env_remove("DATABASE_URL_RATING")
        .env_remove("DATABASE_URL_USERS")
        .env_remove("DATABASE_URL_BUS")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&proof.stdout);
    let complained = String::from_utf8_lossy(&proof.stderr);
    assert!(proof.status.success(), "{said}{complained}");
    let (steps, versions) = if root.join("target/before/spin.toml").exists() {
        (
            "steps: 24 swaps and 4 rollbacks",
            "versions: metadata and rating of the release before and of today",
        )
    } else {
        marquee_testkit::not_tried("release before (scripts/components --before)");
        ("steps: 36 swaps and 6 rollbacks", "versions: today's")
    };
    for expected in [steps, versions] {
        assert!(said.contains(expected), "{said}{complained}");
    }
    assert!(said.contains("check: ok"), "{said}{complained}");
}
