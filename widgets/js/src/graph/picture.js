// The SVG: made once for each box and arrow, then only changed where counts changed.
import { arrange, curve, shapeOf, WIDTH } from "./layout.js";
import { TALLEST, Viewport } from "./viewport.js";
import { say, set, svg } from "../shell/dom.js";
import { cut, grouped, seconds, short } from "../shell/words.js";
import { SIGNS, STATES, total } from "./counts.js";

const INNER = WIDTH - 28;
const STACK = ["waiting", "running", "cancelled", "failed", "done"]; // drawn in this order, the widest first
const BUDGET = 7; // ms of a frame
const MANY = 60; // groups: more of them move without animation, those in sight first, and what is far away is left out of the page
const NEAR = 160; // pixels out of sight: so far Tab and a slow drag find everything in its place
const FAR = 0.45; // zoom at which nobody reads the small print

export class Picture {
  /** `chosen(key)`: a group was clicked, or activated by the keyboard; `folded(actor)`: an actor's head was. */
  constructor(canvas, chosen, folded) {
    this.canvas = canvas;
    this.chosen = chosen;
    this.folded = folded;
    this.root = svg("svg", { class: "nbray-svg", role: "group", "aria-label": "groups of tasks" });
    this.edges = new Map();
    this.nodes = new Map();
    this.groups = new Map();
    this.layers = ["edges", "nodes", "groups"].map(() => svg("g"));
    const all = svg("g", { class: "nbray-all" }, ...this.layers);
    this.root.append(all);
    canvas.append(this.root);
    this.viewport = new Viewport(this.root, all, () => this.plan && this.cull());
    this.next = 0;
    this.root.addEventListener("keydown", (event) => this.key(event));
    for (const type of ["pointerover", "focusin"]) this.root.addEventListener(type, (event) => this.near(event.target));
    for (const type of ["pointerleave", "focusout"]) this.root.addEventListener(type, () => this.near(null));
    this.root.addEventListener("focusin", (event) => {
      const box = this.boxOf(event.target);
      if (box && event.target.matches(":focus-visible")) this.viewport.reveal(box);
    });
  }

  draw(state, options) {
    // A closed notebook cell has no width yet; lay out as if it were wide and again when it gets one.
    const available = this.canvas.clientWidth || 900;
    const shape = shapeOf(state, available);
    const began = performance.now();
    // A large graph that grows is laid out anew seldom enough to leave the page its time.
    if (shape !== this.shape && (began > this.next || !this.plan)) {
      this.shape = shape;
      this.plan = arrange(state, available, TALLEST);
      this.place(state);
      this.viewport.size(this.plan.width, this.plan.height, available);
      this.next = began + 12 * (performance.now() - began);
    } else if (available !== this.available) this.viewport.size(this.plan.width, this.plan.height, available);
    this.available = available;
    this.drawn = [state, options];
    return this.update(state, options) && shape === this.shape;
  }

  /** Shows new counts: as much as fits into a frame, what is in sight first. True when nothing is left to do. */
  update(state, options) {
    const stop = performance.now() + BUDGET;
    const late = () => performance.now() > stop;
    for (const [node, parts] of this.nodes) {
      const actor = state.actors[node.slice(1)];
      if (actor) drawActor(parts, actor, options.folded.has(node.slice(1)));
    }
    const changed = [...this.groups].filter(([key, parts]) => state.groups[key] && parts.drawn !== state.groups[key]);
    if (changed.length > MANY) changed.sort(([a], [b]) => this.viewport.sees(this.plan.ports.get(b)) - this.viewport.sees(this.plan.ports.get(a)));
    for (const [key, parts] of changed) {
      if (late()) return false;
      parts.drawn = state.groups[key];
      countGroup(parts, parts.drawn);
      if (!parts.away) drawGroup(parts, parts.drawn);
    }
    for (const [key, parts] of this.edges) {
      const target = state.groups[parts.target];
      const number = state.edges[key];
      if (!target || !number) continue;
      const flows = target.running > 0;
      if ((parts.number === number && parts.flows === flows) || parts.away) continue;
      if (late()) return false;
      [parts.number, parts.flows] = [number, flows];
      drawEdge(parts, number, target);
    }
    return true;
  }

  place(state) {
    const { direction, boxes, ports, routes } = this.plan;
    const moves = this.groups.size > 0;
    this.root.classList.toggle("nbray-large", ports.size > MANY || routes.size > 2 * MANY);
    keep(this.groups, ports, this.layers[2], (key) => makeGroup(key, state.groups[key], this.chosen));
    for (const [key, box] of ports) {
      const { node, card } = this.groups.get(key);
      node.style.transform = `translate(${box.x}px, ${box.y}px)`;
      set(card, "height", box.height);
    }
    inOrder(this.groups, ports, this.layers[2], direction);
    const actors = new Map([...boxes].filter(([node]) => node[0] === "a"));
    keep(this.nodes, actors, this.layers[1], (node) => makeActor(node.slice(1), state.actors[node.slice(1)], this.folded));
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
    // Boxes glide to their new places; arrows come back when they have arrived.
    if (moves && ports.size <= MANY && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.layers[0].animate([{ opacity: 0 }, { opacity: 0, offset: 0.6 }, { opacity: 1 }], 450);
    }
  }

  /**
   * Leaves out what is out of sight: the browser lays out and paints all of an SVG whenever a number in it changes, and that takes
   * longer than a frame where there are hundreds of boxes.
   */
  cull() {
    const { ports, boxes } = this.plan;
    const large = ports.size > MANY;
    const seen = (box) => !large || !box || this.viewport.sees(box, NEAR);
    const put = (parts, wanted) => {
      if (!parts.away === wanted) return false;
      parts.away = !wanted;
      parts.node.style.display = wanted ? "" : "none";
      return wanted;
    };
    for (const [key, parts] of this.groups) if (put(parts, seen(ports.get(key))) && parts.drawn) drawGroup(parts, parts.drawn);
    for (const [node, parts] of this.nodes) put(parts, seen(boxes.get(node)));
    let fresh = false;
    for (const parts of this.edges.values()) {
      const [a, b] = [ports.get(parts.source), ports.get(parts.target)];
      if (put(parts, !a || !b || seen(around(a, b)))) fresh = true;
    }
    if (fresh && this.drawn) this.update(...this.drawn);
    this.root.classList.toggle("nbray-far", large && this.viewport.now.k < FAR);
  }

  /** Marks the group whose tasks are shown below. */
  mark(key) {
    for (const [other, { node }] of this.groups) {
      node.classList.toggle("nbray-chosen", other === key);
      set(node, "aria-expanded", other === key);
    }
  }

  focus(key) {
    const parts = this.groups.get(key) ?? this.groups.values().next().value;
    if (!parts) return;
    const box = this.plan.ports.get(this.groups.has(key) ? key : this.groups.keys().next().value);
    if (box) this.viewport.reveal(box); // what is left out of the page takes no focus
    parts.node.focus({ preventScroll: true });
  }

  /** Makes the arrows of the group under the pointer stand out: where there are many, no eye follows one. */
  near(target) {
    const node = target?.closest?.(".nbray-group") ?? null;
    if (node === this.nearest) return;
    this.nearest = node;
    this.root.classList.toggle("nbray-picking", node !== null && this.edges.size > 8);
    for (const parts of this.edges.values()) {
      const touches = node !== null && (this.groups.get(parts.source)?.node === node || this.groups.get(parts.target)?.node === node);
      parts.node.classList.toggle("nbray-touches", touches);
    }
  }

  boxOf(target) {
    for (const [key, { node }] of this.groups) if (node === target) return this.plan.ports.get(key);
    for (const [key, { head }] of this.nodes) if (head === target) return this.plan.boxes.get(key);
    return null;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { viewport } = this;
    const keys = {
      "+": () => viewport.by(1.3), "=": () => viewport.by(1.3), "-": () => viewport.by(1 / 1.3), 0: () => viewport.reset(),
      ArrowLeft: () => this.step(-1, 0), ArrowRight: () => this.step(1, 0), ArrowUp: () => this.step(0, -1), ArrowDown: () => this.step(0, 1),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook's own keys move between cells
    keys[event.key]();
  }

  /** The focus goes to the nearest group in that direction. */
  step(dx, dy) {
    const from = this.boxOf(this.root.ownerDocument.activeElement);
    if (!from) return this.focus();
    const middle = ({ x, y, width, height }) => [x + width / 2, y + height / 2];
    const [x, y] = middle(from);
    let best;
    let least = Infinity;
    for (const [key, box] of this.plan.ports) {
      const [a, b] = middle(box);
      const along = (a - x) * dx + (b - y) * dy;
      const aside = Math.abs((a - x) * dy) + Math.abs((b - y) * dx);
      if (along > 4 && along + 2 * aside < least) [best, least] = [key, along + 2 * aside];
    }
    if (best !== undefined) this.focus(best);
  }
}

/** The smallest box that holds both. */
function around(a, b) {
  const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
  return { x, y, width: Math.max(a.x + a.width, b.x + b.width) - x, height: Math.max(a.y + a.height, b.y + b.height) - y };
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
  const folded = group.kind === "folded";
  say(name, folded ? "all methods" : cut(method ? group.name.slice(group.name.lastIndexOf(".") + 1) : group.name, 20));
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

/** What programs read of a group, in sight or not. */
function countGroup({ node }, group) {
  for (const state of STATES) set(node, `data-${state}`, group[state]);
}

function drawGroup({ node, title, count, bars, spans, mean }, group) {
  const all = total(group);
  const words = STATES.filter((state) => group[state]).map((state) => `${grouped(group[state])} ${state}`);
  const label = `${group.name}: ${grouped(all)} tasks, ${words.join(", ")}`;
  set(node, "aria-label", label);
  node.classList.toggle("nbray-is-running", group.running > 0);
  node.classList.toggle("nbray-is-failed", group.failed > 0);
  say(title, label);
  say(count, short(all));
  let end = 0;
  for (const state of [...STACK].reverse()) {
    end += group[state];
    bars[state].style.width = `${group[state] ? Math.max((INNER * end) / all, 4) : 0}px`;
    bars[state].style.display = group[state] ? "" : "none";
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

function makeActor(key, actor, folded) {
  const node = svg("g", { class: "nbray-actor", "data-name": actor.name });
  const card = svg("rect", { class: "nbray-card", width: WIDTH, rx: 18 });
  const head = svg("g", { class: "nbray-actor-head", tabindex: "0", role: "button" });
  const hit = svg("rect", { class: "nbray-hit", width: WIDTH, height: 33, rx: 16 });
  const badge = svg("path", { class: "nbray-badge", d: "M14 17l5-8.6h10l5 8.6-5 8.6H19z" });
  const title = svg("title");
  const name = svg("text", { class: "nbray-name", x: 42, y: 22 });
  const queue = svg("text", { class: "nbray-queue", x: WIDTH - 16, y: 22 });
  head.append(hit, badge, title, name, queue);
  node.append(card, head);
  head.addEventListener("click", () => folded(key));
  head.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    folded(key);
  });
  return { node, card, head, title, name, queue };
}

function drawActor({ node, head, title, name, queue }, actor, folded) {
  const living = actor.alive + actor.pending + actor.restarting;
  for (const field of ["queue", "alive", "pending", "restarting", "dead"]) set(node, `data-${field}`, actor[field]);
  node.classList.toggle("nbray-ended", !living);
  node.classList.toggle("nbray-waits", actor.queue > 0);
  const many = living > 1 ? ` ×${short(living)}` : living ? "" : " (ended)";
  const waiting = living ? `queue ${short(actor.queue)}` : "";
  say(name, cut(actor.name, 21 - many.length - waiting.length) + many);
  say(queue, waiting);
  const states = ["alive", "pending", "restarting", "dead"].filter((state) => actor[state]);
  const label = `actor ${actor.name}: ${states.map((s) => `${actor[s]} ${s}`).join(", ")}, ${grouped(actor.queue)} calls queued`;
  say(title, `${label}\nclick: ${folded ? "show" : "fold up"} its methods`);
  set(head, "aria-label", label);
  set(head, "aria-expanded", !folded);
}

function makeEdge(route) {
  const node = svg("g", { class: `nbray-edge nbray-${route.kind}` });
  const line = svg("path", { class: "nbray-line" });
  const tip = svg("path", { class: "nbray-tip" });
  const count = svg("text", { class: "nbray-edge-count" });
  node.append(line, tip, count);
  return { node, line, tip, count, source: route.source, target: route.target };
}

function drawEdge({ node, line, count }, number, target) {
  set(line, "stroke-width", (1.2 + Math.min(Math.log10(number) * 0.7, 2.8)).toFixed(1));
  node.classList.toggle("nbray-flows", target.running > 0);
  say(count, number > 1 ? short(number) : "");
}

