// Which lanes there are, what they are called and where they lie: pure.

const RANK = { tasks: 0, actor: 1, objects: 2, other: 3 };

/** Node by node, processes for tasks first, then actors, then the objects that came; by first appearance among themselves. */
export function ordered(lanes) {
  const nodes = new Map();
  for (const lane of Object.values(lanes)) if (!nodes.has(lane.node)) nodes.set(lane.node, nodes.size);
  return Object.keys(lanes)
    .map(Number)
    .sort((a, b) => {
      const [x, y] = [lanes[a], lanes[b]];
      return nodes.get(x.node) - nodes.get(y.node) || RANK[x.kind] - RANK[y.kind] || a - b;
    });
}

/** What a lane is called, as `label` in reducers/chrome.py calls it: its name, and what may be left out where it is narrow. */
export function laneName({ kind, name, actor, pid, process }) {
  if (kind === "objects") return ["objects copied", ""];
  if (kind === "other") return ["other processes", ""];
  const what = kind === "actor" ? (name ? `${actor} “${name}”` : actor || "actor") : "tasks";
  return [what, pid ? `pid ${pid}` : process.slice(0, 8)];
}

export function laneHeight(count) {
  return count <= 12 ? 24 : count <= 32 ? 18 : 13;
}

/** Rows for the lanes: [{lane, top, height, node}], where a node's first lane carries its name if there are several nodes. */
export function placed(lanes, order) {
  const height = laneHeight(order.length);
  const several = new Set(order.map((lane) => lanes[lane].node).filter(Boolean)).size > 1;
  let top = 0;
  let node;
  const rows = order.map((lane) => {
    const first = several && lanes[lane].node !== node;
    node = lanes[lane].node;
    if (first) top += 16;
    const row = { lane, top, height, node: first ? node : null };
    top += height + Math.max(3, height / 6);
    return row;
  });
  return { rows, height: top };
}
