// The part of the state that is shown: what was searched for, and actors folded up. Pure.
import { STATES } from "./counts.js";

export const SHOWN = {
  all: () => true,
  active: (group) => group.waiting + group.running > 0,
  failed: (group) => group.failed > 0,
};

/** Whether all words of the query are in the name, in whatever case. */
export function matches(name, query) {
  const lower = name.toLowerCase();
  return query.toLowerCase().split(/\s+/).every((word) => lower.includes(word));
}

/** `options`: {query, show: a key of `SHOWN`, folded: a Set of keys of actors}. Entries that are not folded are the state's own. */
export function visible(state, { query = "", show = "all", folded = new Set() }) {
  if (!query && show === "all" && !folded.size) return state;
  const groups = {};
  const stands = new Map(); // for each group that is shown, the key it is shown under
  for (const [key, group] of Object.entries(state.groups)) {
    if (!SHOWN[show](group) || (query && !matches(group.name, query))) continue;
    if (!folded.has(group.actor)) {
      groups[key] = group;
      stands.set(key, key);
      continue;
    }
    const under = `f${group.actor}`;
    stands.set(key, under);
    const sum = (groups[under] ??= { ...group, name: state.actors[group.actor].name, kind: "folded", methods: 0, seconds: 0, mean: 0, ...Object.fromEntries(STATES.map((s) => [s, 0])) });
    for (const name of STATES) sum[name] += group[name];
    sum.methods++;
    sum.seconds += group.mean * (group.done + group.failed);
    sum.mean = sum.done + sum.failed ? sum.seconds / (sum.done + sum.failed) : 0;
  }
  const edges = {};
  for (const [edge, count] of Object.entries(state.edges)) {
    const [source, target, kind] = edge.split(">");
    const [from, to] = [stands.get(source), stands.get(target)];
    if (from === undefined || to === undefined || (from === to && source !== target)) continue;
    const key = `${from}>${to}>${kind}`;
    edges[key] = (edges[key] ?? 0) + count;
  }
  const held = new Set(Object.values(groups).map((group) => group.actor));
  const every = !query && show === "all";
  const actors = Object.fromEntries(Object.entries(state.actors).filter(([key]) => held.has(key) || every));
  return { ...state, groups, actors, edges };
}
