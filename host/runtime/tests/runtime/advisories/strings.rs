//! Strings in every encoding: between components, inside of one, to the host and from it.

use marquee_runtime::{CallError, JOB, Limits, Spec, chain};

use super::{Fine, Late, Outcome, Traps, between_good_calls};
use crate::support::{Bench, IT, from_words, id};

const ENCODINGS: [&str; 3] = ["utf8", "utf16", "latin1+utf16"];

/// The bit of a length in latin1+utf16 that says that the string is in UTF-16.
const TAG: u32 = 1 << 31;

/// The first address past the memory of one page.
const END: u32 = 65536;

/// One side of a call.
#[derive(Clone, Copy)]
struct Side<'a> {
    encoding: &'a str,
    /// What its memory has from the start, and where.
    data: (u32, &'a str),
    /// How it finds memory for `$size` bytes.
    realloc: &'a str,
    /// What it does with `$text` and `$length`.
    code: &'a str,
}

/// Memory that is not given twice within a call, and into which what was there is moved.
const MOVES: &str = "(local $at i32)
    (if (i32.gt_u (global.get $free) (i32.const 40000)) (then (global.set $free (i32.const 8192))))
    (local.set $at (global.get $free))
    (memory.copy (local.get $at) (local.get $old) (local.get $old-size))
    (global.set $free (i32.and (i32.const -8)
      (i32.add (i32.const 7) (i32.add (local.get $at) (local.get $size)))))
    local.get $at";
/// Answers what it was given.
const ECHOES: &str = "i32.const 64";
/// Fails with what the other component answers.
const PASSES_ON: &str = "(call $echo (local.get $text) (local.get $length) (i32.const 2052))
    (i32.store8 (i32.const 2048) (i32.const 1))
    i32.const 2048";

impl<'a> Side<'a> {
    fn new(encoding: &'a str, code: &'a str) -> Self {
        Self {
            encoding,
            data: (0, ""),
            realloc: MOVES,
            code,
        }
    }

    fn libc(&self) -> String {
        let ((at, data), realloc) = (self.data, self.realloc);
        format!(
            r#"(core module $libc
              (memory (export "memory") 1)
              (data (i32.const {at}) "{data}")
              (global $free (mut i32) (i32.const 8192))
              (func (export "realloc")
                (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
                {realloc}))
              (core instance $libc (instantiate $libc))"#
        )
    }

    fn options(&self) -> String {
        format!(
            r#"(memory $libc "memory") (realloc (func $libc "realloc")) string-encoding={}"#,
            self.encoding
        )
    }

    /// A component that exports `echo`, whose parameter is at 64 and whose answer is where the code says.
    fn words(&self) -> String {
        let (libc, options, code) = (self.libc(), self.options(), self.code);
        format!(
            r#"(component $words
              {libc}
              (core module $m
                (import "libc" "memory" (memory 1))
                (func (export "echo") (param $text i32) (param $length i32) (result i32)
                  (i32.store (i32.const 64) (local.get $text))
                  (i32.store (i32.const 68) (local.get $length))
                  {code}))
              (core instance $i (instantiate $m (with "libc" (instance $libc))))
              (func (export "echo") async (param "text" string) (result string)
                (canon lift (core func $i "echo") {options})))"#
        )
    }

    /// A component that imports `echo` and exports `run`, which runs the code if its name is longer than one letter.
    fn job(&self) -> String {
        let (libc, options, code) = (self.libc(), self.options(), self.code);
        format!(
            r#"(component $it
              (import "echo" (func $echo async (param "text" string) (result string)))
              {libc}
              (core func $echo (canon lower (func $echo) {options}))
              (core module $m
                (import "libc" "memory" (memory 1))
                (import "words" "echo" (func $echo (param i32 i32 i32)))
                (func (export "run") (param $text i32) (param $length i32) (param i64) (result i32)
                  (if (i32.le_u (local.get $length) (i32.const 1)) (then (return (i32.const 1024))))
                  {code}))
              (core instance $i (instantiate $m
                (with "libc" (instance $libc))
                (with "words" (instance (export "echo" (func $echo))))))
              (func (export "run") async
                (param "name" string) (param "due-at-ms" u64) (result (result (error string)))
                (canon lift (core func $i "run") {options})))"#
        )
    }
}

/// Both sides as components of their own, with the host between them.
async fn apart(bench: &Bench, it: Side<'_>, words: Side<'_>) {
    let text = format!(
        r#"(component
          {}
          (instance $words (instantiate $words))
          (instance $interface (export "echo" (func $words "echo")))
          (export "test:words/it" (instance $interface)))"#,
        words.words()
    );
    let spec = bench.spec("words");
    let prepared = bench.prepare_text(spec, &text).await;
    bench.go_live("words", prepared.expect("words"));

    let text = format!(
        r#"(component
          (import "test:words/it" (instance $words
            (export "echo" (func async (param "text" string) (result string)))))
          {}
          (instance $it (instantiate $it (with "echo" (func $words "echo"))))
          (instance $job (export "run" (func $it "run")))
          (export "{JOB}" (instance $job)))"#,
        it.job()
    );
    let spec = Spec {
        dependencies: from_words(),
        ..bench.spec(IT)
    };
    let prepared = bench.prepare_text(spec, &text).await;
    bench.go_live(IT, prepared.expect("a caller"));
}

/// Both sides in one component, with code of the engine between them.
async fn together(bench: &Bench, it: Side<'_>, words: Side<'_>) {
    let text = format!(
        r#"(component
          {}
          {}
          (instance $words (instantiate $words))
          (instance $it (instantiate $it (with "echo" (func $words "echo"))))
          (instance $job (export "run" (func $it "run")))
          (export "{JOB}" (instance $job)))"#,
        words.words(),
        it.job()
    );
    let prepared = bench.prepare_text(bench.spec(IT), &text).await;
    bench.go_live(IT, prepared.expect("a caller"));
}

/// CVE-2026-34941, GHSA-54p9-vhhq-8f7q, what should be: with the host between two components and without.
#[tokio::test(flavor = "multi_thread")]
async fn a_string_comes_through_any_two_encodings_whole() {
    let bench = Bench::empty(Limits::default());
    let texts = [
        "plain",
        "caf\u{e9} \u{ff}",
        "e\u{301}\u{20ac}",
        "\u{e9}\u{1f3ac}\u{10ffff}",
        "a\0b",
    ];
    for encoding in ENCODINGS {
        for other in ENCODINGS {
            let (it, words) = (Side::new(encoding, PASSES_ON), Side::new(other, ECHOES));
            for composed in [false, true] {
                if composed {
                    together(&bench, it, words).await;
                } else {
                    apart(&bench, it, words).await;
                }
                for text in texts {
                    let answer = bench.run(text).await.expect("a call");
                    assert_eq!(
                        answer,
                        Err(text.to_owned()),
                        "{encoding} {other} {composed}"
                    );
                }
            }
        }
    }
}

/// A string that a component claims to have: its encoding, what is where in its memory, its address and length.
struct Claim {
    encoding: &'static str,
    data: (u32, &'static str),
    at: u32,
    length: u32,
    outcome: Outcome,
}

const fn claim(
    encoding: &'static str,
    data: (u32, &'static str),
    at: u32,
    length: u32,
    outcome: Outcome,
) -> Claim {
    Claim {
        encoding,
        data,
        at,
        length,
        outcome,
    }
}

const NONE: (u32, &str) = (0, "");
const BEYOND: Outcome = Traps("string pointer/length out of bounds of memory");
const ODD: Outcome = Traps("string pointer not aligned to 2");
const NO_UTF8: Outcome = Traps("utf-8");
const NO_UTF16: Outcome = Traps("unpaired surrogate found");

/// Fine is what the host takes.
const CLAIMS: &[Claim] = &[
    // At the end of memory and beyond it.
    claim("utf8", NONE, END, 0, Fine),
    claim("utf8", NONE, END - 1, 1, Fine),
    claim("utf8", NONE, END - 1, 2, BEYOND),
    claim("utf8", NONE, END + 1, 0, BEYOND),
    claim("utf8", NONE, u32::MAX, 1, BEYOND),
    claim("utf8", NONE, u32::MAX, u32::MAX, BEYOND),
    claim("utf8", NONE, 0, END + 1, BEYOND),
    claim("utf8", NONE, 0, u32::MAX, BEYOND),
    claim("utf16", NONE, END, 0, Fine),
    claim("utf16", NONE, END - 2, 1, Fine),
    claim("utf16", NONE, END - 2, 2, BEYOND),
    claim("utf16", NONE, 0, END / 2 + 1, BEYOND),
    claim("utf16", NONE, 0, 1 << 31, BEYOND),
    claim("utf16", NONE, u32::MAX - 1, u32::MAX, BEYOND),
    claim("latin1+utf16", NONE, END, 0, Fine),
    claim("latin1+utf16", NONE, END - 2, 2, Fine),
    claim("latin1+utf16", NONE, END - 2, 3, BEYOND),
    claim("latin1+utf16", NONE, END, TAG, Fine),
    claim("latin1+utf16", NONE, END - 2, TAG | 1, Fine),
    claim("latin1+utf16", NONE, END - 2, TAG | 2, BEYOND),
    claim("latin1+utf16", NONE, 0, TAG | (END / 2 + 1), BEYOND),
    claim("latin1+utf16", NONE, 0, u32::MAX, BEYOND),
    // At an odd address.
    claim("utf16", NONE, 1, 1, ODD),
    claim("utf16", NONE, END - 1, 0, ODD),
    claim("latin1+utf16", NONE, 1, 1, ODD),
    claim("latin1+utf16", NONE, 1, TAG | 1, ODD),
    // No text in this encoding.
    claim("utf8", (128, "a\\ff"), 128, 2, NO_UTF8),
    claim("utf8", (128, "\\ed\\a0\\80"), 128, 3, NO_UTF8),
    claim("utf8", (END - 1, "\\f0"), END - 1, 1, NO_UTF8),
    claim("utf16", (128, "a\\00\\00\\d8"), 128, 2, NO_UTF16),
    claim("utf16", (128, "\\00\\dca\\00"), 128, 2, NO_UTF16),
    claim("utf16", (END - 2, "\\00\\d8"), END - 2, 1, NO_UTF16),
    claim(
        "latin1+utf16",
        (128, "\\00\\d8\\00\\d8"),
        128,
        TAG | 2,
        NO_UTF16,
    ),
    claim(
        "latin1+utf16",
        (END - 2, "\\ff\\db"),
        END - 2,
        TAG | 1,
        NO_UTF16,
    ),
    claim("latin1+utf16", (128, "\\d8\\dc"), 128, 2, Fine),
];

/// CVE-2026-34941: a string in UTF-16 was read beyond the end of memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_string_that_is_none_is_a_trap_of_who_passes_it_to_another() {
    let bench = Bench::empty(Limits::default());
    for one in CLAIMS {
        let what = format!(
            "{} {:?} {:x} {:x}",
            one.encoding, one.data, one.at, one.length
        );
        let code = format!(
            "(call $echo (i32.const {}) (i32.const {}) (i32.const 2052)) i32.const 1024",
            one.at, one.length
        );
        let it = Side {
            data: one.data,
            ..Side::new(one.encoding, &code)
        };
        apart(&bench, it, Side::new("utf8", ECHOES)).await;
        between_good_calls(&bench, &what, one.outcome).await;
        // Inside of one component nothing of the host is asked, and the words are others.
        let traps = match one.outcome {
            Fine => Fine,
            _ => Traps(""),
        };
        for encoding in ENCODINGS {
            together(&bench, it, Side::new(encoding, ECHOES)).await;
            between_good_calls(&bench, &format!("{what} to {encoding}"), traps).await;
        }
    }
}

/// The same on the way back, and to the host.
#[tokio::test(flavor = "multi_thread")]
async fn a_string_that_is_none_is_a_trap_of_who_answers_with_it() {
    let bench = Bench::empty(Limits::default());
    for one in CLAIMS {
        let what = format!(
            "{} {:?} {:x} {:x}",
            one.encoding, one.data, one.at, one.length
        );
        let store = |at: u32| {
            format!(
                "(i32.store (i32.const {at}) (i32.const {}))
                 (i32.store (i32.const {}) (i32.const {}))",
                one.at,
                at + 4,
                one.length
            )
        };
        let code = format!("{} i32.const 64", store(64));
        let words = Side {
            data: one.data,
            ..Side::new(one.encoding, &code)
        };
        apart(&bench, Side::new("utf8", PASSES_ON), words).await;
        let by_words = bench.run("xx").await;
        let code = format!(
            "{} (i32.store8 (i32.const 2048) (i32.const 1)) i32.const 2048",
            store(2052)
        );
        let it = Side {
            data: one.data,
            ..Side::new(one.encoding, &code)
        };
        apart(&bench, it, Side::new("utf8", ECHOES)).await;
        let by_it = bench.run("xx").await;
        for (who, answer) in [("words", by_words), (IT, by_it)] {
            match (one.outcome, answer) {
                (Fine, Ok(Err(_))) => {}
                (Traps(why), Err(error)) => {
                    let said = chain(&error);
                    assert!(said.contains(why), "{what}: {said}");
                    assert!(
                        matches!(&error, CallError::Trap { component, .. } if *component == id(who)),
                        "{what}: {error:?}"
                    );
                }
                (_, answer) => panic!("{what}: {answer:?}"),
            }
        }
        Fine.assert(&what, &bench.run("x").await);
    }
}

/// GHSA-54p9-vhhq-8f7q: a string was moved within itself, as its `realloc` had it.
#[tokio::test(flavor = "multi_thread")]
async fn memory_for_a_string_that_is_none_is_a_trap_of_who_gives_it() {
    let late = Bench::empty(super::quick());
    let bench = Bench::empty(Limits::default());
    let beyond = Traps("realloc return: beyond end of memory");
    let odd = Traps("realloc return: result not aligned");
    // Only what is asked for a second time: the first time the size is the worst case, or that of latin1.
    let again = |then: &str| {
        format!("(if (i32.eqz (local.get $old)) (then (return (i32.const 8192)))) {then}")
    };
    let cases = [
        ("i32.const 0".to_owned(), Fine, Fine),
        (format!("i32.const {END}"), beyond, beyond),
        (format!("i32.const {}", END - 2), beyond, beyond),
        ("i32.const -2".to_owned(), beyond, beyond),
        ("i32.const 8193".to_owned(), Fine, odd),
        (
            "unreachable".to_owned(),
            Traps("unreachable"),
            Traps("unreachable"),
        ),
        ("(loop br 0) unreachable".to_owned(), Late, Late),
        (again(&format!("i32.const {END}")), Fine, beyond),
        (again("i32.const -2"), Fine, beyond),
        (again("i32.const 8193"), Fine, odd),
        (again("unreachable"), Fine, Traps("unreachable")),
        // A little above and below where it was, without moving it.
        (again("i32.const 8196"), Fine, Fine),
        (again("i32.const 8188"), Fine, Fine),
        (again("i32.const 0"), Fine, Fine),
        (
            again("(drop (memory.grow (i32.const 1))) i32.const 65536"),
            Fine,
            Fine,
        ),
    ];
    // The name of the job is lowered too: a short one needs no memory of this sort.
    let kind = |realloc: &str| {
        format!(
            "(if (i32.le_u (local.get $size) (i32.const 2)) (then (return (i32.const 4096)))) {realloc}"
        )
    };
    for (realloc, in_utf8, in_others) in &cases {
        let realloc = kind(realloc);
        for encoding in ENCODINGS {
            let outcome = if encoding == "utf8" {
                *in_utf8
            } else {
                *in_others
            };
            let bench = if matches!(outcome, Late) {
                &late
            } else {
                &bench
            };
            let what = format!("{encoding} {realloc}");
            // From the host, whose string is longer in UTF-8 than in the others, and no latin1 throughout.
            let it = Side {
                realloc: &realloc,
                ..Side::new(encoding, "i32.const 1024")
            };
            apart(bench, it, Side::new("utf8", ECHOES)).await;
            Fine.assert(&what, &bench.run("x").await);
            let name = "caf\u{e9} \u{20ac}";
            outcome.assert(&what, &bench.run_until(name, outcome.deadline()).await);
            Fine.assert(&what, &bench.run("x").await);
            // From a component, whatever its encoding is: what the engine asks for differs, that it ends does not.
            for other in ENCODINGS {
                let data = match other {
                    "utf8" => (128, "caf\\c3\\a9 \\e2\\82\\ac"),
                    _ => (128, "c\\00a\\00f\\00\\e9\\00 \\00\\ac\\20"),
                };
                let length = match other {
                    "utf8" => 9,
                    "utf16" => 6,
                    _ => TAG | 6,
                };
                let code = format!(
                    "(call $echo (i32.const 128) (i32.const {length}) (i32.const 2052)) i32.const 1024"
                );
                let it = Side {
                    data,
                    ..Side::new(other, &code)
                };
                let words = Side {
                    realloc: &realloc,
                    ..Side::new(encoding, "i32.const 1024")
                };
                together(bench, it, words).await;
                let answer = bench.run_until("xx", outcome.deadline()).await;
                let ended = matches!(
                    answer,
                    Ok(Ok(())) | Err(CallError::Trap { .. } | CallError::Deadline(_))
                );
                assert!(ended, "{what} from {other}: {answer:?}");
                assert_eq!(
                    matches!(outcome, Late),
                    matches!(answer, Err(CallError::Deadline(_))),
                    "{what} from {other}: {answer:?}"
                );
                Fine.assert(&what, &bench.run("x").await);
            }
        }
    }
}
