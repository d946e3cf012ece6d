// A small curve of the last two minutes. Hovering tells the figures of a moment.
import { html, say, set, svg } from "./dom.js";

const LEAST = 20;
const MOST = 120;
const HEIGHT = 34;

export class Spark {
  /** `lines`: a class each, the first one is filled; `tell(values, ago)` words for a moment. */
  constructor(label, lines, tell) {
    this.tell = tell;
    this.area = svg("path", { class: "nbray-spark-area" });
    this.lines = lines.map((name) => svg("path", { class: `nbray-spark-line ${name}` }));
    this.rule = svg("line", { class: "nbray-spark-rule", y1: 0, y2: HEIGHT });
    this.picture = svg(
      "svg",
      { preserveAspectRatio: "none", "aria-hidden": "true" },
      this.area,
      ...this.lines,
      this.rule,
    );
    this.word = html("span", { class: "nbray-spark-word" });
    this.node = html("div", { class: "nbray-spark", role: "img", "aria-label": label }, this.picture, this.word);
    this.node.addEventListener("pointermove", (event) => {
      const { left, width } = this.node.getBoundingClientRect();
      this.point(Math.round(((event.clientX - left) / width) * (this.width - 1)));
    });
    this.node.addEventListener("pointerleave", () => this.point(null));
  }

  /** `series`: for each line as many values, oldest first, null where nothing is known; `most`: the upper end, if fixed. */
  draw(series, most) {
    this.series = series;
    this.width = series[0].length;
    set(this.picture, "viewBox", `0 0 ${this.width - 1} ${HEIGHT}`);
    const top = Math.max(most ?? 0, ...series.flat().filter((value) => value !== null)) || 1;
    series.forEach((values, i) => {
      const path = curve(values, top);
      set(this.lines[i], "d", path.line);
      if (i === 0) set(this.area, "d", path.area);
    });
    this.point(this.at ?? null);
  }

  point(at) {
    const known = at !== null && this.series?.some((values) => (values[at] ?? null) !== null);
    this.at = known ? at : null;
    this.node.classList.toggle("nbray-pointed", known);
    if (!known) return say(this.word, "");
    set(this.rule, "x1", at);
    set(this.rule, "x2", at);
    say(this.word, this.tell(this.series.map((values) => values[at] ?? null), this.width - 1 - at));
  }
}

function curve(values, top) {
  const y = (value) => (HEIGHT - 1.5 - (value / top) * (HEIGHT - 4)).toFixed(1);
  let line = "";
  let area = "";
  let start = null;
  values.forEach((value, x) => {
    if (value === null) return;
    line += `${start === null ? "M" : "L"}${x} ${y(value)}`;
    start ??= x;
    area = `${line}L${x} ${HEIGHT}L${start} ${HEIGHT}Z`;
  });
  return { line, area };
}

/** The last seconds of `history`, twenty at least and two minutes at most, column by column; a level that was not sampled is the last one that was. */
export function columns(history, end, kinds) {
  const last = kinds.map(() => null);
  const seconds = Object.keys(history).map(Number);
  const first = Math.min(...seconds, end + 1);
  const width = Math.min(Math.max(end - first + 1, LEAST), MOST);
  const series = kinds.map(() => []);
  for (let second = end - width + 1; second <= end; second += 1) {
    const bucket = history[second];
    kinds.forEach(({ at, level }, i) => {
      const value = bucket?.[at] ?? null;
      if (!level) series[i].push(second < first ? null : (value ?? 0));
      else series[i].push((last[i] = value ?? last[i]));
    });
  }
  return series;
}
