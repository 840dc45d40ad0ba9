//! From text to what only Marquee understands of a component: `[component.NAME.tool.marquee]`.

use std::{
    num::NonZeroU32,
    path::{self, Path, PathBuf},
    time::Duration,
};

use crate::{
    Begin, Canary, Component, Database, Guard, Guarded, Schedule, Subscription, When, cache,
    defaults,
    names::{is_header, is_interface, is_kebab, is_plain, is_topic},
    rates,
    reader::{At, Section},
    units,
};

/// Read `[component.NAME.tool.marquee]` into the component.
pub(crate) fn marquee(component: &mut Component, mut ours: Section<'_>) {
    let problems = ours.problems().clone();
    if let Some(mut table) = ours.section("database") {
        let name = table.required_string("name");
        let migrations = own_path(&mut table, "migrations");
        let audit = own_path(&mut table, "audit");
        let pool_size = table
            .number("pool", 1..=100)
            .map_or(defaults::POOL_SIZE, |n| usize::try_from(n).unwrap_or(1));
        table.finish("a database has name, migrations, audit and pool");
        if let Some((name, span)) = name {
            if RESERVED.contains(&name.as_str()) {
                problems.add(
                    span,
                    format!("a database cannot be called {name:?}: the host, or PostgreSQL, has one of that name"),
                );
            } else if is_plain(&name) {
                component.database = Some(Database {
                    name,
                    migrations,
                    audit,
                    pool_size,
                });
            } else {
                problems.add(span, format!("a database cannot be called {name:?}: lower-case letters, digits and _, a letter first"));
            }
        }
    }
    if let Some(variables) = ours.section("variables") {
        component.variables = variables.map();
    }
    for (interface, span) in ours.strings("transactional") {
        if is_interface(&interface) {
            component.transactional.push(interface);
        } else {
            problems.add(
                span,
                format!("{interface:?} does not name an interface with its version"),
            );
        }
    }
    component.cache = cache::read(&mut ours, &component.transactional);
    for (topic, span) in ours.strings("publish") {
        if is_topic(&topic) {
            component.publish.push(topic);
        } else {
            problems.add(span, format!("{topic:?} cannot name a topic"));
        }
    }
    for table in ours.sections("subscriptions") {
        if let Some(subscription) = subscription(table) {
            component.subscriptions.push(subscription);
        }
    }
    if let Some((consumer, span)) = ours.string("consumer") {
        if is_kebab(&consumer) && consumer.len() <= 64 {
            component.said_consumer = Some(consumer);
        } else {
            problems.add(
                span,
                format!("{consumer:?} cannot name a consumer: letters, digits and -, at most 64"),
            );
        }
    }
    for table in ours.sections("schedules") {
        if let Some((schedule, span)) = schedule(table) {
            if component.schedules.iter().any(|s| s.name == schedule.name) {
                problems.add(span, format!("schedule {} is there twice", schedule.name));
            }
            component.schedules.push(schedule);
        }
    }
    if let Some(mut table) = ours.section("limits") {
        let limits = &mut component.limits;
        if let Some(deadline) = duration(&mut table, "deadline", 1, 300) {
            limits.deadline = deadline;
        }
        let memory = table.measured("memory", units::size, (1 << 20)..=(1 << 30), "64MiB", |n| {
            format!("{}MiB", n >> 20)
        });
        if let Some(memory) = memory {
            limits.memory_bytes = memory;
        }
        if let Some(calls) = table.number("concurrent_calls", 1..=500) {
            limits.concurrent_calls = usize::try_from(calls).unwrap_or(1);
        }
        if let Some(calls) = table.number("queue", 1..=10_000) {
            limits.queue = usize::try_from(calls).unwrap_or(1);
        }
        if let Some(calls) = table.number("instance_calls", 1..=1_000_000) {
            limits.instance_calls = u32::try_from(calls).ok().and_then(NonZeroU32::new);
        }
        if let Some(handles) = table.number("handles", 10..=100_000) {
            limits.handles = usize::try_from(handles).unwrap_or(10);
        }
        if let Some(lines) = table.number("log_lines", 1..=10_000) {
            limits.log_lines = u32::try_from(lines).unwrap_or(1);
        }
        if let Some(rows) = table.number("rows", 1..=100_000) {
            limits.rows = usize::try_from(rows).unwrap_or(1);
        }
        let bytes = table.measured(
            "query_bytes",
            units::size,
            (64 << 10)..=(64 << 20),
            "4MiB",
            |n| format!("{}KiB", n >> 10),
        );
        if let Some(bytes) = bytes {
            limits.query_bytes = bytes;
        }
        table.finish("limits are deadline, memory, concurrent_calls, queue, instance_calls, handles, log_lines, rows and query_bytes");
    }
    if let Some(table) = ours.section("canary") {
        component.canary = canary(table);
    }
    if let Some(table) = ours.section("guard") {
        component.guard = guard(table);
    }
    component.rates = rates::read::rates(&mut ours);
    let touched = component.cache.iter().any(|cached| !cached.tags.is_empty());
    if touched && component.database.is_none() {
        problems.add_with_help(
            ours.span(),
            format!(
                "{} has tags and no database: what touches them is a function of one",
                ours.full("cache")
            ),
            "leave the tags out, and answers are kept for max_age",
        );
    }
    let needs = [
        (!component.transactional.is_empty(), "transactional"),
        (!component.subscriptions.is_empty(), "subscriptions"),
        (!component.schedules.is_empty(), "schedules"),
    ];
    for (used, key) in needs {
        if used && component.database.is_none() {
            problems.add(
                ours.span(),
                format!(
                    "{} needs a database: its calls are transactions of one",
                    ours.full(key)
                ),
            );
        }
    }
    ours.finish(
        "tool.marquee has database, variables, transactional, cache, publish, consumer, subscriptions, schedules, limits, canary, guard, rates and subject_header",
    );
}

/// A file or folder of the application: nothing outside its own.
fn own_path(table: &mut Section<'_>, key: &str) -> Option<PathBuf> {
    let (text, span) = table.string(key)?;
    let mut own = PathBuf::new();
    for part in Path::new(&text).components() {
        match part {
            path::Component::Normal(name) => own.push(name),
            path::Component::CurDir => {}
            _ => {
                let problem = format!("{text:?} leads out of the manifest's folder");
                table.problems().add(span, problem);
                return None;
            }
        }
    }
    Some(own)
}

fn canary(mut table: Section<'_>) -> Canary {
    let problems = table.problems().clone();
    let mut header = |key| {
        let (name, span) = table.string(key)?;
        if is_header(&name) {
            return Some(name);
        }
        problems.add(
            span,
            format!("{name:?} cannot name a header: lower-case letters, digits and -"),
        );
        None
    };
    let (key_header, label_header) = (header("key_header"), header("label_header"));
    table.finish("canary has key_header and label_header");
    Canary {
        key_header,
        label_header,
    }
}

fn guard(mut table: Section<'_>) -> Guard {
    let problems = table.problems().clone();
    let mut guard = Guard::default();
    if let Some((on, span)) = table.string("on") {
        match on.as_str() {
            "canary" => guard.on = Guarded::Canary,
            "always" => guard.on = Guarded::Always,
            "never" => guard.on = Guarded::Never,
            _ => problems.add(
                span,
                format!("{on:?} is not when a guard is on: canary, always or never"),
            ),
        }
    }
    if let Some(calls) = table.number("calls", 10..=1_000_000) {
        guard.calls = calls;
    }
    if let Some(factor) = table.number("factor", 1..=100) {
        guard.factor = u32::try_from(factor).unwrap_or(guard.factor);
    }
    table.finish("guard has on, calls and factor");
    guard
}

fn subscription(mut table: Section<'_>) -> Option<Subscription> {
    let problems = table.problems().clone();
    let topic = table.required_string("topic");
    let partitions = table
        .number("partitions", 1..=64)
        .and_then(|n| i32::try_from(n).ok());
    let from = match table.string("from") {
        None => Begin::default(),
        Some((from, span)) => match from.as_str() {
            "earliest" => Begin::Earliest,
            "latest" => Begin::Latest,
            _ => {
                problems.add(
                    span,
                    format!("{from:?} is neither \"earliest\" nor \"latest\""),
                );
                Begin::default()
            }
        },
    };
    let retry = duration(&mut table, "retry", 1, 3_600);
    let attempts = table
        .number("attempts", 1..=100)
        .and_then(|n| u32::try_from(n).ok());
    let batch = table
        .number("batch", 1..=500)
        .and_then(|n| usize::try_from(n).ok());
    let deadline = duration(&mut table, "deadline", 1, 120);
    table.finish("a subscription has topic, partitions, from, retry, attempts, batch and deadline");
    let (topic, span) = topic?;
    if !is_topic(&topic) {
        problems.add(span, format!("{topic:?} cannot name a topic"));
        return None;
    }
    Some(Subscription {
        topic,
        partitions: partitions.unwrap_or(defaults::PARTITIONS),
        from,
        retry: retry.unwrap_or(defaults::RETRY),
        attempts: attempts.unwrap_or(defaults::ATTEMPTS),
        batch: batch.unwrap_or(defaults::BATCH),
        deadline: deadline.unwrap_or(defaults::BATCH_DEADLINE),
    })
}

fn schedule(mut table: Section<'_>) -> Option<At<Schedule>> {
    let problems = table.problems().clone();
    let span = table.span();
    let name = table.required_string("name");
    let every = duration(&mut table, "every", 1, 86_400);
    let cron = table.string("cron");
    let deadline = duration(&mut table, "deadline", 1, 3_600);
    table.finish("a schedule has name, every or cron, and deadline");
    let when = match (every, cron) {
        (Some(every), None) => When::Every(every),
        (None, Some((cron, at))) => match When::cron(&cron) {
            Ok(when) => when,
            Err(reason) => {
                problems.add(
                    at,
                    format!("{cron:?} is no cron expression of five fields: {reason}"),
                );
                return None;
            }
        },
        _ => {
            problems.add(
                span,
                "a schedule has either every = \"10s\" or cron = \"0 3 * * *\"",
            );
            return None;
        }
    };
    let (name, span) = name?;
    if !is_kebab(&name) || name.len() > 64 {
        problems.add(
            span,
            format!("a schedule cannot be called {name:?}: letters, digits and -, 64 at the most"),
        );
        return None;
    }
    let deadline = deadline.unwrap_or(defaults::JOB_DEADLINE);
    Some((
        Schedule {
            name,
            when,
            deadline,
        },
        span,
    ))
}

/// The embedded bus's, and those that are in every PostgreSQL.
const RESERVED: [&str; 5] = ["bus", "postgres", "releases", "template0", "template1"];

fn duration(table: &mut Section<'_>, key: &str, low_s: u64, high_s: u64) -> Option<Duration> {
    let bounds = Duration::from_secs(low_s)..=Duration::from_secs(high_s);
    table.measured(key, units::duration, bounds, "10s", |d| {
        format!("{}s", d.as_secs())
    })
}
