// The functions with their colours. A click leaves one out, or, with Shift or Alt, all others.
import { html, say, set } from "../shell/dom.js";
import { colourOf } from "../shell/theme.js";
import { counted, seconds, short } from "../shell/words.js";

const FIRST = 10;

export class Legend {
  /** `changed()` after a click; `hidden` then holds the numbers of the functions that are left out. */
  constructor(changed) {
    this.changed = changed;
    this.hidden = new Set();
    this.chips = new Map();
    this.all = false;
    this.node = html("div", { class: "nbray-functions", role: "group", "aria-label": "functions; press to leave one out" });
    this.more = html("button", { type: "button", class: "nbray-more" });
    this.more.addEventListener("click", () => {
      this.all = !this.all;
      this.draw(this.functions);
    });
    this.node.append(this.more);
  }

  draw(functions) {
    this.functions = functions;
    const keys = Object.keys(functions).map(Number);
    // The busiest first, but places change only when a function is new: chips must not jump under the pointer.
    if (keys.length !== this.order?.length) {
      this.order = keys.sort((a, b) => functions[b].seconds - functions[a].seconds || a - b);
      for (const key of this.order) {
        if (!this.chips.has(key)) this.chips.set(key, this.chip(key, functions[key]));
        this.node.insertBefore(this.chips.get(key).node, this.more);
      }
    }
    this.order.forEach((key, place) => {
      const { node, count } = this.chips.get(key);
      const { name, spans, failed, seconds: took } = functions[key];
      node.hidden = !this.all && place >= FIRST;
      say(count, short(spans) + (failed ? ` · ✕ ${short(failed)}` : ""));
      set(node, "aria-pressed", !this.hidden.has(key));
      const each = spans ? `, ${seconds(took / spans)} each, ${seconds(took)} together` : "";
      set(node, "title", `${name}: ${counted(spans, "span")}${failed ? `, ${failed} failed` : ""}${each}\nclick: leave out, Shift+click: only this`);
    });
    this.more.hidden = keys.length <= FIRST;
    say(this.more, this.all ? "fewer" : `${keys.length - FIRST} more`);
  }

  chip(key, { name, kind }) {
    const swatch = html("i", { class: "nbray-swatch" });
    swatch.style.background = kind === "copy" ? "#8a8f98" : colourOf(key);
    const count = html("span", { class: "nbray-number" });
    const label = html("bdi", { class: "nbray-chip-name" });
    say(label, name);
    const node = html("button", { type: "button", class: "nbray-chip", "data-name": name }, swatch, label, count);
    node.addEventListener("click", (event) => {
      if (event.shiftKey || event.altKey) {
        const alone = !this.hidden.has(key) && this.hidden.size === this.order.length - 1;
        this.hidden = new Set(alone ? [] : this.order.filter((other) => other !== key));
      } else if (!this.hidden.delete(key)) this.hidden.add(key);
      this.draw(this.functions);
      this.changed();
    });
    return { node, count };
  }
}
