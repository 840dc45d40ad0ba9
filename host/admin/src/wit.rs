//! What a version imports and exports, in WIT, as text for people.
//!
//! Bound: the component's size. It takes milliseconds of a CPU. Not here: where its bytes come from.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use marquee_registry::Digest;
use wit_component::{DecodedWasm, WitPrinter};

/// Its digest and size, what it imports and exports, and the WIT of all packages but WASI's own.
///
/// # Errors
/// It is no component.
pub fn describe(bytes: &[u8]) -> anyhow::Result<String> {
    if let Some(else_) = marquee_runtime::what_else(bytes) {
        bail!(else_);
    }
    let DecodedWasm::Component(resolve, world) =
        wit_component::decode(bytes).context("it is not a component")?
    else {
        bail!("it is a WIT package, not a component");
    };
    let mut text = String::new();
    writeln!(text, "version {:#}", Digest::of(bytes))?;
    writeln!(text, "size    {} bytes", bytes.len())?;
    let world = resolve
        .worlds
        .get(world)
        .context("its world cannot be read")?;
    for (title, items) in [("imports", &world.imports), ("exports", &world.exports)] {
        writeln!(text, "{title}")?;
        let mut names: Vec<String> = items
            .keys()
            .map(|key| resolve.name_world_key(key))
            .collect();
        names.sort_unstable();
        for name in names {
            writeln!(text, "  {name}")?;
        }
    }
    let mut packages: Vec<_> = resolve
        .packages
        .iter()
        .filter(|(_, package)| package.name.namespace != "wasi" && package.name.namespace != "root")
        .map(|(id, package)| (package.name.to_string(), id))
        .collect();
    packages.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    for (_, id) in packages {
        let mut printer = WitPrinter::default();
        printer.print(&resolve, id, &[])?;
        writeln!(text, "\n{}", printer.output)?;
    }
    Ok(text)
}
