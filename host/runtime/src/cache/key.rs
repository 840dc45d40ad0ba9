//! Values as bytes: what is equal is the same, and what is not is not. Of one function, whose types say the rest.

use wasmtime::component::Val;

/// Append a value. None: it belongs to its store, and is equal to nothing.
pub(super) fn write(value: &Val, to: &mut Vec<u8>) -> Option<()> {
    match value {
        Val::Bool(value) => to.push(u8::from(*value)),
        Val::S8(value) => to.extend(value.to_le_bytes()),
        Val::U8(value) => to.push(*value),
        Val::S16(value) => to.extend(value.to_le_bytes()),
        Val::U16(value) => to.extend(value.to_le_bytes()),
        Val::S32(value) => to.extend(value.to_le_bytes()),
        Val::U32(value) => to.extend(value.to_le_bytes()),
        Val::S64(value) => to.extend(value.to_le_bytes()),
        Val::U64(value) => to.extend(value.to_le_bytes()),
        // By its bits: 0 and -0 are two, and nothing is lost by it.
        Val::Float32(value) => to.extend(value.to_bits().to_le_bytes()),
        Val::Float64(value) => to.extend(value.to_bits().to_le_bytes()),
        Val::Char(value) => to.extend(u32::from(*value).to_le_bytes()),
        Val::String(value) | Val::Enum(value) => text(value, to),
        Val::List(values) | Val::Tuple(values) | Val::FixedLengthList(values) => {
            length(values.len(), to);
            for value in values {
                write(value, to)?;
            }
        }
        Val::Map(pairs) => {
            length(pairs.len(), to);
            for (key, value) in pairs {
                write(key, to)?;
                write(value, to)?;
            }
        }
        Val::Record(fields) => {
            for (_, value) in fields {
                write(value, to)?;
            }
        }
        Val::Variant(case, value) => {
            text(case, to);
            maybe(value.as_deref(), to)?;
        }
        Val::Option(value) => maybe(value.as_deref(), to)?,
        Val::Result(value) => {
            to.push(u8::from(value.is_ok()));
            let (Ok(value) | Err(value)) = value;
            maybe(value.as_deref(), to)?;
        }
        Val::Flags(names) => {
            length(names.len(), to);
            for name in names {
                text(name, to);
            }
        }
        Val::Resource(_) | Val::Future(_) | Val::Stream(_) | Val::ErrorContext(_) => return None,
    }
    Some(())
}

/// What a value takes in memory, about.
pub(crate) fn size(value: &Val) -> usize {
    let inside: usize = match value {
        Val::String(text) | Val::Enum(text) => text.len(),
        Val::List(values) | Val::Tuple(values) | Val::FixedLengthList(values) => {
            values.iter().map(size).sum()
        }
        Val::Map(pairs) => pairs
            .iter()
            .map(|(key, value)| size(key) + size(value))
            .sum(),
        Val::Record(fields) => fields
            .iter()
            .map(|(name, value)| name.len() + size_of::<String>() + size(value))
            .sum(),
        Val::Variant(case, value) => case.len() + value.as_deref().map_or(0, size),
        Val::Option(value) | Val::Result(Ok(value) | Err(value)) => {
            value.as_deref().map_or(0, size)
        }
        Val::Flags(names) => names
            .iter()
            .map(|name| name.len() + size_of::<String>())
            .sum(),
        _ => 0,
    };
    size_of::<Val>() + inside
}

fn maybe(value: Option<&Val>, to: &mut Vec<u8>) -> Option<()> {
    to.push(u8::from(value.is_some()));
    value.map_or(Some(()), |value| write(value, to))
}

fn text(text: &str, to: &mut Vec<u8>) {
    length(text.len(), to);
    to.extend(text.as_bytes());
}

fn length(length: usize, to: &mut Vec<u8>) {
    to.extend(length.to_le_bytes());
}
