//! Streams and futures: what may be handed over, written and cancelled.

use marquee_runtime::{CallError, Limits, LoadError, Spec, chain};

use super::{Outcome, Traps, Use, check, job, runs_out_and_starves_nobody};
use crate::support::{Bench, IT, from_words};

/// What takes a stream of bytes, and answers with a future.
const STDOUT: &str = r#"
    (import "wasi:cli/stdout@0.3.0" (instance $stdout
      (type $raw (enum "io" "illegal-byte-sequence" "pipe"))
      (export "error-code" (type $error (eq $raw)))
      (export "write-via-stream" (func
        (param "data" (stream u8)) (result (future (result (error $error))))))))
    (alias export $stdout "error-code" (type $error))
    (alias export $stdout "write-via-stream" (func $write-via))
    (type $bytes (stream u8))
    (type $words (stream u32))
    (type $signals (stream))
    (type $byte (future u8))
    (type $ended (future (result (error $error))))"#;

/// The functions of streams of bytes, with what else the tests hand over.
const USES: &[Use<'_>] = &[
    (
        "print",
        "(param i32) (result i32)",
        "lower (func $write-via)",
    ),
    ("new", "(result i64)", "stream.new $bytes"),
    ("new-words", "(result i64)", "stream.new $words"),
    ("new-signals", "(result i64)", "stream.new $signals"),
    ("new-byte", "(result i64)", "future.new $byte"),
    ("new-set", "(result i32)", "waitable-set.new"),
    ("join", "(param i32 i32)", "waitable.join"),
    (
        "read",
        "(param i32 i32 i32) (result i32)",
        r#"stream.read $bytes async (memory $libc "memory")"#,
    ),
    (
        "write",
        "(param i32 i32 i32) (result i32)",
        r#"stream.write $bytes async (memory $libc "memory")"#,
    ),
    (
        "write-words",
        "(param i32 i32 i32) (result i32)",
        r#"stream.write $words async (memory $libc "memory")"#,
    ),
    (
        "read-byte",
        "(param i32 i32) (result i32)",
        r#"future.read $byte async (memory $libc "memory")"#,
    ),
    (
        "read-ended",
        "(param i32 i32) (result i32)",
        r#"future.read $ended async (memory $libc "memory")"#,
    ),
    (
        "cancel-read",
        "(param i32) (result i32)",
        "stream.cancel-read $bytes",
    ),
    (
        "cancel-write",
        "(param i32) (result i32)",
        "stream.cancel-write $bytes",
    ),
    (
        "cancel-read-byte",
        "(param i32) (result i32)",
        "future.cancel-read $byte",
    ),
    (
        "cancel-write-byte",
        "(param i32) (result i32)",
        "future.cancel-write $byte",
    ),
    (
        "drop-readable",
        "(param i32)",
        "stream.drop-readable $bytes",
    ),
    (
        "drop-writable",
        "(param i32)",
        "stream.drop-writable $bytes",
    ),
];

/// Leaves the readable end of a stream of bytes in `$a`, its writable end in `$b`.
const PAIR: &str = "(local.set $both (call $new))
    (local.set $a (i32.wrap_i64 (local.get $both)))
    (local.set $b (i32.wrap_i64 (i64.shr_u (local.get $both) (i64.const 32))))";

/// GHSA-63h4-6cx9-pjfj, GHSA-9pvw-hwfg-92h5: a stream or future that the host handed on was taken for one of another
/// payload. Here none is handed on, whatever its payload.
#[tokio::test(flavor = "multi_thread")]
async fn no_stream_or_future_goes_from_one_component_to_another() {
    let cases = [
        ("(stream u8)", "i32", "", "", "parameter it has a stream"),
        ("(future u8)", "i32", "", "", "parameter it has a future"),
        ("(stream)", "i32", "", "", "parameter it has a stream"),
        (
            "(list (stream u8))",
            "i32 i32",
            "",
            "",
            "parameter it has a stream",
        ),
        (
            "(tuple u8 (future))",
            "i32 i32",
            "",
            "",
            "parameter it has a future",
        ),
        (
            "u8",
            "i32",
            "(result (stream u8))",
            "(result i32)",
            "its result has a stream",
        ),
        (
            "u8",
            "i32",
            "(result (future))",
            "(result i32)",
            "its result has a future",
        ),
        (
            "u8",
            "i32",
            "(result (option (stream u8)))",
            "(result i32)",
            "its result has a stream",
        ),
        (
            "u8",
            "i32",
            "(result (list (future u8)))",
            "(result i32)",
            "its result has a future",
        ),
    ];
    let bench = Bench::empty(Limits::default());
    let spec = || Spec {
        dependencies: from_words(),
        ..bench.spec(IT)
    };
    let importing = |param: &str, result: &str| {
        format!(
            r#"(component (import "test:words/it" (instance
              (export "say" (func (param "it" {param}) {result})))))"#
        )
    };
    for (param, core_param, result, core_result, handle) in cases {
        let words = format!(
            r#"(component
              (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                (func (export "say") (param {core_param}) {core_result} unreachable))
              (core instance $i (instantiate $m))
              (func $say (param "it" {param}) {result}
                (canon lift (core func $i "say") (memory $i "memory") (realloc (func $i "realloc"))))
              (instance $words (export "say" (func $say)))
              (export "test:words/it" (instance $words)))"#
        );
        let words = bench.prepare_text(bench.spec("words"), &words).await;
        bench.go_live("words", words.expect("words"));
        let refused = bench.prepare_text(spec(), &importing(param, result)).await;
        assert_eq!(
            refused.err().as_ref().map(|error| chain(error)),
            Some(format!(
                "component it imports test:words/it from component words: function say: {handle}, which cannot go \
                 from one component to another"
            )),
            "{param} {result}"
        );
    }
    // Of another payload it is another type, before anything else.
    let refused = bench
        .prepare_text(spec(), &importing("u8", "(result (list (future u16)))"))
        .await;
    assert_eq!(
        refused.err().as_ref().map(|error| chain(error)),
        Some(
            "component it imports test:words/it from component words: function say: result[]: the importer has a \
             future, the exporter a future"
                .to_owned()
        )
    );
}

/// The same advisories: what the host itself takes and gives has one payload.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_another_payload_than_the_hosts_is_refused() {
    let bench = Bench::empty(Limits::default());
    let own = STDOUT;
    for other in [
        own.replace("\"data\" (stream u8)", "\"data\" (stream s8)"),
        own.replace("\"data\" (stream u8)", "\"data\" (stream)"),
        own.replace("\"data\" (stream u8)", "\"data\" (future u8)"),
        own.replace("(future (result (error $error)))", "(future (result))"),
        own.replace(
            "(future (result (error $error)))",
            "(stream (result (error $error)))",
        ),
    ] {
        assert_ne!(other, own);
        let head = other.split_once("(alias").map_or("", |(import, _)| import);
        let refused = bench
            .prepare_text(bench.spec(IT), &job(head, &[], ""))
            .await;
        let error = refused.err().expect("it is refused");
        let said = chain(&error);
        assert!(
            matches!(error, LoadError::Link { .. }) && said.contains("wasi:cli/stdout@0.3.0"),
            "{said}"
        );
    }
    check(&bench, "its own", &job(own, &[], ""), Outcome::Fine).await;
}

/// The same advisories: handles are numbers, and a guest may say any.
#[tokio::test(flavor = "multi_thread")]
async fn a_handle_of_something_else_is_no_stream_of_bytes() {
    let unknown = Traps("unknown handle index");
    let cases = [
        (
            "its own",
            "(drop (call $print (local.get $a)))",
            Outcome::Fine,
        ),
        (
            "of words",
            "(drop (call $print (i32.wrap_i64 (call $new-words))))",
            Traps("handle is a stream of a different type"),
        ),
        (
            "without payload",
            "(drop (call $print (i32.wrap_i64 (call $new-signals))))",
            Traps("handle is a stream of a different type"),
        ),
        (
            "a future",
            "(drop (call $print (i32.wrap_i64 (call $new-byte))))",
            Traps("handle is not a stream"),
        ),
        (
            "a set",
            "(drop (call $print (call $new-set)))",
            Traps("handle is not a stream"),
        ),
        (
            "the writable end",
            "(drop (call $print (local.get $b)))",
            Traps("handle is not a readable end of a stream"),
        ),
        ("0", "(drop (call $print (i32.const 0)))", unknown),
        ("-1", "(drop (call $print (i32.const -1)))", unknown),
        ("far off", "(drop (call $print (i32.const 1000)))", unknown),
        (
            "twice",
            "(drop (call $print (local.get $a))) (drop (call $print (local.get $a)))",
            Traps("handle is not a stream"),
        ),
        (
            "being read",
            "(drop (call $read (local.get $a) (i32.const 8192) (i32.const 4)))
             (drop (call $print (local.get $a)))",
            Traps("cannot remove busy stream"),
        ),
        (
            "in a set",
            "(call $join (local.get $a) (call $new-set)) (drop (call $print (local.get $a)))",
            Traps("cannot lift stream while it's in a waitable set"),
        ),
        (
            "a future read as another",
            "(drop (call $read-byte (call $print (local.get $a)) (i32.const 8192)))",
            Traps("handle is a future of a different type"),
        ),
        (
            "words written as bytes",
            "(local.set $both (call $new))
             (drop (call $write-words (i32.wrap_i64 (i64.shr_u (local.get $both) (i64.const 32)))
               (i32.const 8192) (i32.const 1)))",
            Traps("handle is a stream of a different type"),
        ),
    ];
    let bench = Bench::empty(Limits::default());
    for (what, code, outcome) in cases {
        let text = job(STDOUT, USES, &format!("{PAIR} {code}"));
        check(&bench, what, &text, outcome).await;
    }
}

/// GHSA-xrvr-8678-5wp8: what was under way at one end was cancelled at the other.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_at_the_wrong_end_harms_nobody_else() {
    let reads = "(drop (call $read (local.get $a) (i32.const 8192) (i32.const 4)))";
    let writes = "(drop (call $write (local.get $b) (i32.const 8192) (i32.const 4)))";
    let prints = "(drop (call $print (local.get $a)))";
    let bench = Bench::empty(Limits::default());
    for (under_way, cancel, outcome) in [
        (
            reads,
            "(drop (call $cancel-read (local.get $a)))",
            Outcome::Fine,
        ),
        (
            writes,
            "(drop (call $cancel-write (local.get $b)))",
            Outcome::Fine,
        ),
        (
            "",
            "(drop (call $cancel-read (local.get $a)))",
            Traps("no read is pending"),
        ),
        (
            "",
            "(drop (call $cancel-write (local.get $b)))",
            Traps("no write is pending"),
        ),
        (
            "",
            "(drop (call $cancel-read (local.get $b)))",
            Traps("passed write end to"),
        ),
        (
            "",
            "(drop (call $cancel-write (local.get $a)))",
            Traps("passed read end to"),
        ),
        (
            "",
            "(drop (call $cancel-read-byte (local.get $a)))",
            Traps("handle is not a future"),
        ),
        (
            writes,
            "(drop (call $cancel-write-byte (local.get $b)))",
            Traps("handle is not a future"),
        ),
    ] {
        let code = format!("{PAIR} {under_way} {cancel}");
        check(&bench, &code, &job(STDOUT, USES, &code), outcome).await;
    }
    // While something is under way, wasmtime notices it only from 48.0.9 on. Before, it takes the one end for the other
    // from then on: that stays within the guest's own instance.
    for (under_way, cancel) in [
        (reads, "(drop (call $cancel-write (local.get $a)))"),
        (writes, "(drop (call $cancel-read (local.get $b)))"),
    ] {
        for before in ["", prints] {
            for after in [
                "",
                reads,
                writes,
                prints,
                "(drop (call $write (local.get $a) (i32.const 8192) (i32.const 4)))",
                "(drop (call $read (local.get $b) (i32.const 8192) (i32.const 4)))",
                "(call $drop-writable (local.get $a))",
                "(call $drop-readable (local.get $b))",
                "(call $drop-writable (local.get $b))",
                "(call $drop-readable (local.get $a))",
            ] {
                let code = format!("{PAIR} {before} {under_way} {cancel} {after}");
                super::go_live(&bench, &job(STDOUT, USES, &code)).await;
                let answer = bench.run("xx").await;
                assert!(
                    matches!(answer, Ok(Ok(())) | Err(CallError::Trap { .. })),
                    "{code}: {answer:?}"
                );
                Outcome::Fine.assert(&code, &bench.run("x").await);
            }
        }
    }
}

/// GHSA-93g3-36p8-x2gc: an empty write from beyond the end of memory.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_from_beyond_memory_is_a_trap_unless_it_is_nothing() {
    let end = 4 * 65536;
    let beyond = Traps("pointer out of bounds of memory");
    let many = Traps("stream read/write count too large");
    let cases = [
        (end - 1, 1, Outcome::Fine),
        (end, 0, Outcome::Fine),
        (end, 1, beyond),
        (end + 1, 0, Outcome::Fine),
        (-1, 0, Outcome::Fine),
        (-1, -1, many),
        (0, 1 << 28, many),
        (0, -1, many),
    ];
    let bench = Bench::empty(Limits::default());
    for (at, count, outcome) in cases {
        for end in ["$a", "$b"] {
            let function = if end == "$a" { "$read" } else { "$write" };
            let code = format!(
                "{PAIR} (drop (call {function} (local.get {end}) (i32.const {at}) (i32.const {count})))"
            );
            check(&bench, &code, &job(STDOUT, USES, &code), outcome).await;
            // With somebody at the other end.
            if end == "$b" {
                let code =
                    code.replace(PAIR, &format!("{PAIR} (drop (call $print (local.get $a)))"));
                check(&bench, &code, &job(STDOUT, USES, &code), outcome).await;
            }
        }
    }
}

/// GHSA-5m8g-xhq4-4h93, GHSA-f8mm-ggr3-89wh, for the streams of WASI 0.3: empty writes without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn empty_writes_to_a_stream_without_end_run_out_and_starve_nobody() {
    // One that is not taken yet is taken back: a second beside it would be a trap.
    let code = format!(
        "{PAIR} (drop (call $print (local.get $a)))
         (loop
           (if (i32.eq (i32.const -1) (call $write (local.get $b) (i32.const 0) (i32.const 0)))
             (then (drop (call $cancel-write (local.get $b)))))
           (br 0))"
    );
    let bench = Bench::empty(Limits::default());
    runs_out_and_starves_nobody(&bench, "empty writes", &job(STDOUT, USES, &code)).await;
}
