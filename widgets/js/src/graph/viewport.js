// Pan and zoom of the graph: wheel, drag, pinch, buttons and keys.

const SMALLEST = 0.08;
const LARGEST = 2.5;
export const TALLEST = 560;

export class Viewport {
  /** `moved()` is called when something else may be in sight. */
  constructor(svg, layer, moved) {
    this.moved = moved;
    this.svg = svg;
    this.layer = layer;
    this.auto = true; // until somebody moves it by hand
    this.engaged = false;
    this.now = { x: 0, y: 0, k: 1 };
    this.pointers = new Map();
    const on = (type, run, options) => svg.addEventListener(type, run, options);
    on("wheel", (event) => this.wheel(event), { passive: false });
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    for (const type of ["pointerup", "pointercancel"]) on(type, (event) => this.up(event));
    on("pointerleave", () => (this.engaged = false));
    // What ends a drag is no click on the group that happens to be there.
    on("click", (event) => this.dragged && event.stopPropagation(), { capture: true });
  }

  at(event) {
    const box = this.svg.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  wheel(event) {
    // Who scrolls through the notebook and comes across the graph wants to scroll on; who has moved the pointer here means it, if
    // there is anything to be moved.
    if (!event.ctrlKey && !event.metaKey && (!this.engaged || this.all)) return;
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 100 : 1;
    const amount = Math.max(-240, Math.min(240, event.deltaY * unit)) * (event.ctrlKey ? 0.008 : 0.002);
    this.by(Math.exp(-amount), this.at(event));
  }

  down(event) {
    if (event.button) return;
    this.pointers.set(event.pointerId, this.at(event));
    this.start = this.at(event);
    this.dragged = false;
  }

  move(event) {
    this.engaged = true;
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.at(event);
    if (this.pointers.size === 2) {
      const gap = () => {
        const [a, b] = [...this.pointers.values()];
        return { size: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
      };
      const old = gap();
      this.pointers.set(event.pointerId, now);
      const next = gap();
      if (old.size > 8 && next.size > 8) this.by(next.size / old.size, next);
      this.pan(next.x - old.x, next.y - old.y);
      this.dragged = true;
      return;
    }
    if (!this.dragged) {
      if (Math.hypot(now.x - this.start.x, now.y - this.start.y) < 4) return;
      this.dragged = true;
      this.svg.setPointerCapture(event.pointerId); // not earlier: a click would go to the picture, and to no group
    }
    this.pan(now.x - before.x, now.y - before.y);
    this.pointers.set(event.pointerId, now);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
  }

  /** The graph has this size, in a frame so wide. */
  size(width, height, available) {
    [this.width, this.height, this.available] = [width, height, available];
    const scale = this.readable();
    this.tall = Math.round(Math.min(Math.max(height * scale, 60), TALLEST));
    this.svg.setAttribute("width", available);
    this.svg.setAttribute("height", this.tall);
    if (this.auto) this.place(scale);
    else this.set(this.now);
  }

  /** As large as it can be seen at once, but not so small that names cannot be read. */
  readable() {
    const high = TALLEST / this.height;
    return Math.max(0.6, Math.min(1, this.available / this.width, high < 0.8 ? 1 : high)); // a high one is moved about anyhow
  }

  /** All is in sight, so there is nothing to move: the wheel is the notebook's. */
  get all() {
    return this.auto && this.width * this.now.k <= this.available + 2 && this.height * this.now.k <= this.tall + 2;
  }

  set({ x, y, k }) {
    // Some of the graph stays in sight, wherever it is moved.
    const kept = (value, size, room) => Math.min(Math.max(value, Math.min(80, room / 2) - size * k), room - Math.min(80, room / 2));
    this.now = { x: kept(x, this.width, this.available), y: kept(y, this.height, this.tall), k };
    this.layer.setAttribute("transform", `translate(${this.now.x.toFixed(2)} ${this.now.y.toFixed(2)}) scale(${k.toFixed(4)})`);
    this.svg.dataset.zoom = k.toFixed(3);
    this.moved();
  }

  place(scale) {
    const middle = (room, size) => Math.max((room - size * scale) / 2, 0);
    this.set({ x: middle(this.available, this.width), y: middle(this.tall, this.height), k: scale });
  }

  fit() {
    this.auto = false;
    this.place(Math.max(Math.min(this.available / this.width, this.tall / this.height, 1), SMALLEST));
  }

  reset() {
    this.auto = true;
    this.place(this.readable());
  }

  /** Larger by `factor`; the point stays where it is, by default the middle. */
  by(factor, point = { x: this.available / 2, y: this.tall / 2 }) {
    this.auto = false;
    const { x, y, k } = this.now;
    const next = Math.min(Math.max(k * factor, SMALLEST), LARGEST);
    this.set({ x: point.x - ((point.x - x) * next) / k, y: point.y - ((point.y - y) * next) / k, k: next });
  }

  pan(dx, dy) {
    this.auto = false;
    this.set({ ...this.now, x: this.now.x + dx, y: this.now.y + dy });
  }

  /** Whether some of the box is in sight, or not farther away than `margin` pixels. */
  sees({ x, y, width, height }, margin = 0) {
    const { x: left, y: top, k } = this.now;
    return (
      left + x * k < this.available + margin && top + y * k < this.tall + margin && left + (x + width) * k > -margin && top + (y + height) * k > -margin
    );
  }

  /** Moves only as far as is needed for the box to be in sight. */
  reveal({ x, y, width, height }) {
    const { k } = this.now;
    const shift = (from, size, room) => (from < 8 ? 8 - from : from + size * k > room - 8 ? Math.min(room - 8 - from - size * k, 0) : 0);
    const dx = shift(this.now.x + x * k, width, this.available);
    const dy = shift(this.now.y + y * k, height, this.tall);
    if (dx || dy) this.pan(dx, dy);
  }
}
