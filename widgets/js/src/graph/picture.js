// The SVG: made once for each box and arrow, then only changed where counts changed.
import { curve, layout, shapeOf, WIDTH } from "./layout.js";
import { say, set, svg } from "../shell/dom.js";
import { cut, seconds, short } from "../shell/words.js";
import { SIGNS, STATES, total } from "./counts.js";

const INNER = WIDTH - 28;
const STACK = ["waiting", "running", "cancelled", "failed", "done"]; // drawn in this order, the widest first
const NARROW = 640;

export class Picture {
  /** `chosen(key)` is called when a group is clicked or activated by the keyboard. */
  constructor(canvas, chosen) {
    this.canvas = canvas;
    this.chosen = chosen;
    this.root = svg("svg", { class: "nbray-svg", role: "group", "aria-label": "groups of tasks" });
    this.edges = new Map();
    this.nodes = new Map();
    this.groups = new Map();
    this.layers = ["edges", "nodes", "groups"].map(() => svg("g"));
    this.root.append(...this.layers);
    canvas.append(this.root);
  }

  draw(state) {
    // A closed notebook cell has no width yet; lay out as if it were wide and again when it gets one.
    const available = this.canvas.clientWidth || 900;
    const direction = available < NARROW ? "TB" : "LR";
    const shape = shapeOf(state, direction, available);
    if (shape !== this.shape) {
      this.shape = shape;
      this.plan = layout(state, direction, available);
      this.place(state, direction);
    }
    this.fit(available);
    for (const [key, parts] of this.groups) drawGroup(parts, state.groups[key]);
    for (const [node, parts] of this.nodes) drawActor(parts, state.actors[node.slice(1)]);
    for (const [key, parts] of this.edges) drawEdge(parts, state.edges[key], state.groups[parts.target]);
  }

  fit(available) {
    const { width, height } = this.plan;
    const scale = Math.max(0.6, Math.min(1, (available - 2) / width));
    set(this.root, "viewBox", `0 0 ${width} ${height}`);
    set(this.root, "width", Math.round(width * scale));
    set(this.root, "height", Math.round(height * scale));
  }

  place(state, direction) {
    const { boxes, ports, routes } = this.plan;
    keep(this.groups, ports, this.layers[2], (key) => makeGroup(key, state.groups[key], this.chosen));
    for (const [key, box] of ports) {
      const { node, card } = this.groups.get(key);
      node.style.transform = `translate(${box.x}px, ${box.y}px)`;
      set(card, "height", box.height);
    }
    inOrder(this.groups, ports, this.layers[2], direction);
    const actors = new Map([...boxes].filter(([node]) => node[0] === "a"));
    keep(this.nodes, actors, this.layers[1], (node) => makeActor(state.actors[node.slice(1)]));
    for (const [node, box] of actors) {
      const parts = this.nodes.get(node);
      parts.node.style.transform = `translate(${box.x}px, ${box.y}px)`;
      set(parts.card, "height", box.height);
    }
    keep(this.edges, routes, this.layers[0], (key) => makeEdge(routes.get(key)));
    for (const [key, route] of routes) {
      const parts = this.edges.get(key);
      const { line, tip, label } = curve(route, direction);
      set(parts.line, "d", line);
      set(parts.tip, "d", tip);
      set(parts.count, "x", label.x);
      set(parts.count, "y", label.y - 5);
    }
  }

  /** Marks the group whose tasks are shown below. */
  mark(key) {
    for (const [other, { node }] of this.groups) {
      node.classList.toggle("nbray-chosen", other === key);
      set(node, "aria-expanded", other === key);
    }
  }

  focus(key) {
    this.groups.get(key)?.node.focus();
  }
}

/** Makes `made` hold exactly the keys of `wanted`. */
function keep(made, wanted, layer, make) {
  for (const [key, parts] of made) {
    if (!wanted.has(key)) {
      parts.node.remove();
      made.delete(key);
    }
  }
  for (const key of wanted.keys()) {
    if (!made.has(key)) {
      const parts = make(key);
      made.set(key, parts);
      layer.append(parts.node);
    }
  }
}

/** Tab goes through the groups as one reads them: along the arrows, then across. */
function inOrder(groups, ports, layer, direction) {
  const [along, across] = direction === "LR" ? ["x", "y"] : ["y", "x"];
  const keys = [...ports.keys()].sort(
    (a, b) => ports.get(a)[along] - ports.get(b)[along] || ports.get(a)[across] - ports.get(b)[across],
  );
  const nodes = keys.map((key) => groups.get(key).node);
  if (nodes.every((node, i) => layer.children[i] === node)) return;
  const focused = nodes.find((node) => node === node.ownerDocument.activeElement);
  layer.append(...nodes);
  focused?.focus(); // moving a node takes its focus away
}

function makeGroup(key, group, chosen) {
  const method = group.actor !== null;
  const node = svg("g", {
    class: method ? "nbray-group nbray-method" : "nbray-group",
    tabindex: "0",
    role: "button",
    "aria-expanded": "false",
    "data-name": group.name,
  });
  const card = svg("rect", { class: method ? "nbray-hit" : "nbray-card", width: WIDTH, rx: 9 });
  const title = svg("title");
  const name = svg("text", { class: "nbray-name", x: 14, y: 21 });
  const count = svg("text", { class: "nbray-count", x: WIDTH - 14, y: 21 });
  const track = svg("rect", { class: "nbray-track", x: 14, y: 30, width: INNER, height: 6, rx: 3 });
  const bars = Object.fromEntries(
    STACK.map((state) => [state, svg("rect", { class: `nbray-bar nbray-${state}`, x: 14, y: 30, height: 6, rx: 3 })]),
  );
  const states = svg("text", { class: "nbray-states", x: 14, y: 52 });
  const spans = Object.fromEntries(STATES.map((state) => [state, svg("tspan", { class: `nbray-${state}` })]));
  const mean = svg("text", { class: "nbray-mean", x: WIDTH - 14, y: 52 });
  states.append(...Object.values(spans));
  node.append(card, title, name, count, track, ...Object.values(bars), states, mean);
  const label = method ? group.name.slice(group.name.lastIndexOf(".") + 1) : group.name;
  say(name, cut(label, 22));
  node.addEventListener("click", () => chosen(key));
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      event.stopPropagation(); // the notebook's own keys run cells
      chosen(key);
    }
  });
  return { node, card, title, count, bars, spans, mean };
}

function drawGroup({ node, title, count, bars, spans, mean }, group) {
  const all = total(group);
  const words = STATES.filter((state) => group[state]).map((state) => `${group[state].toLocaleString("en")} ${state}`);
  const label = `${group.name}: ${all.toLocaleString("en")} tasks, ${words.join(", ")}`;
  for (const state of STATES) set(node, `data-${state}`, group[state]);
  set(node, "aria-label", label);
  node.classList.toggle("nbray-is-running", group.running > 0);
  node.classList.toggle("nbray-is-failed", group.failed > 0);
  say(title, label);
  say(count, short(all));
  let end = 0;
  for (const state of [...STACK].reverse()) {
    end += group[state];
    bars[state].style.width = `${group[state] ? Math.max((INNER * end) / all, 4) : 0}px`;
  }
  let first = true;
  for (const state of STATES) {
    say(spans[state], group[state] ? `${SIGNS[state]} ${short(group[state])}` : "");
    if (group[state]) {
      set(spans[state], "dx", first ? 0 : 8);
      first = false;
    }
  }
  say(mean, group.done + group.failed ? seconds(group.mean) : "");
}

function makeActor(actor) {
  const node = svg("g", { class: "nbray-actor", "data-name": actor.name });
  const card = svg("rect", { class: "nbray-card", width: WIDTH, rx: 18 });
  const badge = svg("path", { class: "nbray-badge", d: "M14 17l5-8.6h10l5 8.6-5 8.6H19z" });
  const title = svg("title");
  const name = svg("text", { class: "nbray-name", x: 42, y: 22 });
  const queue = svg("text", { class: "nbray-queue", x: WIDTH - 16, y: 22 });
  node.append(card, badge, title, name, queue);
  return { node, card, title, name, queue };
}

function drawActor({ node, title, name, queue }, actor) {
  const living = actor.alive + actor.pending + actor.restarting;
  for (const field of ["queue", "alive", "pending", "restarting", "dead"]) set(node, `data-${field}`, actor[field]);
  node.classList.toggle("nbray-ended", !living);
  say(name, cut(actor.name, 16) + (living > 1 ? ` ×${short(living)}` : living ? "" : " (ended)"));
  say(queue, `queue ${short(actor.queue)}`);
  const states = ["alive", "pending", "restarting", "dead"].filter((state) => actor[state]);
  say(title, `actor ${actor.name}: ${states.map((s) => `${actor[s]} ${s}`).join(", ")}, ${actor.queue} calls queued`);
}

function makeEdge(route) {
  const node = svg("g", { class: `nbray-edge nbray-${route.kind}` });
  const line = svg("path", { class: "nbray-line" });
  const tip = svg("path", { class: "nbray-tip" });
  const count = svg("text", { class: "nbray-edge-count" });
  node.append(line, tip, count);
  return { node, line, tip, count, target: route.target };
}

function drawEdge({ node, line, count }, number, target) {
  set(line, "stroke-width", (1.2 + Math.min(Math.log10(number) * 0.7, 2.8)).toFixed(1));
  node.classList.toggle("nbray-flows", target.running > 0);
  say(count, number > 1 ? short(number) : "");
}

