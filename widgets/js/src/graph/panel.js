// Single tasks of one group, asked from the kernel when somebody looks.
import { html, say, set } from "../shell/dom.js";
import { cut, seconds } from "../shell/words.js";

const TABS = ["latest", "running", "slowest", "failed", "actors"];
const COLUMNS = {
  actors: ["state", "actor", "name", "queue", "reason"],
  other: ["state", "task", "took", "waited", "at", "process", "needs", "error"],
};
const AGAIN = 1000;
const PATIENCE = 1500;

export class Panel {
  /** `ask(group)` requests the tasks of a group; the answer comes to `show`. `closed()` after the panel has gone; `go(group)` leads to another. */
  constructor(parent, ask, closed, go) {
    this.ask = ask;
    this.go = go;
    this.closed = closed;
    this.key = null;
    this.tab = "latest";
    this.node = html("section", { class: "nbray-panel", hidden: "", "aria-live": "off" });
    this.title = html("b", { class: "nbray-panel-title" });
    this.note = html("span", { class: "nbray-note", role: "status" });
    this.tabs = html("div", { class: "nbray-tabs", role: "tablist" });
    this.body = html("div", { class: "nbray-scroll", tabindex: "0", "aria-label": "tasks" });
    const close = html("button", { class: "nbray-close", type: "button", "aria-label": "close", title: "close (Esc)" }, "✕");
    close.addEventListener("click", () => this.close());
    this.node.append(html("div", { class: "nbray-panel-head" }, this.title, this.note, this.tabs, close), this.body);
    parent.addEventListener("keydown", (event) => {
      // The notebook has keys of its own for what is typed here.
      if (this.node.contains(event.target)) event.stopPropagation();
      if (event.key === "Escape" && this.key !== null) {
        event.stopPropagation();
        this.close();
      }
    });
    this.buttons = TABS.map((tab) => {
      const button = html("button", { type: "button", role: "tab", "data-tab": tab });
      button.addEventListener("click", () => {
        this.tab = tab;
        this.fill();
      });
      return button;
    });
    this.tabs.append(...this.buttons);
    parent.append(this.node);
  }

  /** `known`: what the kernel told of the group before, if anything. */
  open(key, group, known) {
    this.key = key;
    this.found = null;
    this.tab = group.failed ? "failed" : "latest";
    say(this.title, group.name);
    say(this.note, "");
    this.body.replaceChildren();
    this.node.hidden = false;
    if (known) this.show(key, known, false);
    this.request(group);
  }

  close() {
    const key = this.key;
    clearTimeout(this.timer);
    this.key = null;
    this.node.hidden = true;
    if (key !== null) this.closed(key);
  }

  /** Counts changed: ask again, but not more often than once in `AGAIN` ms. */
  refresh(group) {
    if (this.key === null || !group || this.waiting || this.seen === fingerprint(group)) return;
    if (performance.now() - this.asked > AGAIN) this.request(group);
    else {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.key !== null && this.request(group), AGAIN);
    }
  }

  request(group) {
    this.seen = fingerprint(group);
    this.asked = performance.now();
    this.waiting = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!this.found) say(this.note, "the kernel answers when the running cell is done");
    }, PATIENCE);
    this.ask(Number(this.key));
  }

  /** `asked`: this answers our request. A busy kernel sends answers unasked, and hears the request when it can. */
  show(group, found, asked) {
    if (String(group) !== this.key) return;
    if (asked) {
      clearTimeout(this.timer);
      this.waiting = false;
    }
    this.found = found;
    say(this.note, "");
    if (this.tab === "actors" && !found.actors.length) this.tab = "latest";
    this.fill();
  }

  cell(entry, column, longest) {
    if (column !== "needs") return cell(entry, column, longest);
    const needs = (entry.needs ?? []).map(({ object, group, name }) => {
      const label = [html("bdi", {}, cut(name, 18)), " ", html("code", {}, object.slice(-4))];
      if (group === null) return html("span", { class: "nbray-need", title: object }, ...label);
      const link = html("button", { type: "button", class: "nbray-need", title: `${name}\n${object}` }, ...label);
      link.addEventListener("click", () => this.go(String(group)));
      return link;
    });
    return html("td", { class: "nbray-needs" }, ...needs, entry.more ? `+${entry.more}` : "");
  }

  fill() {
    if (!this.found) return;
    const held = this.body.contains(document.activeElement) ? document.activeElement.title : null;
    for (const button of this.buttons) {
      const entries = this.found[button.dataset.tab];
      button.hidden = button.dataset.tab === "actors" && !entries.length;
      say(button, `${button.dataset.tab} ${entries.length || ""}`.trim());
      set(button, "aria-selected", button.dataset.tab === this.tab);
    }
    const entries = this.found[this.tab];
    if (!entries.length) {
      this.body.replaceChildren(html("p", { class: "nbray-empty" }, `No ${this.tab === "latest" ? "finished" : this.tab} tasks.`));
      return;
    }
    const columns = (this.tab === "actors" ? COLUMNS.actors : COLUMNS.other).filter(
      (column) => !["error", "reason", "name", "waited", "needs"].includes(column) || entries.some((entry) => filled(entry[column])),
    );
    const longest = Math.max(...entries.map((entry) => entry.duration ?? 0), 1e-9);
    this.body.replaceChildren(
      html(
        "table",
        { class: "nbray-tasks" },
        html("thead", {}, html("tr", {}, ...columns.map((column) => html("th", { scope: "col", class: `nbray-${column}` }, column)))),
        html("tbody", {}, ...entries.map((entry) => html("tr", { class: `nbray-${entry.state}` }, ...columns.map((column) => this.cell(entry, column, longest))))),
      ),
    );
    if (held) [...this.body.querySelectorAll("button")].find((button) => button.title === held)?.focus();
  }
}

function fingerprint(group) {
  return `${group.waiting},${group.running},${group.done},${group.failed},${group.cancelled},${group.retries}`;
}

function filled(value) {
  return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== null && value !== "";
}

function cell(entry, column, longest) {
  if (column === "took") {
    if (entry.duration === undefined) return html("td", {}, "…");
    const bar = html("i", { class: "nbray-time" });
    bar.style.width = `${Math.max(2, (60 * entry.duration) / longest)}px`;
    return html("td", { class: "nbray-number" }, bar, seconds(entry.duration));
  }
  if (column === "waited") return html("td", { class: "nbray-number nbray-waited" }, filled(entry.waited) ? seconds(entry.waited) : "");
  if (column === "at") {
    const began = entry.started ? new Date(entry.started * 1000) : null;
    return html("td", { class: "nbray-number nbray-at", title: began ? began.toISOString() : "" }, began ? clock(began) : "");
  }
  const text = entry[column] ?? "";
  if (column === "task" || column === "actor" || column === "process") {
    // Ids are long and differ at their ends.
    return html("td", { class: `nbray-${column}`, title: text }, html("code", {}, column === "task" ? text.slice(-6) : text.slice(0, 8)));
  }
  if (column === "state") return html("td", { class: "nbray-state" }, text);
  if (column === "queue") return html("td", { class: "nbray-number" }, String(text));
  return html("td", { class: column === "error" ? "nbray-error" : "", title: text }, cut(String(text), 160));
}

/** 14:03:27.120 */
function clock(date) {
  const two = (number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
