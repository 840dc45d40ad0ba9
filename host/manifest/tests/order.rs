//! What of a manifest is loaded.

use marquee_manifest::{App, ComponentId};

fn names<'a>(ids: impl IntoIterator<Item = &'a ComponentId>) -> Vec<&'a str> {
    ids.into_iter().map(ComponentId::as_str).collect()
}

#[test]
fn whatever_has_a_trigger_of_any_kind_is_loaded_and_what_has_none_is_told() {
    let app = App::parse(
        r#"
        spin_manifest_version = 2

        [application]
        name = "chores"

        [component.sweeper]
        source = "sweeper.wasm"

        [component.sweeper.tool.marquee]
        database = { name = "chores" }
        schedules = [{ name = "sweep", every = "1h" }]

        [component.forgotten]
        source = "forgotten.wasm"
        "#,
    )
    .expect("a manifest");
    let loaded = app.load_order().into_iter().map(|component| &component.id);
    assert_eq!(names(loaded), ["sweeper"]);
    assert_eq!(names(app.unused()), ["forgotten"]);
}
