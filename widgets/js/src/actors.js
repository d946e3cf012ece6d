// The table of actors.
import { field } from "./shell/controls.js";
import { html, say } from "./shell/dom.js";
import { everySecond, Head, now } from "./shell/head.js";
import { Table } from "./shell/table.js";
import { View, widget } from "./shell/view.js";
import { age, counted, seconds, short } from "./shell/words.js";

const ORDER = ["restarting", "pending", "alive", "dead", "ended"];
const KINDS = { alive: "nbray-good", pending: "nbray-quiet", restarting: "nbray-odd", dead: "nbray-bad", ended: "nbray-quiet" };
const count = (key, label, title) => ({
  key, label, title, right: true, most: true, text: (actor) => (actor[key] ? short(actor[key]) : key === "restarts" || key === "failed" ? "" : "0"),
});

const COLUMNS = [
  { key: "class", label: "class", text: (actor) => actor.class, fill: title },
  { key: "name", label: "name", text: (actor) => actor.name },
  { key: "state", label: "state", by: (actor) => ORDER.indexOf(actor.state), fill: state },
  { key: "method", label: "runs", title: "the method that runs now, and for how long", live: true, text: doing },
  count("queue", "queue", "calls that wait or run"),
  count("done", "done", "calls that have ended well"),
  count("failed", "failed", "calls that raised"),
  count("restarts", "restarts", "how often it came up again"),
  { key: "pid", label: "pid", right: true, text: (actor) => (actor.pid ? String(actor.pid) : "") },
  { key: "node", label: "node", text: (actor) => actor.node, fill: mono },
  { key: "time", label: "age", right: true, live: true, by: (actor) => -actor.time, text: (actor, time) => (actor.state === "dead" ? age(actor.died - actor.time) : age(time - actor.time)), title: "since it was created; of the dead, how old they became" },
  { key: "reason", label: "why", title: "why it restarted or died", fill: reason },
];

function title(td, actor) {
  td.classList.add("nbray-title");
  say(td, actor.class || "?");
}

function state(td, actor) {
  td.classList.add("nbray-dot");
  for (const kind of Object.values(KINDS)) td.classList.toggle(kind, KINDS[actor.state] === kind);
  say(td, actor.state);
}

function doing(actor, time) {
  if (!actor.method) return "";
  const more = actor.running > 1 ? ` +${short(actor.running - 1)}` : "";
  const took = time - actor.since;
  return `${actor.method}${took >= 1 ? ` ${took < 60 ? seconds(took) : age(took)}` : ""}${more}`;
}

function mono(td, actor) {
  td.classList.add("nbray-mono");
  say(td, actor.node);
}

function reason(td, actor) {
  td.classList.add("nbray-wrap");
  td.classList.toggle("nbray-bad", actor.state === "dead" && !/no handle to it was left|exited on purpose/.test(actor.reason));
  say(td, actor.reason);
}

class Actors extends View {
  build() {
    this.table = new Table("table of actors", COLUMNS, ["state", false], (actor) => `nbray-is-${actor.state}`);
    this.field = field("filter", (text) => this.table.only(text));
    this.head = new Head("Actors", this.field);
    this.empty = html("p", { class: "nbray-empty" }, "No actors yet. Create one: Class.remote().");
    this.foot = html("p", { class: "nbray-foot" });
    this.root.append(this.head.node, this.empty, this.table.node, this.foot);
    this.stop = everySecond(() => this.soon());
  }

  draw(picture) {
    const { actors = {}, totals = {}, about } = picture;
    const any = Object.keys(actors).length > 0;
    // Nobody tells of an actor's end once its pool has ended.
    const entries = about.over ? this.ended(actors) : actors;
    this.root.classList.toggle("nbray-active", !about.over && totals.queue > 0);
    const kinds = about.over
      ? [["all", any ? `${counted(Object.keys(actors).length + (about.hidden ?? 0), "actor")}, all ended` : ""]]
      : ["alive", "pending", "restarting", "dead"].map((name) => [name, totals[name] ? `${short(totals[name])} ${name}` : "", KINDS[name]]);
    this.head.draw(picture, [...kinds, ["queue", totals.queue && !about.over ? totals.queue === 1 ? "1 call waits or runs" : `${short(totals.queue)} calls wait or run` : ""]]);
    this.empty.hidden = any;
    this.table.node.hidden = !any;
    this.field.hidden = Object.keys(actors).length < 6;
    this.table.draw(entries, now(picture));
    this.foot.hidden = !about.hidden;
    say(this.foot, about.hidden ? `and ${counted(about.hidden, "actor")} more: the longest queues are shown, and the last that have died` : "");
  }

  ended(actors) {
    this.last ??= Object.fromEntries(
      Object.entries(actors).map(([key, actor]) => [
        key,
        actor.state === "dead" ? actor : { ...actor, state: "ended", method: "", queue: 0, reason: "" },
      ]),
    );
    return this.last;
  }

  removed() {
    this.stop();
  }
}

export default widget((store, el) => new Actors(store, el, "actors", "nbray actors"));
