// The table of large objects.
import { field } from "./shell/controls.js";
import { html, say, set } from "./shell/dom.js";
import { everySecond, Head, now } from "./shell/head.js";
import { Table } from "./shell/table.js";
import { View, widget } from "./shell/view.js";
import { age, bytes, counted } from "./shell/words.js";

const PLACES = { memory: "in memory", disk: "on disk", lost: "lost" };
const KINDS = { memory: "", disk: "nbray-odd", lost: "nbray-bad" };

class Objects extends View {
  build() {
    this.table = new Table("table of large objects", this.columns(), ["size", true]);
    this.field = field("filter", (text) => this.table.only(text));
    this.head = new Head("Large objects", this.field);
    this.empty = html("p", { class: "nbray-empty" }, "None. Values of up to 100 KiB stay with their owners; larger ones are listed here.");
    this.foot = html("p", { class: "nbray-foot" });
    this.root.append(this.head.node, this.empty, this.table.node, this.foot);
    this.stop = everySecond(() => this.soon());
  }

  columns() {
    return [
      { key: "size", label: "size", right: true, most: true, fill: (td, object) => this.size(td, object) },
      { key: "made", label: "made", title: "what made it", text: (object) => object.made, fill: wrapped("made", "nbray-title") },
      { key: "place", label: "where", fill: place },
      { key: "nodes", label: "nodes", title: "the nodes that have it", by: (object) => object.nodes.join(), fill: nodes },
      { key: "owner", label: "owner", title: "the process that looks after it", text: (object) => object.owner },
      { key: "holders", label: "others who hold it", title: "processes with refs to it, beside its owner", by: (object) => object.holders.join(", "), fill: wrapped("holders") },
      { key: "time", label: "age", right: true, live: true, by: (object) => -object.time, text: (object, time) => age(time - object.time) },
      { key: "id", label: "id", by: () => 0, fill: identity },
    ];
  }

  size(td, object) {
    if (!td.firstChild) td.append(html("i", { class: "nbray-share" }), html("span", {}));
    td.firstChild.style.width = `${Math.max(2, (56 * object.size) / (this.largest || 1))}px`;
    say(td.lastChild, bytes(object.size));
  }

  draw(picture) {
    const { objects = {}, totals = {}, about } = picture;
    const entries = Object.entries(objects);
    const largest = Math.max(0, ...entries.map(([, object]) => object.size));
    if (largest !== this.largest) {
      this.largest = largest;
      for (const row of this.table.rows.values()) row.entry = undefined; // all bars are drawn to a new scale
    }
    // A row knows its key only by what it is filed under.
    for (const [key, object] of entries) object.id ??= key;
    this.head.draw(picture, [
      ["count", totals.count ? counted(totals.count, "object") : ""],
      ["memory", totals.memory ? `${bytes(totals.memory)} in memory` : ""],
      ["disk", totals.disk ? `${bytes(totals.disk)} on disk` : "", "nbray-odd"],
      ["lost", totals.lost ? `${bytes(totals.lost)} lost with their nodes` : "", "nbray-bad"],
    ]);
    this.empty.hidden = entries.length > 0;
    this.table.node.hidden = !entries.length;
    this.field.hidden = entries.length < 6;
    this.table.draw(objects, now(picture));
    this.foot.hidden = !about.hidden;
    say(this.foot, about.hidden ? `and ${counted(about.hidden, "smaller object")}` : "");
  }

  removed() {
    this.stop();
  }
}

function place(td, object) {
  td.classList.add("nbray-dot");
  for (const kind of ["nbray-odd", "nbray-bad"]) td.classList.toggle(kind, KINDS[object.place] === kind);
  say(td, PLACES[object.place] ?? object.place);
}

function nodes(td, object) {
  td.classList.add("nbray-mono");
  say(td, object.nodes.join(", "));
}

function wrapped(key, more) {
  return (td, object) => {
    td.classList.add("nbray-wrap");
    if (more) td.classList.add(more);
    say(td, Array.isArray(object[key]) ? object[key].join(", ") : object[key]);
  };
}

function identity(td, object) {
  td.classList.add("nbray-mono");
  set(td, "title", object.id);
  say(td, `${object.id.slice(0, 6)}…${object.id.slice(-8)}`);
}

export default widget((store, el) => new Objects(store, el, "objects", "nbray large objects"));
