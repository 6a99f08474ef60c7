// The last quarter of an hour: points as the server tells them, added up as pages need them.

import { ask } from "./api.js";

const KEPT = 180;
const WINDOW = 6;

/** Keeps what was told, and asks for what is new only. */
export class Traffic {
  points = [];
  bounds = [];
  valueBounds = [];

  async look() {
    const last = this.points.at(-1)?.time ?? 0;
    const found = await ask(`traffic?after=${last}`);
    this.bounds = found.bounds_ms;
    this.valueBounds = found.value_bounds;
    this.points = [...this.points, ...found.points].slice(-KEPT);
    return this;
  }

  get times() {
    return this.points.map((point) => point.time);
  }

  /** The versions of a model that answered, with their roles; of all models without one. */
  arms(model) {
    const found = new Map();
    for (const point of this.points)
      for (const [name, version, role] of point.served)
        if (name && (!model || name === model)) found.set(`${name}:${version} ${role}`, { model: name, version, role });
    return [...found.values()].sort((a, b) => a.model.localeCompare(b.model) || b.role.localeCompare(a.role) || a.version - b.version);
  }

  /** What `chosen` (model, version, role: any of them) did in a number of points up to the one at `end`. */
  sum(chosen, end = this.points.length - 1, points = WINDOW) {
    const total = { seconds: 0, requests: 0, rows: 0, failed: 0, refused: 0, buckets: [] };
    for (const point of this.points.slice(Math.max(0, end - points + 1), end + 1)) {
      total.seconds += point.seconds;
      for (const [model, version, role, requests, rows, failed, refused, buckets] of point.served) {
        if ((chosen.model ?? model) !== model || (chosen.version ?? version) !== version || (chosen.role ?? role) !== role) continue;
        total.requests += requests;
        total.rows += rows;
        total.failed += failed;
        total.refused += refused;
        buckets.forEach((count, place) => (total.buckets[place] = (total.buckets[place] ?? 0) + count));
      }
    }
    return total;
  }

  /** One number for each point: of the half minute before it. */
  line(chosen, value) {
    return this.points.map((_, place) => value(this.sum(chosen, place)));
  }

  rate = (total) => (total.seconds ? total.requests / total.seconds : null);
  failures = (total) => (total.requests ? (100 * total.failed) / total.requests : null);
  quantile = (share) => (total) => quantile(total.buckets, this.bounds, share);

  /** Numbers by their last label, of all points: predictions by class, values by bucket, violations by kind. */
  counts(kind, ...labels) {
    const found = new Map();
    for (const point of this.points)
      for (const entry of point[kind]) {
        if (!labels.every((label, place) => label === undefined || entry[place] === label)) continue;
        const key = entry.at(-2);
        found.set(key, (found.get(key) ?? 0) + entry.at(-1));
      }
    return found;
  }
}

/** From counts between bounds, as if values were spread evenly between two bounds; null without any. */
export function quantile(counts, bounds, share) {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (!all) return null;
  let reached = 0, low = 0;
  for (let place = 0; place < bounds.length; place += 1) {
    const count = counts[place] ?? 0;
    if (count && reached + count >= share * all) return low + ((bounds[place] - low) * (share * all - reached)) / count;
    reached += count;
    low = bounds[place];
  }
  return low;
}
