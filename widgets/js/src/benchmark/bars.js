// A comparison: a block a case, a bar a peer with its spread and each run, and how many times as fast nbray is.
import { html } from "../shell/dom.js";
import { COLOURS } from "./lines.js";
import { figure } from "./scales.js";

export function bars(state) {
  const peers = Object.keys(state.series);
  const byCase = Object.groupBy ? Object.groupBy(Object.values(state.rows), (row) => row.case) : grouped(Object.values(state.rows));
  return Object.entries(state.cases).map(([name, entry]) => {
    const rows = byCase[name] ?? [];
    const longest = Math.max(...rows.map((row) => row.high ?? 0), Number.MIN_VALUE);
    return html(
      "section",
      { class: "nbray-case", "data-case": name, "aria-label": entry.title },
      html("h4", {}, entry.title, html("span", { class: "nbray-tick" }, entry.lower ? " s, less is better" : ` ${entry.unit}`)),
      ...peers.map((peer) => bar(rows.find((row) => row.series === peer), peer, peers.indexOf(peer), longest)),
    );
  });
}

function grouped(rows) {
  const found = {};
  for (const row of rows) (found[row.case] ??= []).push(row);
  return found;
}

function bar(row, peer, index, longest) {
  const node = html("div", { class: `nbray-peer nbray-c${index % COLOURS}`, "data-peer": peer }, html("span", { class: "nbray-of" }, peer));
  const track = html("span", { class: "nbray-lane" });
  node.append(track);
  if (row?.median === undefined) {
    node.classList.add("nbray-none");
    track.append(html("span", { class: "nbray-tick", title: row?.note ?? "" }, row ? row.note || "–" : "…"));
    return node;
  }
  const at = (value) => `${(100 * value) / longest}%`;
  const fill = html("i", { class: "nbray-fill" });
  fill.style.width = at(row.median);
  const spread = html("i", { class: "nbray-whisker" });
  spread.style.left = at(row.low);
  spread.style.width = at(row.high - row.low);
  track.append(fill, spread);
  for (const value of row.samples) {
    const dot = html("i", { class: "nbray-sample" });
    dot.style.left = at(value);
    track.append(dot);
  }
  const spreadText = row.samples.length > 1 ? ` (${figure(row.low)}–${figure(row.high)})` : "";
  node.append(
    html("span", { class: "nbray-value" }, figure(row.median)),
    html("span", { class: "nbray-ratio" }, row.ratio === null ? "" : `nbray ${figure(row.ratio)}×`),
  );
  node.title = `${row.label}: ${figure(row.median)}${spreadText}, ${row.samples.length} run${row.samples.length > 1 ? "s" : ""}`;
  return node;
}
