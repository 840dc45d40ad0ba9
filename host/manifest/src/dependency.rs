//! What a component takes from other components, by the names that Spin gives to dependencies.

use std::{fmt, str::FromStr};

use semver::Version;

use crate::{ComponentId, names::is_kebab};

/// Which imports a dependency satisfies: those of a package, of one of its interfaces, of any version or of one.
/// `movie:metadata@0.1.0` is every interface of that version of the package, `movie:metadata/queries` one interface of
/// whatever version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyName {
    package: String,
    interface: Option<String>,
    version: Option<Version>,
}

/// A text that names no package.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} does not name a package")]
pub struct InvalidDependency(String);

impl DependencyName {
    fn parse(text: &str) -> Option<Self> {
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(Version::parse(version).ok()?)),
            None => (text, None),
        };
        let (package, interface) = match path.split_once('/') {
            Some((package, interface)) => (package, Some(interface)),
            None => (path, None),
        };
        let (namespace, name) = package.split_once(':')?;
        let named = is_kebab(namespace) && is_kebab(name) && interface.is_none_or(is_kebab);
        named.then(|| Self {
            package: package.to_owned(),
            interface: interface.map(str::to_owned),
            version,
        })
    }

    /// `namespace:name`, by which Spin registers the dependency.
    pub fn package(&self) -> &str {
        &self.package
    }

    /// Whether it satisfies this import, which is an interface's full name.
    pub fn matches(&self, import: &str) -> bool {
        Self::parse(import).is_some_and(|import| {
            import.package == self.package
                && (self.interface.is_none() || self.interface == import.interface)
                && (self.version.is_none() || self.version == import.version)
        })
    }
}

impl FromStr for DependencyName {
    type Err = InvalidDependency;

    fn from_str(text: &str) -> Result<Self, InvalidDependency> {
        Self::parse(text).ok_or_else(|| InvalidDependency(text.to_owned()))
    }
}

impl fmt::Display for DependencyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.package)?;
        if let Some(interface) = &self.interface {
            write!(f, "/{interface}")?;
        }
        match &self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

/// What a component takes from which other component. A package stands in it once, so no import has two providers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependencies(Vec<(DependencyName, ComponentId)>);

impl Dependencies {
    /// Who provides this import, an interface's full name.
    pub fn provider(&self, import: &str) -> Option<&ComponentId> {
        let found = self.0.iter().find(|(name, _)| name.matches(import));
        found.map(|(_, component)| component)
    }

    /// All of it, in the order of the manifest.
    pub fn iter(&self) -> impl Iterator<Item = (&DependencyName, &ComponentId)> {
        self.0.iter().map(|(name, component)| (name, component))
    }

    /// Every component that something is taken from.
    pub fn components(&self) -> impl Iterator<Item = &ComponentId> {
        self.0.iter().map(|(_, component)| component)
    }
}

impl FromIterator<(DependencyName, ComponentId)> for Dependencies {
    fn from_iter<T: IntoIterator<Item = (DependencyName, ComponentId)>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_interface_or_version_stands_for_all_of_them() {
        let check = |name: &str, import: &str, matches: bool| {
            let parsed = DependencyName::parse(name).expect(name);
            assert_eq!(parsed.to_string(), name);
            assert_eq!(parsed.matches(import), matches, "{name} {import}");
        };
        check("a:b", "a:b/c@1.0.0", true);
        check("a:b", "a:b/d@2.0.0", true);
        check("a:b", "a:b/c", true);
        check("a:b", "a:bb/c@1.0.0", false);
        check("a:b@1.0.0", "a:b/c@1.0.0", true);
        check("a:b@1.0.0", "a:b/c@1.0.1", false);
        check("a:b@1.0.0", "a:b/c", false);
        check("a:b/c", "a:b/c@1.0.0", true);
        check("a:b/c", "a:b/d@1.0.0", false);
        check("a:b/c@1.0.0", "a:b/c@1.0.0", true);
        check("a:b/c@1.0.0", "a:b/c@2.0.0", false);
        check("a:b", "c", false);
    }

    #[test]
    fn what_names_no_package_is_no_dependency() {
        for bad in [
            "", "a", "a:", ":b", "a:b/", "a:b@", "a:b@1", "a:b@one", "a:b/c/d", "a b:c", "a:b:c",
        ] {
            assert_eq!(DependencyName::parse(bad), None, "{bad}");
        }
    }
}
