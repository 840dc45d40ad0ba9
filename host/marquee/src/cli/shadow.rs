//! `marquee diff --live`: what a shadow does otherwise than the live version, as a host has seen it.

use std::{fmt::Write as _, process::ExitCode};

use marquee_manifest::ComponentId;
use marquee_runtime::{Comparison, Difference};
use serde_json::Value;

use super::{print, versions::time};

/// Print what came of the copies.
pub(super) fn show(
    component: &ComponentId,
    known: &Comparison,
    json: bool,
) -> anyhow::Result<ExitCode> {
    if json {
        print(serde_json::to_string_pretty(known)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(text(component, known)?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn text(component: &ComponentId, known: &Comparison) -> anyhow::Result<String> {
    let Comparison {
        live,
        shadow,
        copied,
        dropped,
        compared,
        equal,
        different,
        failed,
        unsteady,
        ..
    } = known;
    let mut text = String::new();
    writeln!(
        text,
        "{component}: {shadow} in the shadow of {live}, on this host"
    )?;
    writeln!(
        text,
        "{copied} copied, {dropped} dropped, {compared} compared: {equal} equal, {different} different ({failed} without an answer), {unsteady} unsteady"
    )?;
    for difference in &known.differences {
        write(&mut text, difference)?;
    }
    Ok(text)
}

fn write(text: &mut String, difference: &Difference) -> anyhow::Result<()> {
    let Difference {
        at_ms,
        asked,
        with,
        differs,
        more,
    } = difference;
    writeln!(text, "\n{}  {asked}", time(*at_ms))?;
    writeln!(text, "  with {with}")?;
    for one in differs {
        let of = |value: &Value| match value {
            Value::Null => "nothing".to_owned(),
            value => value.to_string(),
        };
        writeln!(text, "  {}", one.path)?;
        writeln!(text, "    live    {}", of(&one.live))?;
        writeln!(text, "    shadow  {}", of(&one.shadow))?;
    }
    if *more > 0 {
        writeln!(text, "  and {more} more")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use marquee_registry::Digest;
    use marquee_runtime::Differs;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_stands_below_what_was_asked() {
        let difference = Difference {
            at_ms: 0,
            asked: "movie:rating/queries@0.1.0.aggregate".to_owned(),
            with: json!({"movie": "m"}),
            differs: vec![Differs {
                path: "answer.ok.average".to_owned(),
                live: json!(7.5),
                shadow: Value::Null,
            }],
            more: 2,
        };
        let known = Comparison {
            live: Digest::of(b"live"),
            shadow: Digest::of(b"shadow"),
            since_ms: 0,
            copied: 5,
            dropped: 1,
            compared: 4,
            equal: 2,
            different: 1,
            failed: 0,
            unsteady: 1,
            differences: vec![difference],
        };
        let id = "rating".parse().expect("a name");
        let expected = format!(
            "rating: {} in the shadow of {}, on this host
5 copied, 1 dropped, 4 compared: 2 equal, 1 different (0 without an answer), 1 unsteady

1970-01-01T00:00:00Z  movie:rating/queries@0.1.0.aggregate
  with {{\"movie\":\"m\"}}
  answer.ok.average
    live    7.5
    shadow  nothing
  and 2 more
",
            known.shadow, known.live
        );
        assert_eq!(text(&id, &known).expect("text"), expected);
    }
}
