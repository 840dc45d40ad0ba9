//! What a call that was ended in the middle of something leaves behind: nothing that is used again.

use marquee_runtime::Limits;

use super::{Late, Use, check, job, runs_out_and_starves_nobody};
use crate::support::Bench;

/// CVE-2026-104855: a store was used after it had been interrupted within an operation on much memory. A job traps if it
/// enters an instance that did not come to the end of a call: the good call that follows must have another.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_was_interrupted_is_never_entered_again() {
    let table = "(table $t 1000 funcref) (func $f) (elem declare func $f)";
    let cases = [
        ("", "(loop (br 0))"),
        (
            "",
            "(loop (memory.copy (i32.const 8) (i32.const 0) (i32.const 262000)) (br 0))",
        ),
        (
            "",
            "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 262000)) (br 0))",
        ),
        ("", "(loop (drop (memory.grow (i32.const 0))) (br 0))"),
        (
            table,
            "(loop (drop (table.grow $t (ref.func $f) (i32.const 0))) (br 0))",
        ),
        (
            table,
            "(loop (table.fill $t (i32.const 0) (ref.func $f) (i32.const 1000)) (br 0))",
        ),
        (
            table,
            "(loop (table.copy $t $t (i32.const 1) (i32.const 0) (i32.const 999)) (br 0))",
        ),
    ];
    let bench = Bench::empty(Limits::default());
    for (table, code) in cases {
        let text =
            job("", &[], code).replace("(global $entered", &format!("{table} (global $entered"));
        check(&bench, code, &text, Late).await;
    }
}

/// What prints by WASI 0.2.
const STDOUT: &str = r#"
    (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
    (alias export $errors "error" (type $error))
    (import "wasi:io/streams@0.2.0" (instance $streams
      (export "output-stream" (type $stream (sub resource)))
      (alias outer 1 $error (type $outer))
      (export "error" (type $error (eq $outer)))
      (type $raw (variant (case "last-operation-failed" (own $error)) (case "closed")))
      (export "stream-error" (type $failure (eq $raw)))
      (export "[method]output-stream.write" (func
        (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $failure)))))
      (export "[method]output-stream.check-write" (func
        (param "self" (borrow $stream)) (result (result u64 (error $failure)))))
      (export "[method]output-stream.flush" (func
        (param "self" (borrow $stream)) (result (result (error $failure)))))))
    (alias export $streams "output-stream" (type $stream))
    (alias export $streams "[method]output-stream.write" (func $write))
    (alias export $streams "[method]output-stream.flush" (func $flush))
    (import "wasi:cli/stdout@0.2.0" (instance $stdout
      (alias outer 1 $stream (type $outer))
      (export "output-stream" (type $stream (eq $outer)))
      (export "get-stdout" (func (result (own $stream))))))
    (alias export $stdout "get-stdout" (func $get-stdout))"#;

const USES: &[Use<'_>] = &[
    ("stdout", "(result i32)", "lower (func $get-stdout)"),
    (
        "write",
        "(param i32 i32 i32 i32)",
        r#"lower (func $write) (memory $libc "memory")"#,
    ),
    (
        "flush",
        "(param i32 i32)",
        r#"lower (func $flush) (memory $libc "memory")"#,
    ),
];

/// GHSA-5m8g-xhq4-4h93: each empty write to an output was kept by the host.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn empty_writes_to_an_output_without_end_run_out_and_starve_nobody() {
    let bench = Bench::empty(Limits::default());
    for flush in ["", "(call $flush (local.get $a) (i32.const 8192))"] {
        let code = format!(
            "(local.set $a (call $stdout))
             (loop (call $write (local.get $a) (i32.const 0) (i32.const 0) (i32.const 8192)) {flush} (br 0))"
        );
        runs_out_and_starves_nobody(&bench, "empty writes", &job(STDOUT, USES, &code)).await;
    }
}
