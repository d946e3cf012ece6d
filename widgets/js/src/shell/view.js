// What every view is made of: a root with a heading, drawn at most once a frame when the state has changed.
import { html } from "./dom.js";
import { Still } from "./still.js";
import { Store } from "./store.js";

const HERE_EVERY = 15_000;

/**
 * Subclasses give
 *   build()                  makes the elements below `this.root`, once; `this.model.send` asks the kernel
 *   draw(state)              shows the state; called once a frame at most, also when the width has changed
 *   heard(message, buffers)  what the kernel says beside states; buffers are DataViews
 *   removed()                undoes what `build` did outside of `this.root`
 */
export class View {
  /** `name`: "graph" makes the root `.nbray-graph`; `label` is for who cannot see it. */
  constructor(store, el, name, label) {
    this.store = store;
    this.id = crypto.randomUUID?.() ?? String(Math.random());
    this.root = html("div", { class: `nbray-view nbray-${name}`, role: "region", "aria-label": label });
    this.build();
    el.append(this.root);
    store.views.add(this);
    this.still = new Still(this.root, () => store.state.about.token);
    this.resized = new ResizeObserver(() => this.soon());
    this.resized.observe(this.root);
    this.shown = () => this.tell(document.hidden ? "hide" : "open");
    document.addEventListener("visibilitychange", this.shown);
    this.here = setInterval(() => document.hidden || this.tell("here"), HERE_EVERY);
    this.shown();
    this.draw(store.state);
    this.soon();
  }

  build() {}
  draw() {}
  heard() {}
  removed() {}

  tell(op) {
    this.store.send({ op, view: this.id });
  }

  ask(message) {
    this.store.send(message);
  }

  soon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.still.look();
      this.draw(this.store.state);
    });
  }

  remove() {
    this.store.views.delete(this);
    this.resized.disconnect();
    this.still.back();
    document.removeEventListener("visibilitychange", this.shown);
    clearInterval(this.here);
    if (this.frame !== undefined) cancelAnimationFrame(this.frame);
    this.removed();
    this.tell("close");
  }
}

/** The default export of a bundle: `export default widget((store, el) => new MyView(store, el, "mine", "my view"))`. */
export function widget(make) {
  return () => {
    let store;
    return {
      initialize({ model }) {
        store = new Store(model);
      },
      render({ el }) {
        const view = make(store, el);
        return () => view.remove();
      },
    };
  };
}
