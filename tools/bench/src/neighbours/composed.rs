//! A component with another one beside it, so that it has what no compiler of Rust gives it: memories of its own, a start.

use wac_graph::{CompositionGraph, EncodeOptions, types::Package};

/// Three memories, beside the one that the component has already, and all of it written to as soon as there is an instance.
pub(super) const MEMORIES: &str = r#"(component
  (core module $full
    (memory 256)
    (func $fill (memory.fill (i32.const 0) (i32.const 7) (i32.const 16777216)))
    (start $fill))
  (core instance (instantiate $full))
  (core instance (instantiate $full))
  (core instance (instantiate $full)))"#;

/// A start that computes without end.
pub(super) const ENDLESS: &str = r#"(component
  (core module $endless
    (func $start (loop $again (br $again)))
    (start $start))
  (core instance (instantiate $endless)))"#;

/// The component, with that beside it in each of its instances.
pub(super) fn with(component: Vec<u8>, beside: &str) -> anyhow::Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let package = Package::from_bytes("bench:component", None, component, graph.types_mut())?;
    let world = package.ty();
    let id = graph.register_package(package)?;
    let instance = graph.instantiate(id);
    let beside = wat::parse_str(beside)?;
    let beside = Package::from_bytes("bench:beside", None, beside, graph.types_mut())?;
    let beside = graph.register_package(beside)?;
    graph.instantiate(beside);
    for export in graph.types()[world].exports.clone().keys() {
        let alias = graph.alias_instance_export(instance, export)?;
        graph.export(alias, export)?;
    }
    Ok(graph.encode(EncodeOptions::default())?)
}
