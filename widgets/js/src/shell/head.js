// The line above a table: what it is, whether it lives, what there is.
import { html, say } from "./dom.js";

export class Head {
  constructor(title, ...tools) {
    this.live = html("span", { class: "nbray-live", role: "status" });
    this.facts = html("span", { class: "nbray-facts" });
    this.note = html("span", { class: "nbray-note" });
    this.tools = html("span", { class: "nbray-tools" }, ...tools);
    this.node = html("div", { class: "nbray-head" }, html("b", {}, title), this.live, this.facts, this.note, this.tools);
    this.parts = new Map();
  }

  /** `facts`: [name, text] or [name, text, class]; one without text is not shown, nor is what an earlier call named and this one does not. */
  draw(state, facts, note = "") {
    say(this.live, state.about.over ? "ended" : "live");
    for (const part of this.parts.values()) part.hidden = true;
    for (const [name, text, kind = ""] of facts) {
      let part = this.parts.get(name);
      if (!part) {
        part = html("span", {});
        this.parts.set(name, part);
        this.facts.append(part);
      }
      part.className = `nbray-total ${kind}`;
      part.hidden = !text;
      say(part, text);
    }
    const skipped = state.about.skipped;
    say(this.note, note || (skipped ? `${skipped.toLocaleString("en")} older events not seen` : ""));
  }
}

/** Seconds since the epoch: the browser's while the view lives, then those of the last event. */
export function now(state) {
  return state.about.over ? state.about.last : Math.floor(Date.now() / 1000);
}

/** Calls `tick` once a second until the returned function is called. */
export function everySecond(tick) {
  const timer = setInterval(() => document.hidden || tick(), 1000);
  return () => clearInterval(timer);
}
