// The task graph view.
import { STATES, SIGNS, totals } from "./graph/counts.js";
import { Panel } from "./graph/panel.js";
import { Picture } from "./graph/picture.js";
import { SHOWN, visible } from "./graph/visible.js";
import { html, say, set } from "./shell/dom.js";
import { View, widget } from "./shell/view.js";
import { grouped, seconds } from "./shell/words.js";

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
      html("b", {}, "Task graph"), this.live, ...Object.values(this.totals).map(({ node }) => node), this.elapsed, this.note, this.tools(),
    );
    this.canvas = html("div", { class: "nbray-canvas" });
    this.empty = html("p", { class: "nbray-empty" }, "No tasks yet. Call a remote function and watch it here.");
    this.root.append(head, this.empty, this.canvas);
    this.nothing = html("p", { class: "nbray-empty", hidden: "" }, "Nothing here has such a name or state.");
    this.canvas.before(this.nothing);
    this.picture = new Picture(this.canvas, (key) => this.choose(key), (actor) => this.fold(actor));
    this.panel = new Panel(
      this.root,
      (group) => this.ask({ op: "tasks", group }),
      (key) => {
        this.picture.mark(null);
        this.picture.focus(key);
      },
      (key) => this.goto(key),
    );
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.target === this.search) return;
      event.preventDefault();
      event.stopPropagation();
      this.search.focus();
    });
  }

  tools() {
    this.options = { query: "", show: "all", folded: new Set() };
    const changed = () => this.draw(this.store.state);
    this.search = html("input", { type: "search", placeholder: "find", "aria-label": "find functions and actors by name", title: "find by name (/)" });
    this.search.addEventListener("input", () => {
      this.options.query = this.search.value.trim();
      changed();
    });
    this.search.addEventListener("keydown", (event) => {
      event.stopPropagation(); // these keys are text, and no commands of the notebook
      if (event.key === "Enter") this.picture.focus();
      if (event.key === "Escape") {
        this.search.value = this.options.query = "";
        changed();
        this.picture.focus();
      }
    });
    this.show = html("select", { "aria-label": "which groups to show" }, ...Object.keys(SHOWN).map((name) => html("option", { value: name }, name)));
    this.show.addEventListener("change", () => {
      this.options.show = this.show.value;
      changed();
    });
    const button = (label, title, run) => {
      const node = html("button", { type: "button", title, "aria-label": title }, label);
      node.addEventListener("click", run);
      return node;
    };
    this.tool = html(
      "div", { class: "nbray-tools", role: "toolbar", "aria-label": "task graph" }, this.search, this.show,
      button("−", "zoom out (-)", () => this.picture.viewport.by(1 / 1.3)),
      button("+", "zoom in (+)", () => this.picture.viewport.by(1.3)),
      button("fit", "show all at once; again: at a readable size (0)", () => (this.picture.viewport.auto ? this.picture.viewport.fit() : this.picture.viewport.reset())),
    );
    return this.tool;
  }

  fold(actor) {
    const { folded } = this.options;
    if (!folded.delete(actor)) folded.add(actor);
    this.draw(this.store.state);
    [...this.picture.nodes].find(([node]) => node === `a${actor}`)?.[1].head.focus({ preventScroll: true });
  }

  /** To another group's tasks, wherever it is. */
  goto(key) {
    const group = this.store.state.groups[key];
    if (!group) return;
    if (!this.picture.groups.has(key)) {
      this.options.folded.delete(group.actor);
      this.options.query = this.search.value = "";
      this.options.show = this.show.value = "all";
      this.draw(this.store.state);
    }
    this.panel.open(key, group, this.tasks[key]);
    this.picture.mark(key);
    this.picture.focus(key);
  }

  heard(message) {
    if (message.op !== "tasks") return;
    this.tasks[message.group] = message.tasks;
    this.panel.show(message.group, message.tasks, !message.unasked);
  }

  choose(key) {
    if (key[0] === "f") return this.fold(key.slice(1));
    if (this.panel.key === key) return this.panel.close();
    this.panel.open(key, this.store.state.groups[key], this.tasks[key]);
    this.picture.mark(key);
  }

  draw(state) {
    const { groups = {}, actors = {}, about } = state;
    const sums = totals(state);
    const active = !about.over && sums.running + sums.waiting > 0;
    const any = Object.keys(groups).length + Object.keys(actors).length > 0;
    this.root.classList.toggle("nbray-active", active);
    say(this.live, !any ? "" : active ? "live" : about.over ? "ended" : "idle");
    for (const name of STATES) {
      this.totals[name].node.hidden = !sums[name] && (name === "failed" || name === "cancelled");
      say(this.totals[name].number, ` ${grouped(sums[name])}`);
    }
    const took = about.last - about.first;
    say(this.elapsed, took > 0 ? seconds(took) : "");
    set(this.elapsed, "title", "from the first submission to the last end");
    const skipped = about.skipped ?? 0;
    say(this.note, skipped ? `${grouped(skipped)} older events not seen` : "");
    this.empty.hidden = any;
    this.tool.hidden = !any;
    const shown = any ? visible({ groups, actors, edges: state.edges ?? {} }, this.options) : { groups: {}, actors: {} };
    const some = Object.keys(shown.groups).length + Object.keys(shown.actors).length > 0;
    this.nothing.hidden = !any || some;
    this.canvas.hidden = !some;
    if (some && !this.picture.draw(shown, this.options)) this.later();
    this.panel.refresh(groups[this.panel.key]);
  }

  /** The picture waits with a new layout; it must come even if nothing else happens. */
  later() {
    clearTimeout(this.again);
    this.again = setTimeout(() => this.soon(), Math.max(this.picture.next - performance.now(), 0) + 5);
  }

  removed() {
    clearTimeout(this.again);
    clearTimeout(this.panel.timer);
  }
}

export default widget((store, el) => new TaskGraph(store, el, "graph", "nbray task graph"));
