// What samples come to: sums of a time, and lines of a component or a version.

/** Those of the last so many milliseconds. */
export const lately = (samples, ms) => samples.filter((sample) => sample.at_ms > Date.now() - ms);

/** Of some samples, all components together. */
export function sums(samples, is = () => true) {
  const sum = { calls: 0, errors: 0, p50: null, p99: null, slowest: null, ms: 0 };
  for (const sample of samples) {
    sum.ms += sample.for_ms;
    for (const it of sample.work.filter(is)) {
      sum.calls += it.calls;
      sum.errors += it.errors;
      if (it.p50_us !== null) sum.p50 = Math.max(sum.p50 ?? 0, it.p50_us);
      if (it.p99_us !== null && (sum.p99 === null || it.p99_us > sum.p99)) [sum.p99, sum.slowest] = [it.p99_us, it.component];
    }
  }
  return { ...sum, rate: sum.ms === 0 ? null : (sum.calls * 1000) / sum.ms };
}

/** name -> [[ms, { rate, errors, seconds, p50, p99 }]], by what `name` calls each piece of work. */
function by(samples, name) {
  const all = new Map();
  for (const sample of samples) {
    const seconds = sample.for_ms / 1000;
    const here = new Map();
    for (const it of sample.work) {
      const key = name(it);
      if (key === null) continue;
      const sum = here.get(key) ?? { rate: 0, errors: 0, seconds, p50: null, p99: null };
      sum.rate += it.calls / seconds;
      sum.errors += it.errors;
      sum.p50 = Math.max(sum.p50 ?? 0, it.p50_us ?? 0) || null;
      sum.p99 = Math.max(sum.p99 ?? 0, it.p99_us ?? 0) || null;
      here.set(key, sum);
      if (!all.has(key)) all.set(key, []);
    }
    for (const [key, points] of all) {
      points.push([sample.at_ms, here.get(key) ?? { rate: 0, errors: 0, seconds, p50: null, p99: null }]);
    }
  }
  return all;
}

export const byComponent = (samples) => new Map([...by(samples, (it) => it.component)].sort(([a], [b]) => a < b ? -1 : 1));
export const byVersion = (samples, component) => by(samples, (it) => (it.component === component ? it.version : null));

/** Lines of a chart. */
export const lines = (all, value, name = (key) => key) =>
  [...all].map(([key, points]) => ({ name: name(key), points: points.map(([at, it]) => [at, value(it)]) }));
