use std::{collections::HashMap, fmt, sync::Arc};
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentId(Arc<str>);
impl fmt::Display for ComponentId { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) } }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);
impl Digest { pub fn of(_: &[u8]) -> Self { Self([0; 32]) } }
impl fmt::Display for Digest { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{:x}", self.0[0]) } }
pub struct Version<T> { pub payload: T }
pub struct Registry<T>(arc_swap::ArcSwap<HashMap<ComponentId, Arc<Version<T>>>>);
impl<T> Default for Registry<T> { fn default() -> Self { Self(Default::default()) } }
impl<T> Registry<T> {
  pub fn active(&self, id: &ComponentId) -> Option<Arc<Version<T>>> { self.0.load().get(id).cloned() }
  pub fn activate(&self, id: ComponentId, _d: Digest, payload: T) { let v = Arc::new(Version { payload }); self.0.rcu(|m| { let mut m = HashMap::clone(m); m.insert(id.clone(), v.clone()); m }); }
}
