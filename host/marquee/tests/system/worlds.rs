//! What each component imports beside WASI, and exports: nothing that it does not use.

use wasmtime::{Config, Engine, component::Component};

fn names(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

fn check(component: &str, imports: &[&str], exports: &[&str]) {
    let path = format!(
        "{}/../../target/wasm32-wasip2/guest/{component}.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    let engine = Engine::new(&config).expect("an engine");
    let component = Component::from_file(&engine, &path)
        .unwrap_or_else(|error| panic!("{path} (build it with scripts/components): {error}"));
    let ty = component.component_type();
    let (wasi, own): (Vec<_>, Vec<_>) = ty
        .imports(&engine)
        .map(|(name, _)| name.to_owned())
        .partition(|name| name.starts_with("wasi:"));
    assert_eq!(names(own.into_iter()), imports, "{path}");
    assert_eq!(
        names(ty.exports(&engine).map(|(name, _)| name.to_owned())),
        exports,
        "{path}"
    );
    for name in wasi {
        assert!(!name.contains("sockets"), "{path} imports {name}");
        assert!(
            !name.contains("http/client") && !name.contains("outgoing-handler"),
            "{path} imports {name}"
        );
    }
}

#[test]
fn each_component_imports_only_what_it_uses() {
    check(
        "gateway",
        &[
            "marquee:messaging/producer@0.1.0",
            "marquee:messaging/types@0.1.0",
            "movie:metadata/commands@0.3.0",
            "movie:metadata/queries@0.3.0",
            "movie:metadata/types@0.3.0",
            "movie:passwords/hashing@0.1.0",
            "movie:rating/commands@0.3.0",
            "movie:rating/queries@0.3.0",
            "movie:rating/types@0.3.0",
            "movie:users/commands@0.2.0",
            "movie:users/queries@0.2.0",
            "movie:users/sessions@0.2.0",
            "movie:users/types@0.2.0",
            "spin:variables/variables@3.0.0",
        ],
        &[
            "marquee:health/probe@0.1.0",
            "marquee:http/handler@0.1.0",
            "wasi:http/handler@0.3.0",
        ],
    );
    check(
        "metadata",
        &[
            "spin:postgres/postgres@4.2.0",
            "spin:variables/variables@3.0.0",
        ],
        &[
            "movie:metadata/commands@0.1.0",
            "movie:metadata/commands@0.2.0",
            "movie:metadata/commands@0.3.0",
            "movie:metadata/queries@0.1.0",
            "movie:metadata/queries@0.2.0",
            "movie:metadata/queries@0.3.0",
            "movie:metadata/types@0.1.0",
            "movie:metadata/types@0.2.0",
            "movie:metadata/types@0.3.0",
        ],
    );
    check(
        "rating",
        &[
            "marquee:messaging/types@0.1.0",
            "spin:postgres/postgres@4.2.0",
            "spin:variables/variables@3.0.0",
        ],
        &[
            "marquee:messaging/consumer@0.1.0",
            "movie:rating/commands@0.1.0",
            "movie:rating/commands@0.2.0",
            "movie:rating/commands@0.3.0",
            "movie:rating/queries@0.1.0",
            "movie:rating/queries@0.2.0",
            "movie:rating/queries@0.3.0",
            "movie:rating/types@0.1.0",
            "movie:rating/types@0.2.0",
            "movie:rating/types@0.3.0",
        ],
    );
    check("passwords", &[], &["movie:passwords/hashing@0.1.0"]);
    check(
        "users",
        &[
            "spin:postgres/postgres@4.2.0",
            "spin:variables/variables@3.0.0",
        ],
        &[
            "movie:users/commands@0.1.0",
            "movie:users/commands@0.2.0",
            "movie:users/queries@0.1.0",
            "movie:users/queries@0.2.0",
            "movie:users/sessions@0.1.0",
            "movie:users/sessions@0.2.0",
            "movie:users/types@0.1.0",
            "movie:users/types@0.2.0",
        ],
    );
    check(
        "no-bus",
        &[],
        &[
            "marquee:messaging/producer@0.1.0",
            "marquee:messaging/types@0.1.0",
        ],
    );
    check(
        "orders-ledger",
        &[
            "marquee:messaging/types@0.1.0",
            "spin:postgres/postgres@4.2.0",
            "spin:variables/variables@3.0.0",
        ],
        &[
            "marquee:messaging/consumer@0.1.0",
            "marquee:schedule/job@0.1.0",
            "shop:orders/ledger@0.1.0",
        ],
    );
    check(
        "orders-api",
        &[
            "marquee:messaging/producer@0.1.0",
            "marquee:messaging/types@0.1.0",
            "shop:orders/ledger@0.1.0",
        ],
        &["wasi:http/handler@0.3.0"],
    );
}
