// A sweep: time, speed-up or efficiency over the values, a line for each number of workers, with the spread and the ideal.
import { html, set, svg } from "../shell/dom.js";
import { duration, figure, percent, scale, ticks } from "./scales.js";

export const COLOURS = 6;
const LOG_FROM = 12;
const [TOP, BOTTOM, RIGHT] = [18, 40, 14];

/** What can be drawn: `of(row)` gives the median, the lower and the upper end, and each run; `ideal` where none could be better. */
export const MEASURES = {
  time: {
    label: "time",
    said: duration,
    of: (row) => [row.median, row.low, row.high, row.samples],
    ideal: (entry) => entry.ideal,
  },
  speedup: {
    label: "speed-up",
    said: (value) => `${figure(value)}×`,
    of: (row, serial) => [serial / row.median, serial / row.high, serial / row.low, row.samples.map((value) => serial / value)],
    ideal: (entry) => (entry.ideal ? entry.workers : null),
    needsSerial: true,
  },
  efficiency: {
    label: "efficiency",
    said: percent,
    of: (row, serial) => MEASURES.speedup.of(row, serial).map((value) =>
      Array.isArray(value) ? value.map((one) => (one * row.ideal) / serial) : (value * row.ideal) / serial,
    ),
    ideal: (entry) => (entry.ideal ? 1 : null),
    needsSerial: true,
  },
};

export class Lines {
  /** `choose(key)`: a point was clicked. */
  constructor(parent, choose) {
    this.choose = choose;
    this.node = html("div", { class: "nbray-plot" });
    parent.append(this.node);
  }

  draw(state, measure, chosen) {
    const width = Math.max(240, Math.floor(this.node.clientWidth));
    const height = width < 520 ? 240 : 290;
    const { about, series } = state;
    const rows = Object.entries(state.rows);
    const of = ([, row]) => MEASURES[measure].of(row, about.serial);
    // Scaled by the page, should the width have been that of a moment (while a theme is exchanged, say).
    const drawing = svg("svg", { class: "nbray-chart", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${measure} over ${about.x.name}` });
    const focused = this.node.contains(document.activeElement) ? document.activeElement.dataset.row : undefined;
    const ends = rows.flatMap((row) => of(row).slice(1, 3));
    const ideals = Object.values(series).map(MEASURES[measure].ideal).filter(Boolean);
    const [least, most] = [Math.min(...ends), Math.max(...ends)];
    const log = measure === "time" && least > 0 && most / least >= LOG_FROM;
    const low = log ? Math.min(least, ...ideals) / 1.15 : 0;
    const high = log ? most * 1.15 : Math.max(most, ...(measure === "time" ? [] : ideals)) * 1.07;
    const left = 58;
    const y = scale(low, high, height - BOTTOM, TOP, log);
    const marks = about.x.ticks;
    const x = scale(marks[0][0], marks.at(-1)[0], left + 20, width - RIGHT - 20, about.x.scale === "log");
    for (const tick of ticks(low, high, log)) {
      drawing.append(
        svg("path", { class: "nbray-grid", d: `M${left} ${y(tick)}H${width - RIGHT}` }),
        svg("text", { class: "nbray-tick nbray-end", x: left - 7, y: y(tick) + 4 }, MEASURES[measure].said(tick)),
      );
    }
    drawing.append(svg("path", { class: "nbray-axis", d: `M${left} ${height - BOTTOM}H${width - RIGHT}` }));
    let free = 0;
    for (const [value, label] of marks) {
      const half = label.length * 3.4;
      if (x(value) - half < free) continue;
      drawing.append(svg("text", { class: "nbray-tick nbray-middle", x: x(value), y: height - BOTTOM + 16 }, label));
      free = x(value) + half + 6;
    }
    drawing.append(svg("text", { class: "nbray-middle", x: (left + width - RIGHT) / 2, y: height - 6 }, about.x.name));
    Object.entries(series).forEach(([key, entry], index) => {
      const ideal = MEASURES[measure].ideal(entry);
      const line = rows.filter(([, row]) => row.series === key).sort(([, a], [, b]) => a.x - b.x);
      // Points of several lines would lie on one another: each line stands a little aside.
      const aside = (row) => x(row.x) + (index - (Object.keys(series).length - 1) / 2) * 5;
      const group = svg("g", { class: `nbray-series nbray-c${index % COLOURS}${chosen === key ? " nbray-chosen" : ""}` });
      if (ideal && ideal >= low) {
        const text = `${entry.label}: ideal ${MEASURES[measure].said(ideal)}`;
        group.append(svg("path", { class: "nbray-ideal", d: `M${left} ${y(ideal)}H${width - RIGHT}` }, svg("title", {}, text)));
      }
      const points = line.map((row) => `${aside(row[1]).toFixed(1)} ${y(of(row)[0]).toFixed(1)}`);
      if (points.length > 1) group.append(svg("path", { class: "nbray-through", d: `M${points.join("L")}` }));
      for (const row of line) group.append(this.point(row, of(row), aside(row[1]), y, measure));
      drawing.append(group);
    });
    this.node.replaceChildren(drawing);
    if (focused) this.node.querySelector(`[data-row="${focused}"]`)?.focus();
  }

  point([key, row], [middle, low, high, samples], at, y, measure) {
    const said = MEASURES[measure].said;
    const spread = samples.length > 1 ? `, ${said(low)} to ${said(high)} in ${samples.length} runs` : "";
    const label = `${row.label}: ${said(middle)}${spread}${row.best ? ", the best" : ""}`;
    const node = svg(
      "g",
      { class: `nbray-point${row.best ? " nbray-best" : ""}`, tabindex: 0, role: "button", "aria-label": label, "data-row": key },
      svg("title", {}, label),
      svg("path", { class: "nbray-spread", d: `M${at - 4} ${y(low)}h8m-4 0V${y(high)}m-4 0h8` }),
      ...samples.map((value) => svg("circle", { class: "nbray-sample", cx: at, cy: y(value), r: 2 })),
      svg("circle", { class: "nbray-median", cx: at, cy: y(middle), r: 4 }),
      svg("circle", { class: "nbray-hit", cx: at, cy: y(middle), r: 12 }),
    );
    if (row.best) {
      node.append(svg("circle", { class: "nbray-ring", cx: at, cy: y(middle), r: 8.5 }));
      node.append(svg("text", { class: "nbray-name nbray-middle", x: at, y: y(middle) - 14 }, "best"));
    }
    node.addEventListener("click", () => this.choose(key));
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.choose(key);
    });
    return node;
  }
}

/** The lines' names; a press chooses whose CPUs' time is shown below. */
export class Legend {
  constructor(parent, choose) {
    this.choose = choose;
    this.node = html("div", { class: "nbray-legend", role: "group", "aria-label": "lines" });
    parent.append(this.node);
  }

  draw(series, chosen) {
    const keys = Object.keys(series);
    if (this.drawn !== keys.map((key) => series[key].label).join("\n")) {
      this.drawn = keys.map((key) => series[key].label).join("\n");
      this.node.replaceChildren(
        ...keys.map((key, index) => {
          const button = html("button", { type: "button", "data-line": key, class: `nbray-c${index % COLOURS}` });
          button.append(html("i", { class: "nbray-swatch" }), series[key].label);
          button.addEventListener("click", () => this.choose(key));
          return button;
        }),
        html("span", { class: "nbray-tick" }, "dotted: ideal, the serial run shared out"),
      );
    }
    this.node.lastChild.hidden = !Object.values(series).some((entry) => entry.ideal);
    for (const button of this.node.querySelectorAll("button")) set(button, "aria-pressed", button.dataset.line === chosen);
  }
}
