// The state of a view: tables of entries. The kernel sends one whole state and then what changed in it.

export const STATES = ["done", "running", "waiting", "failed", "cancelled"];
export const SIGNS = { done: "✓", running: "▸", waiting: "○", failed: "✕", cancelled: "⊘" };

/** Makes a change to `state` in place, by the rule of `reducers/delta.py`: null means gone. */
export function apply(state, change) {
  for (const [table, entries] of Object.entries(change)) {
    const target = (state[table] ??= {});
    for (const [key, entry] of Object.entries(entries)) {
      if (entry === null) delete target[key];
      else target[key] = entry;
    }
  }
  return state;
}

export function total(entry) {
  return STATES.reduce((sum, name) => sum + entry[name], 0);
}

export function totals(state) {
  const sums = Object.fromEntries(STATES.map((name) => [name, 0]));
  for (const group of Object.values(state.groups ?? {})) for (const name of STATES) sums[name] += group[name];
  return sums;
}

/** At most five characters: 950, 12.3k, 1.2M. */
export function short(number) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (number >= size) {
      const value = number / size;
      return (value >= 99.95 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "")) + unit;
    }
  }
  return String(number);
}

/** 340 µs, 12 ms, 3.20 s, 4 min 10 s. */
export function seconds(value) {
  if (value < 0.0009995) return `${(value * 1e6).toFixed(0)} µs`;
  if (value < 0.9995) return `${(value * 1e3).toFixed(value < 0.00995 ? 1 : 0)} ms`;
  if (value < 59.95) return `${value.toFixed(value < 9.995 ? 2 : 1)} s`;
  return `${Math.floor(Math.round(value) / 60)} min ${Math.round(value) % 60} s`;
}

export function cut(text, longest) {
  return text.length > longest ? `${text.slice(0, longest - 1)}…` : text;
}
