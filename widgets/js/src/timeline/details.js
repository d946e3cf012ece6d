// What is known of the span that was clicked. The rest comes from the kernel, when it can hear.
import { html, say } from "../shell/dom.js";
import { bytes, seconds } from "../shell/words.js";
import { laneName } from "./lanes.js";
import { bad, STATES } from "./spans.js";

export class Details {
  constructor(closed) {
    this.spoken = html("span", { class: "nbray-spoken", role: "status" });
    this.name = html("bdi", { class: "nbray-panel-title" });
    this.state = html("span", { class: "nbray-state" });
    this.list = html("dl", { class: "nbray-span-facts" });
    const close = html("button", { class: "nbray-close", type: "button", "aria-label": "close", title: "close (Esc)" }, "✕");
    close.addEventListener("click", closed);
    this.box = html("section", { class: "nbray-panel", "aria-label": "the span that was clicked" }, html("div", { class: "nbray-panel-head" }, this.name, this.state, close), this.list);
    this.box.hidden = true;
    this.box.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") closed();
    });
    this.node = html("div", {}, this.box, this.spoken);
  }

  open(span, { functions, lanes }) {
    this.number = span.number;
    say(this.name, functions[span.fn]?.name ?? "");
    this.show(STATES[span.state], {
      took: span.state === 6 ? "" : seconds(span.duration),
      from: seconds(span.start),
      waited: span.waited >= 0 ? seconds(span.waited) : "",
      process: laneName(lanes[span.lane]).filter(Boolean).join(" · "),
    });
    this.box.hidden = false;
  }

  fill(found) {
    if (found.number !== this.number || this.box.hidden) return;
    const { state, duration, start, waited, process, pid, node, error, task, object, size } = found;
    this.show(state, {
      took: object ? "" : seconds(duration),
      from: seconds(start),
      waited: waited >= 0 ? seconds(waited) : "",
      process: pid ? `pid ${pid} (${process.slice(0, 8)})` : process.slice(0, 8),
      node: node.slice(0, 12),
      task,
      object,
      size: size ? bytes(size) : "",
      error,
    });
  }

  show(state, facts) {
    say(this.state, state);
    this.box.classList.toggle("nbray-is-bad", bad(STATES.indexOf(state)));
    const entries = Object.entries(facts).filter(([, value]) => value);
    this.list.replaceChildren(...entries.map(([name, value]) => html("div", { class: `nbray-fact-${name}` }, html("dt", {}, name), html("dd", {}, value))));
  }

  close() {
    this.box.hidden = true;
    this.number = undefined;
  }
}

/** Puts a file among the user's downloads. */
export function save(blob, name) {
  const link = html("a", { download: name, href: URL.createObjectURL(blob) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
