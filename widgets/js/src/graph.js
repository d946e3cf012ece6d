// The task graph view (anywidget). One store a model, shared by all its views.
import { html, say, set } from "./dom.js";
import { Panel } from "./panel.js";
import { Picture } from "./picture.js";
import { apply, seconds, SIGNS, STATES, totals } from "./state.js";

const HERE_EVERY = 15_000;

class Store {
  constructor(model) {
    this.model = model;
    this.state = { groups: {}, actors: {}, edges: {}, about: {}, ...structuredClone(model.get("picture")) };
    this.tasks = {};
    this.views = new Set();
    model.on("msg:custom", (message) => this.heard(message));
    this.keep();
  }

  /** The model holds our very object, so a saved notebook has the last state without a copy on each update. */
  keep() {
    this.model.set("picture", this.state);
  }

  heard(message) {
    const revision = this.state.about.revision ?? -1;
    if (message.op === "whole") {
      if (message.revision < revision) return;
      this.state = message.state;
      this.keep();
    } else if (message.op === "change") {
      if (message.revision !== revision + 1) {
        // One was missed. A busy kernel hears this late, and sends the whole state by itself meanwhile.
        if (message.revision > revision && this.asked !== revision) this.model.send({ op: "whole" });
        this.asked = revision;
        return;
      }
      apply(this.state, message.change);
    } else if (message.op === "tasks") {
      this.tasks[message.group] = message.tasks;
      for (const view of this.views) view.panel.show(message.group, message.tasks, !message.unasked);
      return;
    }
    for (const view of this.views) view.soon();
  }
}

class View {
  constructor(store, el) {
    this.store = store;
    this.id = crypto.randomUUID?.() ?? String(Math.random());
    this.root = html("div", { class: "nbray-view nbray-graph", role: "region", "aria-label": "nbray task graph" });
    this.head = html("div", { class: "nbray-head" });
    this.live = html("span", { class: "nbray-live", role: "status" });
    this.totals = Object.fromEntries(
      STATES.map((state) => {
        const number = html("span", { class: "nbray-number" });
        const sign = html("i", { "aria-hidden": "true" }, SIGNS[state]);
        return [state, { number, node: html("span", { class: `nbray-total nbray-${state}` }, sign, number, ` ${state}`) }];
      }),
    );
    this.elapsed = html("span", { class: "nbray-elapsed" });
    this.note = html("span", { class: "nbray-note" });
    this.head.append(
      html("b", {}, "Task graph"), this.live, ...Object.values(this.totals).map(({ node }) => node), this.elapsed, this.note,
    );
    this.canvas = html("div", { class: "nbray-canvas" });
    this.empty = html("p", { class: "nbray-empty" }, "No tasks yet. Call a remote function and watch it here.");
    this.root.append(this.head, this.empty, this.canvas);
    this.picture = new Picture(this.canvas, (key) => this.choose(key));
    this.panel = new Panel(
      this.root,
      (group) => store.model.send({ op: "tasks", group }),
      (key) => {
        this.picture.mark(null);
        this.picture.focus(key);
      },
    );
    el.append(this.root);
    store.views.add(this);

    this.resized = new ResizeObserver(() => this.soon());
    this.resized.observe(this.canvas);
    this.shown = () => this.tell(document.hidden ? "close" : "open");
    document.addEventListener("visibilitychange", this.shown);
    this.here = setInterval(() => document.hidden || this.tell("here"), HERE_EVERY);
    this.shown();
    this.draw();
  }

  tell(op) {
    this.store.model.send({ op, view: this.id });
  }

  soon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  choose(key) {
    if (this.panel.key === key) return this.panel.close();
    this.panel.open(key, this.store.state.groups[key], this.store.tasks[key]);
    this.picture.mark(key);
  }

  draw() {
    const { state } = this.store;
    const sums = totals(state);
    const active = sums.running + sums.waiting > 0;
    const any = Object.keys(state.groups).length + Object.keys(state.actors).length > 0;
    this.root.classList.toggle("nbray-active", active);
    say(this.live, !any ? "" : active ? "live" : state.about.over ? "ended" : "idle");
    for (const name of STATES) {
      this.totals[name].node.hidden = !sums[name] && (name === "failed" || name === "cancelled");
      say(this.totals[name].number, ` ${sums[name].toLocaleString("en")}`);
    }
    const took = state.about.last - state.about.first;
    say(this.elapsed, took > 0 ? seconds(took) : "");
    set(this.elapsed, "title", "from the first submission to the last end");
    const skipped = state.about.skipped ?? 0;
    say(this.note, skipped ? `${skipped.toLocaleString("en")} older events not seen` : "");
    this.empty.hidden = any;
    this.canvas.hidden = !any;
    if (any) this.picture.draw(state);
    this.panel.refresh(state.groups[this.panel.key]);
  }

  remove() {
    this.store.views.delete(this);
    this.resized.disconnect();
    document.removeEventListener("visibilitychange", this.shown);
    clearInterval(this.here);
    clearTimeout(this.panel.timer);
    if (this.frame !== undefined) cancelAnimationFrame(this.frame);
    this.tell("close");
  }
}

export default () => {
  let store;
  return {
    initialize({ model }) {
      store = new Store(model);
    },
    render({ el }) {
      const view = new View(store, el);
      return () => view.remove();
    },
  };
};
