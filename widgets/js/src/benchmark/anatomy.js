// Where the CPUs' time went: a bar a row, the same length for all, parted by what it went into.
import { html } from "../shell/dom.js";
import { percent } from "./scales.js";

/** `scaled`: bars as long as the rows took, instead of all the same. */
export function anatomy(rows, parts, marked, heading, scaled) {
  const known = rows.filter(([, row]) => row.shares);
  if (!known.length) return [];
  const longest = Math.max(...known.map(([, row]) => row.median));
  const used = parts.map((_, index) => known.some(([, row]) => row.shares[index] >= 0.005));
  return [
    html("h4", {}, heading),
    html(
      "div",
      { class: "nbray-anatomy", role: "list" },
      ...known.map(([key, row]) => {
        const said = parts.map((name, index) => [row.shares[index], name]).filter(([share]) => share >= 0.005);
        const label = `${row.label}: ${said.map(([share, name]) => `${percent(share)} ${name}`).join(", ")}`;
        const bar = html("span", { class: "nbray-parts" });
        if (scaled) bar.style.width = `${(100 * row.median) / longest}%`;
        row.shares.forEach((share, index) => {
          if (share < 0.001) return;
          const part = html("i", { class: `nbray-p${index}`, title: `${parts[index]}: ${percent(share)}` });
          part.style.flexGrow = share;
          bar.append(part);
        });
        const classes = `nbray-row${row.best ? " nbray-best" : ""}${key === marked ? " nbray-marked" : ""}`;
        return html(
          "div",
          { class: classes, role: "listitem", "aria-label": label },
          html("span", { class: "nbray-of" }, row.short),
          bar,
          html("span", { class: "nbray-busy" }, `${percent(row.shares[0])} busy`),
        );
      }),
    ),
    html(
      "div",
      { class: "nbray-legend nbray-keys" },
      ...parts.map((name, index) => used[index] && html("span", {}, html("i", { class: `nbray-swatch nbray-p${index}` }), name)).filter(Boolean),
    ),
  ];
}
