// Pan and zoom of the graph: wheel, drag, pinch, buttons and keys, by d3-zoom.
import { select } from "d3-selection";
import { zoom, zoomIdentity } from "d3-zoom";

const SMALLEST = 0.08;
const LARGEST = 2.5;
export const TALLEST = 560;

export class Viewport {
  constructor(svg, layer) {
    this.svg = svg;
    this.layer = layer;
    this.auto = true; // until somebody moves it by hand
    this.engaged = false;
    this.now = zoomIdentity;
    svg.addEventListener("pointermove", () => (this.engaged = true));
    svg.addEventListener("pointerleave", () => (this.engaged = false));
    this.zoom = zoom()
      .scaleExtent([SMALLEST, LARGEST])
      .clickDistance(4)
      // Who scrolls through the notebook and comes across the graph wants to scroll on; who has moved the pointer here means it.
      .filter((event) => (event.type === "wheel" ? event.ctrlKey || event.metaKey || (this.engaged && !this.all) : !event.button && !event.ctrlKey))
      .on("zoom", ({ transform, sourceEvent }) => {
        if (sourceEvent) this.auto = false;
        this.now = transform;
        layer.setAttribute("transform", transform.toString());
        svg.dataset.zoom = transform.k.toFixed(3);
      });
    this.d3 = select(svg).call(this.zoom).on("dblclick.zoom", null);
  }

  /** The graph has this size in a frame so wide. */
  size(width, height, available) {
    [this.width, this.height, this.available] = [width, height, available];
    const scale = this.readable();
    this.tall = Math.round(Math.min(Math.max(height * scale, 60), TALLEST));
    this.svg.setAttribute("width", available);
    this.svg.setAttribute("height", this.tall);
    this.zoom.extent([[0, 0], [available, this.tall]]);
    this.zoom.translateExtent([[-width / 2 - 200, -height / 2 - 200], [width * 1.5 + 200, height * 1.5 + 200]]);
    if (this.auto) this.place(scale);
  }

  /** As large as it can be seen at once, but not so small that names cannot be read. */
  readable() {
    return Math.max(0.6, Math.min(1, this.available / this.width));
  }

  /** All is in sight, so there is nothing to move: the wheel is the notebook's. */
  get all() {
    return this.auto && this.width * this.now.k <= this.available + 2 && this.height * this.now.k <= this.tall + 2;
  }

  place(scale) {
    const x = Math.max((this.available - this.width * scale) / 2, 0);
    const y = Math.max((this.tall - this.height * scale) / 2, 0);
    this.zoom.transform(this.d3, zoomIdentity.translate(x, y).scale(scale));
  }

  fit() {
    this.auto = false;
    this.place(Math.max(Math.min(this.available / this.width, this.tall / this.height, 1), SMALLEST));
  }

  reset() {
    this.auto = true;
    this.place(this.readable());
  }

  by(factor) {
    this.auto = false;
    this.zoom.scaleBy(this.d3, factor);
  }

  pan(x, y) {
    this.auto = false;
    this.zoom.translateBy(this.d3, x / this.now.k, y / this.now.k);
  }

  /** Whether some of the box is in sight. */
  sees({ x, y, width, height }) {
    const [left, top] = this.now.apply([x, y]);
    return left < this.available && top < this.tall && left + width * this.now.k > 0 && top + height * this.now.k > 0;
  }

  /** Moves only as far as is needed for the box to be in sight. */
  reveal({ x, y, width, height }) {
    const { k } = this.now;
    const [left, top] = this.now.apply([x, y]);
    const shift = (from, size, room) => (from < 8 ? 8 - from : from + size * k > room - 8 ? Math.min(room - 8 - from - size * k, 0) : 0);
    const [dx, dy] = [shift(left, width, this.available), shift(top, height, this.tall)];
    if (dx || dy) this.pan(dx, dy);
  }
}
