// The cluster: what all nodes have together, how the last two minutes went, and a row a node.
import { html, say, set } from "./shell/dom.js";
import { everySecond, Head, now } from "./shell/head.js";
import { columns, Spark } from "./shell/spark.js";
import { Table } from "./shell/table.js";
import { View, widget } from "./shell/view.js";
import { bytes, counted, short } from "./shell/words.js";

const [ENDED, LEASED, BUSY, MEMORY, STORE] = [0, 1, 2, 3, 4];
const figure = (value) => String(Math.round(value * 100) / 100);
const ago = (seconds) => (seconds ? `${seconds} s ago` : "now");
const sum = (nodes, key) => nodes.reduce((total, node) => total + (node[key] ?? 0), 0);

/** Nodes of one machine see the same memory. */
function machines(nodes) {
  return [...new Map(nodes.map((node) => [node.host, node])).values()];
}

class Tile {
  constructor(name, title, spark) {
    this.value = html("span", { class: "nbray-value" });
    this.unit = html("span", { class: "nbray-unit" });
    this.more = html("div", { class: "nbray-more" });
    this.parts = new Map();
    this.spark = spark;
    this.node = html(
      "div",
      { class: `nbray-tile nbray-tile-${name}`, role: "group", "aria-label": title },
      html("div", { class: "nbray-tile-title" }, title),
      html("div", { class: "nbray-figure" }, this.value, this.unit),
      ...(spark ? [spark.node] : []),
      this.more,
    );
  }

  draw(value, unit, more) {
    say(this.value, value);
    say(this.unit, unit);
    for (const [name, text, kind = ""] of more) {
      let part = this.parts.get(name);
      if (!part) {
        part = html("span", {});
        this.parts.set(name, part);
        this.more.append(part);
      }
      part.className = kind;
      part.hidden = !text;
      say(part, text);
    }
  }
}

/** A cell with a bar: how much of a whole. */
function meter(words, share, kind = () => "") {
  return (td, node) => {
    if (!td.firstChild) td.append(html("span", {}), html("i", { class: "nbray-meter" }, html("i", {})));
    const part = node.up ? share(node) : null;
    say(td.firstChild, node.up ? words(node) : "");
    td.lastChild.hidden = part === null;
    if (part !== null) td.lastChild.firstChild.style.width = `${Math.min(100, 100 * part).toFixed(1)}%`;
    td.lastChild.className = `nbray-meter ${part !== null && part > 0.9 ? "nbray-full" : ""} ${kind(node)}`;
  };
}

const ratio = (part, whole) => (part === null || !whole ? null : part / whole);
const of = (part, whole) => (part === null ? (whole ? bytes(whole) : "") : `${bytes(part)} of ${bytes(whole)}`);

const COLUMNS = [
  { key: "id", label: "node", by: (node) => node.number, fill: identity },
  { key: "host", label: "host", text: (node) => node.host },
  { key: "up", label: "state", by: (node) => !node.up, fill: state },
  {
    key: "used", label: "CPUs in use", most: true, title: "CPUs that tasks and actors hold, of those there are",
    fill: meter((node) => (node.used === null ? figure(node.cpus) : `${figure(node.used)} of ${figure(node.cpus)}`), (node) => ratio(node.used, node.cpus)),
  },
  {
    key: "busy", label: "busy", right: true, most: true, title: "CPUs that really compute on the node's machine, whatever runs there",
    text: (node) => (node.up && node.busy !== null ? node.busy.toFixed(1) : ""),
  },
  { key: "memory", label: "memory", most: true, fill: meter((node) => of(node.memory, node.memory_total), (node) => ratio(node.memory, node.memory_total)) },
  { key: "store", label: "object store", most: true, fill: meter((node) => of(node.store, node.store_total), (node) => ratio(node.store, node.store_total)) },
  { key: "spilled", label: "on disk", right: true, most: true, title: "objects that did not fit into the store", text: (node) => (node.up && node.spilled ? bytes(node.spilled) : "") },
  { key: "lanes", label: "executors", right: true, most: true, text: (node) => (node.up ? String(node.lanes) : "") },
  { key: "actors", label: "actors", right: true, most: true, text: (node) => (node.up ? String(node.actors) : "") },
  { key: "others", label: "others", by: (node) => others(node), fill: wrapped },
];

function identity(td, node) {
  td.classList.add("nbray-mono", "nbray-title");
  set(td, "title", node.id);
  say(td, node.id.slice(0, 8));
}

function state(td, node) {
  const word = node.ended ? "ended" : node.up ? "up" : "down";
  td.classList.add("nbray-dot");
  for (const [kind, on] of [["nbray-good", word === "up"], ["nbray-bad", word === "down"], ["nbray-quiet", word === "ended"]]) td.classList.toggle(kind, on);
  say(td, word);
}

function others(node) {
  return node.up ? Object.entries(node.others).map(([name, [used, total]]) => `${name} ${figure(used)} of ${figure(total)}`).join(", ") : "";
}

function wrapped(td, node) {
  td.classList.add("nbray-wrap");
  say(td, others(node));
}

class Cluster extends View {
  build() {
    this.head = new Head("Cluster");
    this.tiles = {
      tasks: new Tile("tasks", "Tasks", new Spark("tasks that ended, a second each", ["nbray-done"], ([ended], when) => `${ended === null ? "" : counted(ended, "task")}, ${ago(when)}`)),
      cpus: new Tile("cpus", "CPUs in use", new Spark("CPUs in use and busy", ["nbray-leased", "nbray-computing"], ([used, busy], when) => `${figure(used ?? 0)} in use, ${figure(busy ?? 0)} busy, ${ago(when)}`)),
      memory: new Tile("memory", "Memory", new Spark("memory in use", ["nbray-leased"], ([used], when) => `${bytes(used ?? 0)}, ${ago(when)}`)),
      store: new Tile("store", "Object store", new Spark("object store in use", ["nbray-leased"], ([used], when) => `${bytes(used ?? 0)}, ${ago(when)}`)),
      actors: new Tile("actors", "Actors"),
    };
    this.grid = html("div", { class: "nbray-tiles" }, ...Object.values(this.tiles).map((tile) => tile.node));
    this.table = new Table("table of nodes", COLUMNS, ["id", false], (node) => (node.up ? "" : "nbray-is-down"));
    this.empty = html("p", { class: "nbray-empty" }, "No node is known yet.");
    this.root.append(this.head.node, this.grid, this.empty, this.table.node);
    this.stop = everySecond(() => this.soon());
  }

  draw(picture) {
    const { nodes = {}, tasks = {}, actors = {}, history = {}, about } = picture;
    const all = Object.values(nodes);
    const up = all.filter((node) => node.up);
    const down = all.length - up.length;
    const cpus = sum(up, "cpus");
    set(this.root, "data-nodes", up.length);
    set(this.root, "data-cpus", figure(cpus));
    this.root.classList.toggle("nbray-active", !about.over && tasks.running + tasks.waiting > 0);
    this.head.draw(picture, [
      ["up", counted(up.length, "node")],
      ["down", down ? `${down} down` : "", "nbray-bad"],
      ["cpus", `${figure(cpus)} CPU${cpus === 1 ? "" : "s"}`],
    ]);
    this.drawTiles(up, cpus, tasks, actors, history, Math.floor(now(picture)), about.over);
    this.empty.hidden = all.length > 0;
    this.table.node.hidden = !all.length;
    this.table.draw(about.over ? this.ended(nodes) : nodes, 0);
  }

  drawTiles(up, cpus, tasks, actors, history, end, over) {
    const [ended, leased, busy, memory, store] = columns(history, end, [
      { at: ENDED }, { at: LEASED, level: true }, { at: BUSY, level: true }, { at: MEMORY, level: true }, { at: STORE, level: true },
    ]);
    // The present second is not over: the one before it is the last that can be told.
    const rate = over ? 0 : (ended.at(-2) ?? 0);
    this.tiles.tasks.draw(over ? short(tasks.done ?? 0) : short(rate), over ? "done" : "per second", [
      ["running", tasks.running && !over ? `▸ ${short(tasks.running)} running` : "", "nbray-busy"],
      ["waiting", tasks.waiting && !over ? `○ ${short(tasks.waiting)} waiting` : "", "nbray-quiet"],
      ["done", tasks.done && !over ? `✓ ${short(tasks.done)} done` : "", "nbray-good"],
      ["failed", tasks.failed ? `✕ ${short(tasks.failed)} failed` : "", "nbray-bad"],
      ["cancelled", tasks.cancelled ? `⊘ ${short(tasks.cancelled)} cancelled` : "", "nbray-odd"],
      ["retried", tasks.retried ? `↻ ${short(tasks.retried)} retried` : "", "nbray-odd"],
    ]);
    this.tiles.tasks.spark.draw([ended]);
    const sampled = up.some((node) => node.used !== null);
    const computing = sum(machines(up), "busy");
    this.tiles.cpus.draw(sampled ? figure(sum(up, "used")) : "–", `of ${figure(cpus)}`, [["busy", sampled ? `${computing.toFixed(1)} busy` : ""]]);
    this.tiles.cpus.spark.draw([leased, busy], cpus);
    const room = sum(machines(up), "memory_total");
    this.tiles.memory.draw(sampled ? bytes(sum(machines(up), "memory")) : "–", room ? `of ${bytes(room)}` : "", []);
    this.tiles.memory.spark.draw([memory], room);
    const shelf = sum(up, "store_total");
    const spilled = sum(up, "spilled");
    this.tiles.store.draw(sampled ? bytes(sum(up, "store")) : "–", shelf ? `of ${bytes(shelf)}` : "", [["spilled", spilled ? `${bytes(spilled)} on disk` : "", "nbray-odd"]]);
    this.tiles.store.spark.draw([store], shelf);
    this.tiles.actors.draw(short(actors.alive ?? 0), over ? "at the end" : "alive", [
      ["pending", actors.pending ? `${short(actors.pending)} pending` : "", "nbray-quiet"],
      ["restarting", actors.restarting ? `${short(actors.restarting)} restarting` : "", "nbray-odd"],
      ["dead", actors.dead ? `${short(actors.dead)} dead` : "", "nbray-bad"],
    ]);
  }

  ended(nodes) {
    this.last ??= Object.fromEntries(Object.entries(nodes).map(([key, node]) => [key, { ...node, ended: node.up }]));
    return this.last;
  }

  removed() {
    this.stop();
  }
}

export default widget((store, el) => new Cluster(store, el, "cluster", "nbray cluster"));
