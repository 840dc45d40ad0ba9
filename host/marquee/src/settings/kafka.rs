//! `[kafka]` of the runtime config file: properties of the client, by librdkafka's names.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use marquee_database::Secret;
use toml::{Table, Value};

use super::Source;

/// A property of the client.
#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) value: Secret,
    pub(crate) source: Source,
    is_secret: bool,
}

impl Property {
    /// For people: as it is, unless it stands elsewhere or is called like a secret.
    pub(crate) fn shown(&self) -> &str {
        if self.is_secret {
            "(secret)"
        } else {
            self.value.reveal()
        }
    }
}

/// Properties by name. A dot in a name may be one in TOML too, so that `security.protocol = "SASL_SSL"` needs no quotes. In
/// the place of a value, `{ from-file = "PATH" }` (relative to the runtime config file, without its last line break) or
/// `{ from-env = "NAME" }` says where it is.
pub(super) fn properties(
    table: &Table,
    file: &Path,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<BTreeMap<String, Property>> {
    let mut found = BTreeMap::new();
    let mut left: Vec<(String, &Value)> =
        table.iter().map(|(name, it)| (name.clone(), it)).collect();
    while let Some((name, value)) = left.pop() {
        let mut source = Source::File(file.to_owned());
        let mut is_secret = SECRETS.iter().any(|secret| name.contains(secret));
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(is) => is.to_string(),
            Value::Table(table) => match elsewhere(table, file, environment) {
                Some(found) => {
                    let (value, there) = found.with_context(|| name.clone())?;
                    (source, is_secret) = (there, true);
                    value
                }
                None => {
                    let inner = table
                        .iter()
                        .map(|(rest, it)| (format!("{name}.{rest}"), it));
                    left.extend(inner);
                    continue;
                }
            },
            Value::Array(_) | Value::Datetime(_) => {
                bail!("{name} is not a text, a number, true or false")
            }
        };
        let property = Property {
            value: Secret::new(value),
            source,
            is_secret,
        };
        if found.insert(name.clone(), property).is_some() {
            bail!("{name} is there twice, with quotes and without");
        }
    }
    Ok(found)
}

/// The value that stands in a file or in the environment, and where; none where the table is not that.
fn elsewhere(
    table: &Table,
    file: &Path,
    environment: &BTreeMap<String, String>,
) -> Option<anyhow::Result<(String, Source)>> {
    let [(kind, Value::String(place))] = *table.iter().collect::<Vec<_>>() else {
        return None;
    };
    match kind.as_str() {
        "from-file" => {
            let path = file
                .parent()
                .map_or_else(|| PathBuf::from(place), |it| it.join(place));
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("the file {} cannot be read", path.display()));
            Some(text.map(|text| {
                let value = text.strip_suffix('\n').unwrap_or(&text);
                let value = value.strip_suffix('\r').unwrap_or(value);
                (value.to_owned(), Source::File(path))
            }))
        }
        "from-env" => {
            let value = environment.get(place).cloned();
            let value = value.with_context(|| format!("environment {place} is not set"));
            Some(value.map(|value| (value, Source::Environment(place.clone()))))
        }
        _ => None,
    }
}

/// In the names of what must not be seen.
const SECRETS: &[&str] = &[
    "password",
    "passphrase",
    "secret",
    ".pem",
    "ssl_key",
    "oauthbearer.config",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Vec<(String, String, Source)>> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("password"), "of a file\n")?;
        let environment = [("KAFKA_PASSWORD".to_owned(), "of the environment".to_owned())];
        let file = folder.path().join("marquee.toml");
        let found = properties(&toml::from_str(text)?, &file, &environment.into())?;
        let found = found.into_iter().map(|(name, property)| {
            let source = match property.source {
                Source::File(path) => Source::File(path.file_name().unwrap_or_default().into()),
                other => other,
            };
            (name, property.value.reveal().to_owned(), source)
        });
        Ok(found.collect())
    }

    #[test]
    fn a_property_is_text_or_number_with_quotes_or_without_or_stands_elsewhere() {
        let text = r#"
security.protocol = "SASL_SSL"
"sasl.mechanism" = "SCRAM-SHA-512"
sasl.username = { from-env = "KAFKA_PASSWORD" }
sasl.password = { from-file = "password" }
fetch.wait.max.ms = 20
enable.ssl.certificate.verification = true
"#;
        let here = || Source::File("marquee.toml".into());
        let expected = [
            ("enable.ssl.certificate.verification", "true", here()),
            ("fetch.wait.max.ms", "20", here()),
            ("sasl.mechanism", "SCRAM-SHA-512", here()),
            (
                "sasl.password",
                "of a file",
                Source::File("password".into()),
            ),
            (
                "sasl.username",
                "of the environment",
                Source::Environment("KAFKA_PASSWORD".to_owned()),
            ),
            ("security.protocol", "SASL_SSL", here()),
        ];
        let expected =
            expected.map(|(name, value, from)| (name.to_owned(), value.to_owned(), from));
        assert_eq!(read(text).expect("it is right"), expected);
    }

    #[test]
    fn people_see_what_is_no_secret() {
        let text = r#"
security.protocol = "SSL"
ssl.key.password = "a"
ssl.key.location = { from-file = "password" }
"#;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("password"), "b").expect("a file");
        let table = toml::from_str(text).expect("TOML");
        let file = folder.path().join("marquee.toml");
        let found = properties(&table, &file, &BTreeMap::new()).expect("it is right");
        let shown: Vec<&str> = found.values().map(Property::shown).collect();
        assert_eq!(shown, ["SSL", "(secret)", "(secret)"]);
    }

    #[test]
    fn what_is_no_property_or_is_not_there_is_refused_by_name() {
        for (text, expected) in [
            ("a.b = []", "a.b is not a text"),
            ("a.b = 1\n\"a.b\" = 2", "a.b is there twice"),
            (
                "a.b = { from-env = \"NOBODY\" }",
                "environment NOBODY is not set",
            ),
            (
                "a.b = { from-file = \"nowhere\" }",
                "nowhere cannot be read",
            ),
        ] {
            let error = format!("{:#}", read(text).expect_err(text));
            assert!(
                error.contains("a.b") && error.contains(expected),
                "{text}: {error}"
            );
        }
    }
}
