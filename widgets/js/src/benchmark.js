// The benchmark view: comparisons with peers, sweeps, timings.
import { anatomy } from "./benchmark/anatomy.js";
import { bars } from "./benchmark/bars.js";
import { FORMATS, save } from "./benchmark/exports.js";
import { Legend, Lines, MEASURES } from "./benchmark/lines.js";
import { Table } from "./benchmark/table.js";
import { html, say, set } from "./shell/dom.js";
import { View, widget } from "./shell/view.js";

const WENT = "Where the CPUs' time went";
const STATUS = { running: "measuring", done: "", waiting: "", interrupted: "interrupted", failed: "failed" };

class Benchmark extends View {
  build() {
    this.measure = "time";
    this.heading = html("b");
    this.live = html("span", { class: "nbray-live", role: "status" });
    this.now = html("span", { class: "nbray-note nbray-now" });
    this.count = html("span", { class: "nbray-elapsed" });
    this.progress = html("div", { class: "nbray-progress", role: "progressbar", "aria-label": "measurements" }, html("i"));
    this.said = html("div", { class: "nbray-said" });
    this.chart = html("div", { class: "nbray-drawing" });
    this.details = html("div", { class: "nbray-details" });
    this.figures = html("details", { class: "nbray-panel", open: "" }, html("summary", {}, "all figures"));
    this.exports = html("div", { class: "nbray-tabs", role: "group", "aria-label": "save the figures" });
    this.exports.append(
      html("span", { class: "nbray-tick" }, "save as"),
      ...Object.keys(FORMATS).map((name) => {
        const button = html("button", { type: "button" }, name);
        button.addEventListener("click", () => save(this.store.state, name));
        return button;
      }),
    );
    this.measures = html("div", { class: "nbray-tabs nbray-measures", role: "tablist", "aria-label": "what is drawn" });
    for (const [name, { label }] of Object.entries(MEASURES)) {
      const tab = html("button", { type: "button", role: "tab", "data-measure": name }, label);
      tab.addEventListener("click", () => {
        this.measure = name;
        this.draw(this.store.state);
      });
      this.measures.append(tab);
    }
    this.note = html("p", { class: "nbray-foot" });
    this.empty = html("p", { class: "nbray-empty" }, "Nothing measured yet.");
    this.root.append(
      html("div", { class: "nbray-head" }, this.heading, this.live, this.now, this.count),
      this.progress, this.empty, this.said, this.measures, this.chart, this.details, this.figures, this.note, this.exports,
    );
    this.table = new Table(this.figures);
    // The notebook has keys of its own for what is typed here.
    this.root.addEventListener("keydown", (event) => event.target !== this.root && event.stopPropagation());
  }

  draw(state) {
    const { about, rows = {}, said = {} } = state;
    const any = Object.keys(rows).length > 0;
    const running = about.status === "running";
    this.root.classList.toggle("nbray-active", running);
    for (const name of ["cases", "done", "total", "status", "kind"]) set(this.root, `data-${name}`, about[name] ?? 0);
    say(this.heading, about.heading ?? "Benchmark");
    say(this.live, STATUS[about.status] ?? "");
    say(this.now, running ? (about.now ?? "") : "");
    say(this.count, running && about.total ? `${about.done} of ${about.total}` : "");
    this.progress.hidden = !running;
    set(this.progress, "aria-valuemax", about.total || 1);
    set(this.progress, "aria-valuenow", about.done ?? 0);
    this.progress.firstChild.style.width = `${(100 * (about.done ?? 0)) / (about.total || 1)}%`;
    this.empty.hidden = any || about.status === "running";
    this.figures.hidden = this.exports.hidden = !any;
    say(this.note, about.note ?? "");
    this.note.hidden = !about.note;
    this.sentences(Object.values(said));
    this.measures.hidden = about.kind !== "sweep" || !any;
    // Until the picture has a place on the page there is no width to draw for.
    if (!any || !this.root.clientWidth) return;
    if (about.kind === "sweep") this.sweep(state);
    else if (about.kind === "bench") this.chart.replaceChildren(...bars(state));
    else this.details.replaceChildren(...anatomy(Object.entries(rows), about.parts, null, WENT, true));
    this.table.draw(state, this.marked);
  }

  sentences(list) {
    if (this.told === list.join("\n")) return;
    this.told = list.join("\n");
    const [first, ...rest] = list;
    this.said.replaceChildren();
    if (first) this.said.append(html("p", {}, first));
    if (rest.length) this.said.append(html("ul", {}, ...rest.map((sentence) => html("li", {}, sentence))));
  }

  sweep(state) {
    const { about, rows, series } = state;
    if (!this.lines) {
      this.lines = new Lines(this.chart, (key) => {
        this.marked = this.marked === key ? null : key;
        this.line = this.store.state.rows[key].series;
        this.draw(this.store.state);
      });
      this.legend = new Legend(this.chart, (key) => {
        this.line = key;
        this.draw(this.store.state);
      });
    }
    for (const tab of this.measures.children) {
      tab.hidden = MEASURES[tab.dataset.measure].needsSerial && !about.serial;
      set(tab, "aria-selected", tab.dataset.measure === this.measure);
    }
    const entries = Object.entries(rows);
    const chosen = this.line ?? entries.find(([, row]) => row.best)?.[1].series;
    this.lines.draw(state, MEASURES[this.measure].needsSerial && !about.serial ? "time" : this.measure, chosen);
    this.legend.draw(series, chosen);
    const several = Object.keys(series).length > 1 && chosen !== undefined;
    const line = entries.filter(([, row]) => row.series === chosen).sort(([, a], [, b]) => a.x - b.x);
    this.details.replaceChildren(...anatomy(line, about.parts, this.marked, several ? `${WENT}: ${series[chosen].label}` : WENT));
  }
}

export default widget((store, el) => new Benchmark(store, el, "bench", "nbray benchmark"));
