// What hands do to the timeline: wheel, drag, pinch, keys. Turns them into calls of `target`:
//   zoom(factor, x), pan(pixels), hover(x, y), leave(), pick(x, y), key(event) -> whether it was one of ours

export class Hands {
  constructor(canvas, target, gutter) {
    this.canvas = canvas;
    this.target = target;
    this.gutter = gutter;
    this.pointers = new Map();
    this.engaged = false;
    const on = (type, run, options) => canvas.addEventListener(type, run, options);
    on("wheel", (event) => this.wheel(event), { passive: false });
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", (event) => this.up(event, true));
    on("pointerleave", (event) => {
      this.engaged = false;
      if (!this.pointers.size) target.leave(event);
    });
    on("keydown", (event) => {
      if (!target.key(event)) return;
      event.preventDefault();
      event.stopPropagation(); // the notebook has keys of its own
    });
    on("dblclick", (event) => target.zoom(0.4, this.at(event).x));
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  wheel(event) {
    // Who scrolls through the notebook and comes across the timeline wants to scroll on; who has moved the pointer here means it.
    if (!this.engaged && !event.ctrlKey && !event.metaKey) return;
    const { x } = this.at(event);
    if (x < this.gutter()) return;
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 100 : 1;
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
    const moved = sideways
      ? this.target.pan((event.deltaX || event.deltaY) * unit)
      : this.target.zoom(Math.exp(Math.max(-240, Math.min(240, event.deltaY * unit)) * (event.ctrlKey ? 0.008 : 0.0022)), x);
    if (moved || event.ctrlKey) event.preventDefault();
  }

  down(event) {
    if (event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    this.start = this.at(event);
    this.dragged = false;
  }

  move(event) {
    this.engaged = true;
    const now = this.at(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.target.hover(now.x, now.y);
      return;
    }
    if (this.pointers.size === 2) {
      const [a, b] = [...this.pointers.values()];
      const gap = Math.abs(a.x - b.x);
      this.pointers.set(event.pointerId, now);
      const [c, d] = [...this.pointers.values()];
      const wider = Math.abs(c.x - d.x);
      if (gap > 8 && wider > 8) this.target.zoom(gap / wider, (c.x + d.x) / 2);
      this.target.pan((a.x + b.x - c.x - d.x) / 2);
      this.dragged = true;
      return;
    }
    if (!this.dragged && Math.hypot(now.x - this.start.x, now.y - this.start.y) < 4) return;
    this.dragged = true;
    this.canvas.classList.add("nbray-dragging");
    this.target.pan(before.x - now.x);
    this.pointers.set(event.pointerId, now);
  }

  up(event, cancelled) {
    if (!this.pointers.delete(event.pointerId)) return;
    this.canvas.classList.remove("nbray-dragging");
    if (!this.dragged && !cancelled) this.target.pick(this.start.x, this.start.y);
  }
}
