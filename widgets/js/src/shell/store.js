// The state of one model, shared by all its views in the page.
import { apply } from "./delta.js";

export class Store {
  constructor(model) {
    this.model = model;
    this.state = structuredClone(model.get("picture") ?? {});
    this.state.about ??= {};
    this.views = new Set();
    // What the kernel syncs is never newer than what it has told.
    model.on("change:picture", () => model.get("picture") !== this.state && this.keep());
    model.on("msg:custom", (message, buffers) => this.heard(message, buffers));
    model.on("comm_live_update", () => this.end());
    this.keep();
  }

  /** The model holds our very object, so a saved notebook has the last state without a copy on each update. */
  keep() {
    this.model.set("picture", this.state);
  }

  /**
   * The kernel was restarted, and cannot say any more that nothing runs. (A comm that opens is told in the same way, but before
   * there is a store.)
   */
  end() {
    this.cut = !this.state.about.over;
    this.state.about.over = true;
    this.soon();
  }

  soon() {
    for (const view of this.views) view.soon();
  }

  /** A saved notebook has models without a kernel: nobody hears then. */
  send(message) {
    try {
      this.model.send(message);
    } catch {
      /* no kernel */
    }
  }

  heard(message, buffers) {
    if (this.cut) [this.cut, this.state.about.over] = [false, false]; // it is there after all
    const revision = this.state.about.revision ?? -1;
    if (message.op === "whole") {
      if (message.revision < revision) return;
      this.state = message.state;
      this.keep();
    } else if (message.op === "change") {
      if (message.revision !== revision + 1) {
        // One was missed. A busy kernel hears this late, and sends the whole state by itself meanwhile.
        if (message.revision > revision && this.asked !== revision) this.send({ op: "whole" });
        this.asked = revision;
        return;
      }
      apply(this.state, message.change);
    } else {
      for (const view of this.views) view.heard(message, buffers);
      return;
    }
    this.soon();
  }
}
