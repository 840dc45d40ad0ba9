//! What a component makes of `wasi:http` before anything is sent, and what it asks to be sent.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use marquee_runtime::{Limits, chain};

use super::{Fine, Use, check, job};
use crate::support::{Bench, IT};

/// CVE-2026-27572: a guest made more header fields than the host's map could hold.
#[tokio::test(flavor = "multi_thread")]
async fn more_header_fields_than_fit_are_refused_to_the_guest() {
    let bench = Bench::empty(Limits {
        deadline: Duration::from_secs(20),
        ..Limits::default()
    });
    let text = r#"(component
      (import "wasi:http/types@0.2.0" (instance $http
        (export "fields" (type $fields (sub resource)))
        (type $raw (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
        (export "header-error" (type $error (eq $raw)))
        (export "[constructor]fields" (func (result (own $fields))))
        (export "[method]fields.append" (func
          (param "self" (borrow $fields)) (param "name" string) (param "value" (list u8))
          (result (result (error $error)))))))
      (alias export $http "[constructor]fields" (func $new))
      (alias export $http "[method]fields.append" (func $append))
      (core module $libc (memory (export "memory") 1) (data (i32.const 0) "name"))
      (core instance $libc (instantiate $libc))
      (core func $new (canon lower (func $new)))
      (core func $append (canon lower (func $append) (memory $libc "memory")))
      (core module $m
        (import "http" "new" (func $new (result i32)))
        (import "http" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
        (func $start (local $fields i32) (local $left i32)
          (local.set $fields (call $new))
          (local.set $left (i32.const 40000))
          (loop
            (call $append (local.get $fields)
              (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 64))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if 0 (local.get $left))))
        (start $start))
      (core instance (instantiate $m
        (with "http" (instance (export "new" (func $new)) (export "append" (func $append)))))))"#;
    // An error that the guest may handle, or a trap: either is the guest's alone.
    let result = bench.prepare_text(bench.spec(IT), text).await;
    if let Err(error) = result {
        let said = chain(&error);
        assert!(
            said.starts_with("component it cannot be instantiated"),
            "{said}"
        );
    }
    let fine = bench.prepare_text(bench.spec(IT), "(component)").await;
    assert!(fine.is_ok(), "the runtime goes on");
}

/// All that a request can come to, with what it takes to say it.
const ERROR_CODE: &str = r#"
    (type $dns-raw (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns (eq $dns-raw)))
    (type $tls-raw (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $tls (eq $tls-raw)))
    (type $size-raw (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size (eq $size-raw)))
    (type $error-raw (variant
      (case "DNS-timeout") (case "DNS-error" $dns) (case "destination-not-found")
      (case "destination-unavailable") (case "destination-IP-prohibited") (case "destination-IP-unroutable")
      (case "connection-refused") (case "connection-terminated") (case "connection-timeout")
      (case "connection-read-timeout") (case "connection-write-timeout") (case "connection-limit-reached")
      (case "TLS-protocol-error") (case "TLS-certificate-error") (case "TLS-alert-received" $tls)
      (case "HTTP-request-denied") (case "HTTP-request-length-required")
      (case "HTTP-request-body-size" (option u64)) (case "HTTP-request-method-invalid")
      (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32)) (case "HTTP-request-header-size" (option $size))
      (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $size)
      (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $size) (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $size)
      (case "HTTP-response-transfer-coding" (option string))
      (case "HTTP-response-content-coding" (option string)) (case "HTTP-response-timeout")
      (case "HTTP-upgrade-failed") (case "HTTP-protocol-error") (case "loop-detected")
      (case "configuration-error") (case "internal-error" (option string))))
    (export "error-code" (type $error (eq $error-raw)))"#;

/// What sends a request by WASI 0.2.
fn sends() -> String {
    let functions = [
        ("[constructor]fields", "(result (own $fields))"),
        (
            "[constructor]outgoing-request",
            r#"(param "headers" (own $fields)) (result (own $request))"#,
        ),
        (
            "[method]outgoing-request.set-path-with-query",
            r#"(param "self" (borrow $request)) (param "path-with-query" (option string)) (result (result))"#,
        ),
        (
            "[method]outgoing-request.set-authority",
            r#"(param "self" (borrow $request)) (param "authority" (option string)) (result (result))"#,
        ),
        (
            "[method]outgoing-request.set-scheme",
            r#"(param "self" (borrow $request)) (param "scheme" (option $scheme)) (result (result))"#,
        ),
        ("[constructor]request-options", "(result (own $options))"),
        (
            "[method]request-options.set-connect-timeout",
            r#"(param "self" (borrow $options)) (param "duration" (option u64)) (result (result))"#,
        ),
        (
            "[method]request-options.set-first-byte-timeout",
            r#"(param "self" (borrow $options)) (param "duration" (option u64)) (result (result))"#,
        ),
        (
            "[method]request-options.set-between-bytes-timeout",
            r#"(param "self" (borrow $options)) (param "duration" (option u64)) (result (result))"#,
        ),
        (
            "[method]future-incoming-response.subscribe",
            r#"(param "self" (borrow $future)) (result (own $pollable))"#,
        ),
        (
            "[method]future-incoming-response.get",
            r#"(param "self" (borrow $future))
               (result (option (result (result (own $response) (error $error)))))"#,
        ),
    ];
    let exports: String = functions
        .iter()
        .map(|(name, ty)| format!("(export \"{name}\" (func {ty}))\n"))
        .collect();
    let aliases: String = functions
        .iter()
        .map(|(name, _)| {
            let short = name.rsplit([']', '.']).next().unwrap_or(name);
            format!("(alias export $http \"{name}\" (func $http-{short}))\n")
        })
        .collect();
    format!(
        r#"
        (import "wasi:io/poll@0.2.0" (instance $poll
          (export "pollable" (type $pollable (sub resource)))
          (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
        (alias export $poll "pollable" (type $pollable))
        (alias export $poll "[method]pollable.block" (func $poll-block))
        (import "wasi:http/types@0.2.0" (instance $http
          (alias outer 1 $pollable (type $outer))
          (export "pollable" (type $pollable (eq $outer)))
          (export "fields" (type $fields (sub resource)))
          (export "outgoing-request" (type $request (sub resource)))
          (export "request-options" (type $options (sub resource)))
          (export "incoming-response" (type $response (sub resource)))
          (export "future-incoming-response" (type $future (sub resource)))
          (type $scheme-raw (variant (case "HTTP") (case "HTTPS") (case "other" string)))
          (export "scheme" (type $scheme (eq $scheme-raw)))
          {ERROR_CODE}
          {exports}))
        {aliases}
        (alias export $http "outgoing-request" (type $request))
        (alias export $http "request-options" (type $options))
        (alias export $http "future-incoming-response" (type $future))
        (alias export $http "error-code" (type $error))
        (import "wasi:http/outgoing-handler@0.2.0" (instance $handler
          (alias outer 1 $request (type $outer-request))
          (export "outgoing-request" (type $request (eq $outer-request)))
          (alias outer 1 $options (type $outer-options))
          (export "request-options" (type $options (eq $outer-options)))
          (alias outer 1 $future (type $outer-future))
          (export "future-incoming-response" (type $future (eq $outer-future)))
          (alias outer 1 $error (type $outer-error))
          (export "error-code" (type $error (eq $outer-error)))
          (export "handle" (func (param "request" (own $request)) (param "options" (option (own $options)))
            (result (result (own $future) (error $error)))))))
        (alias export $handler "handle" (func $handle))"#
    )
}

const USES: &[Use<'_>] = &[
    ("block", "(param i32)", "lower (func $poll-block)"),
    ("fields", "(result i32)", "lower (func $http-fields)"),
    (
        "request",
        "(param i32) (result i32)",
        "lower (func $http-outgoing-request)",
    ),
    (
        "set-path",
        "(param i32 i32 i32 i32) (result i32)",
        r#"lower (func $http-set-path-with-query) (memory $libc "memory")"#,
    ),
    (
        "set-authority",
        "(param i32 i32 i32 i32) (result i32)",
        r#"lower (func $http-set-authority) (memory $libc "memory")"#,
    ),
    (
        "set-scheme",
        "(param i32 i32 i32 i32 i32) (result i32)",
        r#"lower (func $http-set-scheme) (memory $libc "memory")"#,
    ),
    (
        "options",
        "(result i32)",
        "lower (func $http-request-options)",
    ),
    (
        "set-connect",
        "(param i32 i32 i64) (result i32)",
        "lower (func $http-set-connect-timeout)",
    ),
    (
        "set-first-byte",
        "(param i32 i32 i64) (result i32)",
        "lower (func $http-set-first-byte-timeout)",
    ),
    (
        "set-between-bytes",
        "(param i32 i32 i64) (result i32)",
        "lower (func $http-set-between-bytes-timeout)",
    ),
    (
        "handle",
        "(param i32 i32 i32 i32)",
        r#"lower (func $handle) (memory $libc "memory") (realloc (func $libc "realloc"))"#,
    ),
    (
        "subscribe",
        "(param i32) (result i32)",
        "lower (func $http-subscribe)",
    ),
    (
        "get",
        "(param i32 i32)",
        r#"lower (func $http-get) (memory $libc "memory") (realloc (func $libc "realloc"))"#,
    ),
];

/// A server that gives every request the same short answer, until the process ends.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                // To the end of the head. Whoever asked may have gone: that is what these tests are about.
                if !lines.any(|line| line.is_empty()) {
                    return;
                }
                let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            });
        }
    });
    at
}

/// Sends a request to this server and waits for what comes of it. `path` leaves it to `$a`, a request, what its path
/// is; `options` to `$b`, options, what they are.
fn sending(at: SocketAddr, path: &str, options: &str) -> String {
    let authority = at.to_string();
    let length = authority.len();
    let store: String = authority
        .bytes()
        .enumerate()
        .map(|(index, byte)| {
            format!(
                "(i32.store8 (i32.const {}) (i32.const {byte}))\n",
                512 + index
            )
        })
        .collect();
    format!(
        "{store}
         (local.set $a (call $request (call $fields)))
         (drop (call $set-scheme (local.get $a) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
         (if (call $set-authority (local.get $a) (i32.const 1) (i32.const 512) (i32.const {length}))
           (then unreachable))
         {path}
         (local.set $b (call $options))
         {options}
         (call $handle (local.get $a) (i32.const 1) (local.get $b) (i32.const 1024))
         ;; It is refused at once, or there will be an answer.
         (if (i32.eqz (i32.load8_u (i32.const 1024)))
           (then
             (local.set $a (i32.load (i32.const 1032)))
             (call $block (call $subscribe (local.get $a)))
             (call $get (local.get $a) (i32.const 1024))
             ;; There is one, and nobody has had it.
             (if (i32.ne (i32.load8_u (i32.const 1024)) (i32.const 1)) (then unreachable))
             (if (i32.load8_u (i32.const 1032)) (then unreachable))))"
    )
}

/// GHSA-w36r-2hch-9xp9: a path so long that the place of its query did not fit.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_any_length_is_sent_or_refused_to_the_guest() {
    let bench = Bench::empty(Limits::default());
    let at = server();
    let lengths = [
        (100, 50),
        (65_533, 65_532),
        (65_534, 65_533),
        (65_535, 65_534),
        (65_536, 65_535),
        (65_537, 65_536),
        (65_600, 65_535),
        (65_600, 65_536),
        (131_100, 65_540),
        (131_100, 131_071),
        (200_000, 100),
    ];
    for (length, query) in lengths {
        let path = format!(
            "(memory.fill (i32.const 8192) (i32.const 97) (i32.const {length}))
             (i32.store8 (i32.const 8192) (i32.const 47))
             (i32.store8 (i32.const {}) (i32.const 63))
             (drop (call $set-path (local.get $a) (i32.const 1) (i32.const 8192) (i32.const {length})))",
            8192 + query
        );
        let what = format!("{length} bytes, the query from {query}");
        check(
            &bench,
            &what,
            &job(&sends(), USES, &sending(at, &path, "")),
            Fine,
        )
        .await;
    }
}

/// GHSA-w4qr-p94g-mjhv: a timeout of nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_of_any_length_runs_out_or_does_not() {
    let bench = Bench::empty(Limits::default());
    let at = server();
    for timeouts in [
        &["connect"][..],
        &["first-byte"],
        &["between-bytes"],
        &["connect", "first-byte", "between-bytes"],
    ] {
        for nanoseconds in ["0", "1", "-1"] {
            let options: String = timeouts
                .iter()
                .map(|which| {
                    format!(
                        "(if (call $set-{which} (local.get $b) (i32.const 1) (i64.const {nanoseconds}))
                           (then unreachable))"
                    )
                })
                .collect();
            let what = format!("{timeouts:?} {nanoseconds}");
            check(
                &bench,
                &what,
                &job(&sends(), USES, &sending(at, "", &options)),
                Fine,
            )
            .await;
        }
    }
}
