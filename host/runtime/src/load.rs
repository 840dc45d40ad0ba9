//! From compiled code to a version that may become live.
//!
//! Link it, make an instance of it, look at its entry points, ask whether it is healthy. Only what passed all of it is
//! returned, and nothing that is live was touched.

use std::{sync::Arc, time::Instant};

use futures::FutureExt as _;
use marquee_manifest::ComponentId;
use marquee_registry::Digest;
use marquee_telemetry::traces::Span;
use tokio::sync::oneshot;
use wasmtime::component::Component as Code;

use crate::{
    Artifact, Beside, Call, CallError, LoadError, Prepared, Runtime, Spec, bindings::PROBE,
    error::chain, guest::probe, instance::Job, link::check_imports, outcome::Kind, pool::Pool,
};

/// Whether a version is asked by its own probe before it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It is, if it has one.
    Asked,
    /// It is not: a person knows better.
    Forced,
}

impl Runtime {
    /// Load a version of a component, check it, try it. What is live stays so. Its dependencies must be live, or `beside` it.
    pub async fn prepare(
        &self,
        spec: Spec,
        version: Digest,
        artifact: Artifact,
        health: Health,
        beside: &Beside,
    ) -> Result<Prepared, LoadError> {
        let id = spec.id.clone();
        let engine = self.0.engine().clone();
        let code = tokio::task::spawn_blocking(move || artifact.component(&engine))
            .await
            .unwrap_or_else(|panic| Err(wasmtime::Error::new(panic)))
            .map_err(|source| LoadError::Artifact {
                component: id,
                source,
            })?;
        self.try_out(spec, version, code, health, beside).await
    }

    /// The version once more, as if it were new, with the code that it has in memory: checked against what is live now,
    /// and tried. One that was live may have been told to end its calls, so it does not come back itself.
    pub async fn prepare_again(
        &self,
        version: &Prepared,
        health: Health,
        beside: &Beside,
    ) -> Result<Prepared, LoadError> {
        let component = &version.0.component;
        let (spec, code) = (component.spec.clone(), component.code.clone());
        self.try_out(spec, component.version, code, health, beside)
            .await
    }

    /// Whether a version still fits those of the others that get calls (those that are to be `beside` it, and what is live
    /// of the rest): those that import from it, and those that it imports from. To be asked again right before
    /// [`Runtime::set_live`] where others may have been set since it was prepared.
    pub fn check(&self, prepared: &Prepared, beside: &Beside) -> Result<(), LoadError> {
        let engine = self.0.engine();
        let component = &prepared.0.component;
        let snapshot = self.0.registry.snapshot();
        let stay = snapshot
            .iter()
            .filter(|(id, _)| beside.versions(id).is_none());
        let stay = stay.flat_map(|(_, live)| live.called().map(|version| &version.payload));
        for importer in stay.chain(beside.all()) {
            check_imports(engine, &importer.0.component, component)?;
        }
        for exporter in component.spec.dependencies.components() {
            if let Some(exporters) = beside.versions(exporter) {
                for exporter in exporters {
                    check_imports(engine, component, &exporter.0.component)?;
                }
                continue;
            }
            let live = snapshot.get(exporter);
            for exporter in live.iter().flat_map(|live| live.called()) {
                check_imports(engine, component, &exporter.payload.0.component)?;
            }
        }
        Ok(())
    }

    /// Whether `importer`, which need not be live, can have from `exporter` all that it has from there: calls that it has
    /// under way get the version that is live when they get there.
    pub fn check_between(&self, importer: &Prepared, exporter: &Prepared) -> Result<(), LoadError> {
        let engine = self.0.engine();
        check_imports(engine, &importer.0.component, &exporter.0.component)
    }

    async fn try_out(
        &self,
        spec: Spec,
        version: Digest,
        code: Code,
        health: Health,
        beside: &Beside,
    ) -> Result<Prepared, LoadError> {
        let log = self.0.log_budget(&spec);
        let engine = self.0.engine();
        let offer = &self.0.offer;
        let stable = |id: &ComponentId| Some(Arc::clone(&beside.stable(id)?.0.component));
        let component = offer.link(engine, spec, version, code, log, &stable)?;
        let component = Arc::new(component);
        // Of its own, so that what it counts are the calls of others.
        let trial = Pool::new(&self.0.floor, Arc::clone(&component));
        start(&trial, beside).await?;
        if health == Health::Asked {
            ask(&trial, beside).await?;
        }
        let prepared = Prepared(Pool::new(&self.0.floor, component));
        self.check(&prepared, beside)?;
        Ok(prepared)
    }
}

/// Make an instance of it, which is kept, and see that the host can call it.
async fn start(pool: &Arc<Pool>, beside: &Beside) -> Result<(), LoadError> {
    let component = Arc::clone(&pool.component);
    let (send, receive) = oneshot::channel();
    let job: Job = Box::new(move |accessor, bound| {
        async move {
            let unfit = component.interfaces().find_map(|interface| {
                let fits = accessor.with(|mut access| bound.fits(&mut access, interface));
                Some((interface.to_owned(), fits.err()?))
            });
            // Whoever asked may have gone; then nobody needs the answer.
            let _ = send.send(unfit);
            Ok(Kind::Done)
        }
        .boxed()
    });
    let id = pool.component.spec.id.clone();
    let unmade = |source| LoadError::Instantiate {
        component: id.clone(),
        source,
    };
    let call = first_call(pool, beside);
    let running = pool.start(call, None, Span::default(), job).await;
    running.map_err(unmade)?.ended().await.map_err(unmade)?;
    match receive.await {
        Ok(Some((interface, source))) => Err(LoadError::EntryPoint {
            component: id,
            interface,
            source,
        }),
        Ok(None) => Ok(()),
        Err(_) => Err(unmade(CallError::Cancelled(id.clone()))),
    }
}

/// Ask it whether it can work, if it can be asked.
async fn ask(pool: &Arc<Pool>, beside: &Beside) -> Result<(), LoadError> {
    let component = &pool.component;
    if !component.exports.contains_key(PROBE) {
        return Ok(());
    }
    let reason = match probe::ready(pool, first_call(pool, beside)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(reason)) => reason,
        Err(error) => chain(&error),
    };
    Err(LoadError::Unhealthy {
        component: component.spec.id.clone(),
        reason,
    })
}

fn first_call(pool: &Pool, beside: &Beside) -> Call {
    let component = &pool.component;
    let deadline = Instant::now() + component.spec.limits.deadline;
    Call {
        beside: Some(beside.carried()),
        ..Call::new(format!("probe-{}", component.version), deadline)
    }
}
