// All figures, sorted by a press on a column's head.
import { html, say, set } from "../shell/dom.js";

export class Table {
  constructor(parent) {
    this.sorted = null; // [column, 1 or -1]
    this.node = html("table", { class: "nbray-figures" });
    this.head = html("tr");
    this.body = html("tbody");
    this.node.append(html("thead", {}, this.head), this.body);
    parent.append(html("div", { class: "nbray-scroll", tabindex: "0", role: "region", "aria-label": "all figures" }, this.node));
  }

  draw(state, marked) {
    this.last = [state, marked];
    const columns = Object.values(state.columns);
    const names = columns.map((column) => column.name).join("\n");
    if (this.names !== names) {
      this.names = names;
      this.head.replaceChildren(
        ...columns.map((column, index) => {
          const button = html("button", { type: "button", title: "sort" }, column.name);
          button.addEventListener("click", () => {
            const [known, way] = this.sorted ?? [];
            this.sorted = known !== index ? [index, 1] : way === 1 ? [index, -1] : null;
            this.draw(...this.last);
          });
          return html("th", { scope: "col", class: column.text ? "" : "nbray-number" }, button);
        }),
      );
    }
    [...this.head.children].forEach((head, index) => {
      const way = this.sorted?.[0] === index ? this.sorted[1] : 0;
      set(head, "aria-sort", way ? (way > 0 ? "ascending" : "descending") : "none");
      say(head.firstChild, columns[index].name + (way ? (way > 0 ? " ▴" : " ▾") : ""));
    });
    const rows = sortedRows(Object.entries(state.rows), this.sorted);
    this.body.replaceChildren(
      ...rows.map(([key, row]) =>
        html(
          "tr",
          { "data-row": key, class: `${row.best ? "nbray-best" : ""}${key === marked ? " nbray-marked" : ""}` },
          ...row.cells.map(([text], index) => html("td", { class: columns[index].text ? "" : "nbray-number" }, text)),
        ),
      ),
    );
  }
}

/** `by`: column and 1 or -1; what has no value comes last either way. */
export function sortedRows(rows, by) {
  if (!by) return rows;
  const [column, way] = by;
  const value = ([, row]) => row.cells[column][1];
  return [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    const both = typeof x === "number" && typeof y === "number";
    return way * (both ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }));
  });
}
