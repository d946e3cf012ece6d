// The states of tasks, in the order in which people read them.

export const STATES = ["done", "running", "waiting", "failed", "cancelled"];
export const SIGNS = { done: "✓", running: "▸", waiting: "○", failed: "✕", cancelled: "⊘" };

export function total(entry) {
  return STATES.reduce((sum, name) => sum + entry[name], 0);
}

export function totals(state) {
  const sums = Object.fromEntries(STATES.map((name) => [name, 0]));
  for (const group of Object.values(state.groups ?? {})) for (const name of STATES) sums[name] += group[name];
  return sums;
}
