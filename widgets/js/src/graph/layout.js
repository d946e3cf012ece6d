// Where everything lies. Functions are cards, an actor class is one card with a row for each method.
import { Graph, layout as dagre } from "@dagrejs/dagre";
import { layers } from "./layers.js";

export const WIDTH = 216;
export const CARD = 66;
export const HEADER = 34;
export const ROW = 52;
const GAP = 22;
const MARGIN = 14;
const BETWEEN = 74;
const CLOSE = 46; // where there is little room: a number still has its place on an arrow
const NARROW = 640;
const EASY = 0.85; // zoom at which all is read with ease
const SMALL = 0.7; // and at which it becomes hard
const MOST_TO_TRY = 30; // groups that are laid out in more than one way
const MOST_FOR_DAGRE = 60; // boxes and arrows; more would take longer than a frame

/** A string that changes only when boxes or arrows come or go. */
export function shapeOf(state, width) {
  const groups = Object.entries(state.groups).map(([key, group]) => `${key}.${group.actor ?? ""}`);
  return [width < NARROW, Math.floor((2 * width) / WIDTH), groups, Object.keys(state.actors), Object.keys(state.edges)].join("|");
}

/**
 * The layout that is read best in a frame of that size: from left to right, closer together if that is too wide, and downwards
 * where a long chain would be small print.
 */
export function arrange(state, available, tallest) {
  if (available < NARROW) return layout(state, "TB", available);
  const zoom = ({ width, height }) => Math.min(available / width, tallest / height);
  const wide = layout(state, "LR", available);
  if (available / wide.width >= EASY || Object.keys(state.groups).length > MOST_TO_TRY) return wide;
  const close = layout(state, "LR", available, CLOSE);
  if (available / close.width >= SMALL) return close;
  const down = layout(state, "TB", available, CLOSE);
  return zoom(down) > zoom(close) ? down : close;
}

/**
 * Returns {direction, width, height, boxes, ports, routes}: boxes by node ("g3", "a0"), ports by group (its box inside a node),
 * routes by edge key (points from port to port). Nodes joined with nothing stand in a grid below the others.
 */
export function layout(state, direction, available, between = BETWEEN) {
  const rows = new Map();
  for (const [key, group] of Object.entries(state.groups)) {
    const node = group.actor === null ? `g${key}` : `a${group.actor}`;
    rows.set(node, [...(rows.get(node) ?? []), key]);
  }
  for (const key of Object.keys(state.actors)) if (!rows.has(`a${key}`)) rows.set(`a${key}`, []);
  const nodeOf = new Map();
  const size = new Map();
  for (const [node, keys] of rows) {
    for (const key of keys) nodeOf.set(key, node);
    size.set(node, { width: WIDTH, height: node[0] === "a" ? HEADER + ROW * keys.length + 6 : CARD });
  }
  const edges = Object.keys(state.edges)
    .map((key) => {
      const [source, target, kind] = key.split(">");
      return { key, source, target, kind, from: nodeOf.get(source), to: nodeOf.get(target) };
    })
    .filter((edge) => edge.from && edge.to);

  const joined = new Set(edges.filter((e) => e.from !== e.to).flatMap((e) => [e.from, e.to]));
  const boxes = new Map();
  const bends = new Map();
  let height = MARGIN;
  let width = 2 * MARGIN;
  const inside = edges.filter((edge) => edge.from !== edge.to);
  if (joined.size && joined.size + inside.length > MOST_FOR_DAGRE) {
    const some = new Map([...size].filter(([node]) => joined.has(node)));
    const found = layers(some, inside, direction, GAP, between, MARGIN);
    for (const [node, box] of found.boxes) boxes.set(node, box);
    ({ width, height } = found);
  } else if (joined.size) {
    const graph = new Graph({ multigraph: true });
    graph.setGraph({ rankdir: direction, nodesep: GAP, ranksep: between, edgesep: 14, marginx: MARGIN, marginy: MARGIN });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const node of rows.keys()) if (joined.has(node)) graph.setNode(node, { ...size.get(node) });
    for (const edge of inside) graph.setEdge(edge.from, edge.to, {}, edge.key);
    dagre(graph);
    for (const node of graph.nodes()) {
      const at = graph.node(node);
      boxes.set(node, { x: at.x - at.width / 2, y: at.y - at.height / 2, width: at.width, height: at.height });
    }
    for (const edge of graph.edges()) bends.set(edge.name, graph.edge(edge).points.slice(1, -1));
    width = graph.graph().width;
    height = graph.graph().height;
  }
  const alone = [...rows.keys()].filter((node) => !joined.has(node));
  if (alone.length) {
    // Functions first, so that equally high cards share their rows.
    alone.sort((a, b) => (a[0] === "a") - (b[0] === "a"));
    const columns = Math.max(1, Math.min(alone.length, Math.floor((available - 2 * MARGIN + GAP) / (WIDTH + GAP))));
    if (joined.size) height += GAP - MARGIN;
    for (let i = 0; i < alone.length; i += columns) {
      const row = alone.slice(i, i + columns);
      row.forEach((node, column) => {
        boxes.set(node, { x: MARGIN + column * (WIDTH + GAP), y: height, ...size.get(node) });
      });
      height += Math.max(...row.map((node) => size.get(node).height)) + GAP;
      width = Math.max(width, 2 * MARGIN + row.length * (WIDTH + GAP) - GAP);
    }
    height += MARGIN - GAP;
  }

  const ports = new Map();
  for (const [node, keys] of rows) {
    const box = boxes.get(node);
    keys.forEach((key, i) => {
      ports.set(key, node[0] === "a" ? { ...box, y: box.y + HEADER + ROW * i, height: ROW } : box);
    });
  }
  const routes = new Map();
  let widest = width;
  for (const edge of edges) {
    const route = routeOf(edge, ports, boxes, bends.get(edge.key) ?? [], direction);
    for (const point of route.points) widest = Math.max(widest, point.x + MARGIN);
    routes.set(edge.key, { ...route, kind: edge.kind, source: edge.source, target: edge.target });
  }
  return { direction, width: widest, height, boxes, ports, routes, rows };
}

function routeOf(edge, ports, boxes, bends, direction) {
  const a = ports.get(edge.source);
  const b = ports.get(edge.target);
  if (edge.from === edge.to) {
    // A group that needs itself, or another method of the same actor: an arc at the right side.
    const x = a.x + a.width;
    const [y1, y2] = [a.y + a.height / 2 - 9, b.y + b.height / 2 + 9];
    return { loop: true, points: [{ x, y: y1 }, { x: x + 36, y: (y1 + y2) / 2 }, { x, y: y2 }] };
  }
  if (direction === "LR") {
    const back = boxes.get(edge.to).x < boxes.get(edge.from).x;
    const shift = back ? 10 : 0; // so that there and back are two lines
    const start = { x: back ? a.x : a.x + a.width, y: a.y + a.height / 2 + shift };
    const end = { x: back ? b.x + b.width : b.x, y: b.y + b.height / 2 + shift };
    return { points: [start, ...bends, end], back };
  }
  const [from, to] = [boxes.get(edge.from), boxes.get(edge.to)];
  const back = to.y < from.y;
  const shift = back ? 16 : 0;
  const start = { x: from.x + from.width / 2 + shift, y: back ? from.y : from.y + from.height };
  const end = { x: to.x + to.width / 2 + shift, y: back ? to.y + to.height : to.y };
  return { points: [start, ...bends, end], back };
}

/** The curve of a route, its arrow head and the place of its label. */
export function curve({ points, loop }, direction) {
  const first = points[0];
  const last = points[points.length - 1];
  if (loop) {
    const x = points[1].x;
    return {
      line: `M${first.x} ${first.y}C${x} ${first.y - 8} ${x} ${last.y + 8} ${last.x + 6} ${last.y}`,
      tip: `M${last.x} ${last.y}l8 -4.5v9z`,
      label: { x: points[1].x - 4, y: points[1].y },
    };
  }
  const along = direction === "LR" ? "x" : "y";
  const sign = last[along] >= points[points.length - 2][along] ? 1 : -1;
  const end = { ...last, [along]: last[along] - 7 * sign };
  const way = [...points.slice(0, -1), end];
  let line = `M${way[0].x} ${way[0].y}`;
  for (let i = 1; i < way.length; i++) {
    const [p, q] = [way[i - 1], way[i]];
    const middle = (p[along] + q[along]) / 2;
    line += direction === "LR" ? `C${middle} ${p.y} ${middle} ${q.y} ${q.x} ${q.y}` : `C${p.x} ${middle} ${q.x} ${middle} ${q.x} ${q.y}`;
  }
  const tip =
    direction === "LR" ? `M${last.x} ${last.y}l${-8 * sign} -4.5v9z` : `M${last.x} ${last.y}l-4.5 ${-8 * sign}h9z`;
  const bend = points[Math.floor(points.length / 2)];
  const label = points.length > 2 ? bend : { x: (first.x + last.x) / 2, y: (first.y + last.y) / 2 };
  return { line, tip, label };
}
