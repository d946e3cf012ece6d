// A table that lives: a row an entry, sorted by a column, only changed where an entry changed.
import { button } from "./controls.js";
import { html, say, set } from "./dom.js";

/**
 * A column: { key, label, title?, text(entry, now), by?(entry), right?, live?, style?(entry), fill?(td, entry, now) }
 *   by: what it is sorted by, if not by `entry[key]`; most: the first click shows the largest first
 *   live: depends on the time; fill: makes the cell itself, in the place of `text`
 */
export class Table {
  /** `sorted`: [key, descending]; `name(entry)` is the row's class. */
  constructor(label, columns, sorted, name = () => "") {
    this.columns = columns;
    this.sorted = sorted;
    this.name = name;
    this.rows = new Map();
    this.filter = "";
    this.heads = columns.map((column) => {
      const head = html("th", { scope: "col", class: `nbray-of-${column.key}${column.right ? " nbray-right" : ""}` });
      head.append(button(column.label, () => this.sortBy(column), { title: column.title ?? `sort by ${column.label}` }));
      return head;
    });
    this.body = html("tbody", {});
    this.node = html(
      "div",
      { class: "nbray-scroll nbray-table", tabindex: "0", role: "group", "aria-label": label },
      html("table", {}, html("thead", {}, html("tr", {}, ...this.heads)), this.body),
    );
    this.mark();
  }

  sortBy(column) {
    const [key, descending] = this.sorted;
    this.sorted = key === column.key ? [key, !descending] : [column.key, Boolean(column.most)];
    this.mark();
    this.order();
  }

  mark() {
    const [key, descending] = this.sorted;
    this.columns.forEach((column, i) => {
      set(this.heads[i], "aria-sort", column.key !== key ? "none" : descending ? "descending" : "ascending");
    });
  }

  /** Shows rows that have all words of `text` somewhere. */
  only(text) {
    this.filter = text;
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.matches = (row) => words.every((word) => row.words.includes(word));
    for (const row of this.rows.values()) row.tr.hidden = !this.matches(row);
  }

  draw(entries, now) {
    let moved = false;
    for (const [key, row] of this.rows) {
      if (Object.hasOwn(entries, key)) continue;
      row.tr.remove();
      this.rows.delete(key);
    }
    for (const [key, entry] of Object.entries(entries)) {
      let row = this.rows.get(key);
      if (!row) {
        row = this.make(key);
        this.rows.set(key, row);
      }
      const changed = row.entry !== entry;
      if (changed) {
        row.entry = entry;
        set(row.tr, "class", this.name(entry));
        moved = true;
      }
      if (changed || row.now !== now) this.fill(row, changed, now);
    }
    if (moved) this.order();
    this.thin();
  }

  /** A column in which nothing stands takes no room. */
  thin() {
    this.columns.forEach((column, i) => {
      const rows = [...this.rows.values()];
      const hidden = rows.length > 0 && rows.every((row) => !row.cells[i].textContent);
      if (this.heads[i].hidden === hidden && rows.every((row) => row.cells[i].hidden === hidden)) return;
      this.heads[i].hidden = hidden;
      for (const row of rows) row.cells[i].hidden = hidden;
    });
  }

  make(key) {
    const cells = this.columns.map((column) =>
      html("td", { class: `nbray-of-${column.key}${column.right ? " nbray-right" : ""}`, "data-label": column.label }),
    );
    const tr = html("tr", { "data-key": key }, ...cells);
    return { key, tr, cells };
  }

  fill(row, changed, now) {
    row.now = now;
    this.columns.forEach((column, i) => {
      if (!changed && !column.live) return;
      const td = row.cells[i];
      if (column.fill) column.fill(td, row.entry, now);
      else say(td, column.text(row.entry, now));
      td.classList.toggle("nbray-none", !td.textContent);
    });
    if (changed) {
      row.words = row.cells.map((td) => td.textContent).join(" ").toLowerCase();
      if (this.filter) row.tr.hidden = !this.matches(row);
    }
  }

  order() {
    const [key, descending] = this.sorted;
    const column = this.columns.find((one) => one.key === key);
    const by = column.by ?? ((entry) => entry[key]);
    const sign = descending ? -1 : 1;
    const rows = [...this.rows.values()];
    for (const row of rows) row.by = by(row.entry);
    rows.sort((a, b) => sign * compare(a.by, b.by) || compare(a.entry.number ?? a.key, b.entry.number ?? b.key));
    let at = this.body.firstChild;
    for (const { tr } of rows) {
      if (tr === at) at = at.nextSibling;
      else this.body.insertBefore(tr, at);
    }
  }
}

function compare(a, b) {
  return typeof a === "string" && typeof b === "string" ? a.localeCompare(b) : a < b ? -1 : a > b ? 1 : 0;
}
