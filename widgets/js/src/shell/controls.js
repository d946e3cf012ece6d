// Things to press and to fill in. The notebook has keys of its own for what has the focus; these keep theirs to themselves.
import { html, say, set } from "./dom.js";

function apart(node) {
  node.addEventListener("keydown", (event) => event.stopPropagation());
  return node;
}

export function button(text, pressed, attributes = {}) {
  const node = apart(html("button", { type: "button", ...attributes }, text));
  node.addEventListener("click", pressed);
  return node;
}

/** A field that calls `changed(text)` at each key. */
export function field(label, changed) {
  const node = apart(html("input", { type: "search", class: "nbray-field", placeholder: label, "aria-label": label, spellcheck: "false" }));
  node.addEventListener("input", () => changed(node.value));
  return node;
}

/** A choice; `offer` keeps the options up to date without disturbing who is choosing. */
export class Choice {
  constructor(label, all, changed) {
    this.all = all;
    this.options = new Map();
    this.node = apart(html("select", { class: "nbray-field", "aria-label": label }));
    this.node.addEventListener("change", () => changed(this.node.value));
    this.offer([["", all]]);
  }

  offer(entries) {
    const wanted = new Map([["", this.all], ...entries]);
    for (const [value, text] of wanted) {
      let option = this.options.get(value);
      if (!option) {
        option = html("option", {});
        option.value = value;
        this.options.set(value, option);
        this.node.append(option);
      }
      say(option, text);
    }
    for (const [value, option] of this.options) {
      if (wanted.has(value)) continue;
      option.remove();
      this.options.delete(value);
    }
  }
}

/** A button that is on or off. */
export function toggle(text, on, changed) {
  const node = button(text, () => {
    const now = node.getAttribute("aria-pressed") !== "true";
    set(node, "aria-pressed", now);
    changed(now);
  });
  set(node, "aria-pressed", on);
  return node;
}
