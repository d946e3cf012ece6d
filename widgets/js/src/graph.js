// The task graph view.
import { STATES, SIGNS, totals } from "./graph/counts.js";
import { Panel } from "./graph/panel.js";
import { Picture } from "./graph/picture.js";
import { html, say, set } from "./shell/dom.js";
import { View, widget } from "./shell/view.js";
import { seconds } from "./shell/words.js";

class TaskGraph extends View {
  build() {
    this.tasks = {};
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
    const head = html("div", { class: "nbray-head" });
    head.append(
      html("b", {}, "Task graph"), this.live, ...Object.values(this.totals).map(({ node }) => node), this.elapsed, this.note,
    );
    this.canvas = html("div", { class: "nbray-canvas" });
    this.empty = html("p", { class: "nbray-empty" }, "No tasks yet. Call a remote function and watch it here.");
    this.root.append(head, this.empty, this.canvas);
    this.picture = new Picture(this.canvas, (key) => this.choose(key));
    this.panel = new Panel(
      this.root,
      (group) => this.ask({ op: "tasks", group }),
      (key) => {
        this.picture.mark(null);
        this.picture.focus(key);
      },
    );
  }

  heard(message) {
    if (message.op !== "tasks") return;
    this.tasks[message.group] = message.tasks;
    this.panel.show(message.group, message.tasks, !message.unasked);
  }

  choose(key) {
    if (this.panel.key === key) return this.panel.close();
    this.panel.open(key, this.store.state.groups[key], this.tasks[key]);
    this.picture.mark(key);
  }

  draw(state) {
    const { groups = {}, actors = {}, about } = state;
    const sums = totals(state);
    const active = sums.running + sums.waiting > 0;
    const any = Object.keys(groups).length + Object.keys(actors).length > 0;
    this.root.classList.toggle("nbray-active", active);
    say(this.live, !any ? "" : active ? "live" : about.over ? "ended" : "idle");
    for (const name of STATES) {
      this.totals[name].node.hidden = !sums[name] && (name === "failed" || name === "cancelled");
      say(this.totals[name].number, ` ${sums[name].toLocaleString("en")}`);
    }
    const took = about.last - about.first;
    say(this.elapsed, took > 0 ? seconds(took) : "");
    set(this.elapsed, "title", "from the first submission to the last end");
    const skipped = about.skipped ?? 0;
    say(this.note, skipped ? `${skipped.toLocaleString("en")} older events not seen` : "");
    this.empty.hidden = any;
    this.canvas.hidden = !any;
    if (any) this.picture.draw(state);
    this.panel.refresh(groups[this.panel.key]);
  }

  removed() {
    clearTimeout(this.panel.timer);
  }
}

export default widget((store, el) => new TaskGraph(store, el, "graph", "nbray task graph"));
