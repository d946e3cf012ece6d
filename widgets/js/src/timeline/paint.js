// Draws the timeline on a canvas. What is smaller than a pixel is drawn once for all that lies on that pixel.
import { ticks } from "d3-array";
import { colourOf } from "../shell/theme.js";
import { cut } from "../shell/words.js";
import { laneName } from "./lanes.js";
import { tick } from "./range.js";
import { bad } from "./spans.js";

export const AXIS = 24;
const TRANSFER = "#8a8f98";

export function gutterOf(width) {
  return Math.round(Math.min(Math.max(width * 0.2, 84), 190));
}

export class Painter {
  constructor(canvas, theme) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.theme = theme;
    this.widths = new Map();
  }

  size(width, height) {
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.canvas.style.height = `${height}px`;
    }
    this.width = width;
    this.height = height;
    this.gutter = gutterOf(width);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  /**
   * `scene`: {state, rows, range, scroll, source, hidden, now, chosen, lane, pinned}. `source` is {spans} or {bins}.
   * Returns how many shapes were drawn.
   */
  paint(scene) {
    const { context, width, height, gutter } = this;
    const colours = this.theme.colours;
    this.scale = (width - gutter - 8) / (scene.range.end - scene.range.begin);
    this.drawn = 0;
    context.fillStyle = colours.page;
    context.fillRect(0, 0, width, height);
    this.axis(scene, colours);
    context.save();
    context.beginPath();
    context.rect(0, AXIS, width, height - AXIS);
    context.clip();
    for (const row of scene.rows) {
      const y = AXIS + row.top - scene.scroll;
      if (y > height || y + row.height < AXIS - 16) continue;
      this.lane(scene, row, y, colours);
    }
    context.restore();
    return this.drawn;
  }

  x(time, { begin }) {
    return this.gutter + (time - begin) * this.scale;
  }

  axis({ range }, colours) {
    const { context, width, height, gutter } = this;
    const marks = ticks(range.begin, range.end, Math.max(2, Math.floor((width - gutter) / 100)));
    const step = marks.length > 1 ? marks[1] - marks[0] : range.end - range.begin;
    context.font = `11px ${colours.font}`;
    context.textBaseline = "middle";
    context.textAlign = "center";
    for (const mark of marks) {
      const x = Math.round(this.x(mark, range)) + 0.5;
      context.fillStyle = colours.track;
      context.fillRect(x - 0.5, AXIS - 4, 1, height);
      context.fillStyle = colours.faint;
      const label = tick(mark, step);
      const half = context.measureText(label).width / 2;
      if (x + half < width && x - half > gutter - 14) context.fillText(label, x, 11);
    }
  }

  lane(scene, { lane, height, node }, y, colours) {
    const { context, width, gutter } = this;
    const state = scene.state.lanes[lane];
    if (node) {
      context.font = `600 10.5px ${colours.font}`;
      context.textAlign = "left";
      context.fillStyle = colours.faint;
      context.fillText(`node ${node.slice(0, 8)}`, 10, y - 8);
    }
    context.fillStyle = colours.track;
    context.globalAlpha = state.state === "down" ? 0.4 : 0.75;
    context.beginPath();
    context.roundRect(gutter, y, width - gutter - 8, height, 3);
    context.fill();
    context.globalAlpha = 1;
    this.name(state, y + height / 2, height, colours, scene.lane === lane);
    context.save();
    context.beginPath();
    context.rect(gutter, y, width - gutter - 8, height);
    context.clip();
    const { spans, bins } = scene.source;
    if (spans) this.spans(scene, spans.lanes.get(lane) ?? [], y, height, Math.max(state.rows, 1), colours);
    else this.bins(scene, bins, bins.lanes.get(lane), y, height, Math.max(state.rows, 1), colours);
    if (state.open && state.function !== undefined) this.running(scene, state, y, height, colours);
    context.restore();
  }

  name(state, y, height, colours, marked) {
    const { context, gutter } = this;
    const [what, rest] = laneName(state);
    const size = height > 14 ? 12 : 10;
    context.textAlign = "left";
    context.textBaseline = "middle";
    let x = 10;
    if (state.kind === "actor") {
      context.fillStyle = colours.actor;
      context.beginPath();
      for (let i = 0; i < 6; i++) context.lineTo(x + 4 + 4.6 * Math.cos((i * Math.PI) / 3), y + 4.6 * Math.sin((i * Math.PI) / 3));
      context.fill();
      x += 13;
    }
    context.font = `${marked ? "600 " : ""}${size}px ${colours.font}`;
    context.fillStyle = state.state === "down" ? colours.faint : colours.text;
    const shown = this.fitted(what, gutter - x - 8);
    context.fillText(shown, x, y);
    const used = context.measureText(shown).width;
    context.font = `${size - 1}px ${colours.font}`;
    context.fillStyle = colours.faint;
    if (rest && x + used + 6 + context.measureText(rest).width < gutter - 6) context.fillText(rest, x + used + 6, y);
  }

  /** `text` cut so that it is at most `room` pixels wide in the font that is set. */
  fitted(text, room) {
    const key = `${this.context.font}|${room}|${text}`;
    let found = this.widths.get(key);
    if (found === undefined) {
      found = text;
      for (let n = text.length; n > 1 && this.context.measureText(found).width > room; n--) found = cut(text, n);
      if (this.widths.size > 5000) this.widths.clear();
      this.widths.set(key, found);
    }
    return found;
  }

  colour(scene, fn) {
    return scene.state.functions[fn]?.kind === "copy" ? TRANSFER : colourOf(fn);
  }

  spans(scene, lane, y, height, rows, colours) {
    const { context } = this;
    const { begin, end } = scene.range;
    const tall = height / rows;
    const last = new Float64Array(rows).fill(-1); // the pixel that is taken already, by row
    for (const span of lane) {
      const stop = span.start + span.duration;
      if (stop < begin || scene.hidden.has(span.fn)) continue;
      if (span.start > end) break;
      const row = Math.min(span.row, rows - 1);
      const left = Math.max(this.x(span.start, scene.range), this.gutter - 2);
      const wide = Math.max(this.x(stop, scene.range) - left, 0.8);
      const pixel = Math.floor(left);
      const failed = bad(span.state);
      if (wide < 1 && last[row] === pixel && !failed) continue;
      last[row] = pixel;
      this.drawn++;
      const top = y + row * tall;
      if (span.state === 6) this.diamond(left, top + tall / 2, Math.min(tall / 2 - 1, 6));
      else {
        context.fillStyle = this.colour(scene, span.fn);
        if (span.state === 3) context.globalAlpha = 0.45;
        context.fillRect(left, top + 0.5, wide > 3 ? wide - 0.6 : wide, tall - 1);
        context.globalAlpha = 1;
      }
      if (failed) this.failed(left, top, wide, tall, colours);
      if (wide > 46 && tall > 12) this.label(scene.state.functions[span.fn]?.name ?? "", left, wide, top + tall / 2);
      if (span.number === scene.pinned || span.number === scene.chosen) {
        context.strokeStyle = colours.text;
        context.lineWidth = span.number === scene.pinned ? 2 : 1;
        context.strokeRect(left + 0.5, top + 1, Math.max(wide - 1, 2), tall - 2);
      }
    }
  }

  diamond(x, y, size) {
    const { context } = this;
    context.fillStyle = TRANSFER;
    context.beginPath();
    context.moveTo(x, y - size);
    context.lineTo(x + size, y);
    context.lineTo(x, y + size);
    context.lineTo(x - size, y);
    context.fill();
  }

  failed(x, y, wide, tall, colours) {
    const { context } = this;
    const width = Math.max(wide, 3);
    context.fillStyle = colours.failed;
    context.fillRect(x, y + tall - Math.max(4, tall * 0.28), width, Math.max(4, tall * 0.28));
    if (width > 14 && tall > 12) {
      context.strokeStyle = "#fff";
      context.lineWidth = 2;
      const [cx, cy] = [x + width - 8, y + tall * 0.36];
      context.beginPath();
      context.moveTo(cx - 3, cy - 3);
      context.lineTo(cx + 3, cy + 3);
      context.moveTo(cx + 3, cy - 3);
      context.lineTo(cx - 3, cy + 3);
      context.stroke();
    }
  }

  label(name, x, wide, y) {
    const { context } = this;
    context.font = `11px ${this.theme.colours.font}`;
    context.textAlign = "left";
    context.fillStyle = "#101418";
    const left = Math.max(x, this.gutter);
    const shown = this.fitted(name, Math.floor((wide - (left - x) - 22) / 8) * 8);
    if (shown === name || shown.length > 4) context.fillText(shown, left + 5, y);
  }

  running(scene, state, y, height, colours) {
    if (scene.hidden.has(state.function)) return;
    const { context } = this;
    const x = Math.max(this.x(state.since, scene.range), this.gutter - 2);
    const wide = Math.max(this.x(Math.max(scene.now, state.since), scene.range) - x, 2);
    const tall = state.rows > 1 ? height / state.rows : height;
    const top = y + height - tall;
    context.fillStyle = this.colour(scene, state.function);
    context.globalAlpha = 0.42;
    context.fillRect(x, top + 0.5, wide, tall - 1);
    context.globalAlpha = 1;
    context.fillRect(x, top + tall - 2.5, wide, 2);
    if (wide > 46 && tall > 12) {
      context.fillStyle = colours.text;
      context.font = `11px ${colours.font}`;
      context.textAlign = "left";
      const more = state.open > 1 ? ` +${state.open - 1}` : "";
      context.fillText(this.fitted((scene.state.functions[state.function]?.name ?? "") + more, wide - 10), Math.max(x, this.gutter) + 5, top + tall / 2);
    }
  }

  bins(scene, { origin, width }, lane, y, height, rows, colours) {
    if (!lane) return;
    const { context } = this;
    const { begin, end } = scene.range;
    const first = Math.floor((begin - origin) / width) - 1;
    const wide = Math.max(width * this.scale, 1);
    for (const bin of lane.values()) {
      if (bin.column < first || scene.hidden.has(bin.fn)) continue;
      const start = origin + bin.column * width;
      if (start > end) continue;
      const x = this.x(start, scene.range);
      const tall = Math.min(Math.max(2, (height * bin.busy) / (width * rows)), height);
      context.fillStyle = this.colour(scene, bin.fn);
      context.fillRect(x, y + height - tall, wide + 0.3, tall);
      this.drawn++;
      if (bin.failed) {
        context.fillStyle = colours.failed;
        context.fillRect(x, y + height - 4, Math.max(wide, 2), 4);
      }
    }
  }
}
