// The timeline view.
import { html, say, set } from "./shell/dom.js";
import { Theme } from "./shell/theme.js";
import { View, widget } from "./shell/view.js";
import { counted, cut, seconds, short } from "./shell/words.js";
import { Hands } from "./timeline/hands.js";
import { laneName, ordered, placed } from "./timeline/lanes.js";
import { Legend } from "./timeline/legend.js";
import { AXIS, gutterOf, Painter } from "./timeline/paint.js";
import { clamp, panned, zoomed } from "./timeline/range.js";
import { Details, save } from "./timeline/details.js";
import { bad, Bins, Spans, spansIn } from "./timeline/spans.js";

const TALLEST = 460;
const ASK_AFTER = 90; // ms of standing still before the kernel is asked for a closer look

class Timeline extends View {
  build() {
    this.spans = new Spans();
    this.bins = new Bins();
    this.serial = 0;
    this.range = { begin: 0, end: 1 };
    this.follow = true; // the right edge is now
    this.fitted = true; // the left edge is the beginning
    this.lane = null; // by the keyboard
    this.live = html("span", { class: "nbray-live", role: "status" });
    this.count = html("span", { class: "nbray-total" });
    this.failed = html("span", { class: "nbray-total nbray-failed" });
    this.note = html("span", { class: "nbray-note" });
    const button = (label, title, run) => {
      const node = html("button", { type: "button", title, "aria-label": title }, label);
      node.addEventListener("click", run);
      return node;
    };
    this.followButton = button("follow", "keep the newest in sight (f)", () => this.toggleFollow());
    this.fitButton = button("fit", "show all (0)", () => this.fit());
    const tools = html(
      "div", { class: "nbray-tools", role: "toolbar", "aria-label": "timeline" },
      this.followButton, this.fitButton,
      button("−", "zoom out (-)", () => this.zoom(1.6)),
      button("+", "zoom in (+)", () => this.zoom(1 / 1.6)),
      button("trace", "save a Chrome trace (JSON), for Perfetto", () => this.saveTrace()),
      button("PNG", "save the picture as it is (PNG)", () => this.canvas.toBlob((blob) => save(blob, "nbray-timeline.png"))),
    );
    this.head = html("div", { class: "nbray-head" }, html("b", {}, "Timeline"), this.live, this.count, this.failed, this.note, tools);
    this.canvas = html("canvas", {
      class: "nbray-plot", tabindex: "0", role: "img",
      "aria-label": "timeline: arrow keys move, plus and minus zoom, up and down choose a lane, n and p its spans, Enter pins",
    });
    this.spacer = html("div", { class: "nbray-spacer" });
    this.scroller = html("div", { class: "nbray-lanes" }, html("div", { class: "nbray-stick" }, this.canvas), this.spacer);
    this.scroller.addEventListener("scroll", () => this.soon());
    this.empty = html("p", { class: "nbray-empty" }, "Nothing has run yet. Call a remote function: each process gets a lane here, with what it ran and when.");
    this.legend = new Legend(() => this.soon());
    this.tip = html("div", { class: "nbray-tip-box", hidden: "", "aria-hidden": "true" });
    this.details = new Details(() => this.unpin());
    this.root.append(this.head, this.empty, this.scroller, this.legend.node, this.details.node, this.tip);
    this.theme = new Theme(this.root, () => this.soon());
    this.painter = new Painter(this.canvas, this.theme);
    this.hands = new Hands(this.canvas, this, () => this.painter.gutter ?? 0);
    const { told, buffers } = this.store.model.get("kept") ?? {};
    if (told) this.heard(told, buffers);
    this.tocks = setInterval(() => this.moving && this.soon(), 50);
  }

  removed() {
    clearInterval(this.tocks);
    clearTimeout(this.asking);
    clearTimeout(this.patience);
    this.theme.end();
  }

  // --- what the kernel says -------------------------------------------------------------------------------------------

  heard(message, buffers) {
    if (message.op === "bulk") {
      if (message.whole) this.bins = new Bins(0, message.width);
      else if (message.serial > this.serial + 1 && this.serial) this.ask({ op: "whole" });
      this.serial = Math.max(message.serial, this.serial);
      this.bins.width = message.width;
      this.bins.add(buffers[1]);
      this.spans.add(buffers[0], message.first);
    } else if (message.op === "window") {
      this.asked = null;
      const { begin, end, width, exact } = message;
      this.close = { begin, end, exact, width };
      if (exact) {
        this.close.spans = new Spans(Infinity);
        for (const span of spansIn(buffers[0])) this.close.spans.put(span);
      } else this.close.bins = new Bins(begin, width).add(buffers[0]);
    } else if (message.op === "span") this.details.fill(message);
    else if (message.op === "trace" && this.wantsTrace) {
      this.wantsTrace = false;
      clearTimeout(this.patience);
      save(new Blob([buffers[0]], { type: "application/json" }), "nbray-timeline.json");
    }
    this.soon();
  }

  // --- time -----------------------------------------------------------------------------------------------------------

  /** The time now, as far as we can know it: the last that was told, and what has passed since then while something runs. */
  get now() {
    const { last = 0, open = 0 } = this.store.state.about;
    if (last !== this.knownLast || open !== this.knownOpen) {
      [this.knownLast, this.knownOpen, this.knownAt] = [last, open, performance.now()];
    }
    const since = Object.values(this.store.state.lanes ?? {}).reduce((most, lane) => Math.max(most, lane.since ?? 0), 0);
    const passed = open && !this.store.state.about.over ? Math.min((performance.now() - this.knownAt) / 1000, 5) : 0;
    const guess = Math.max(last, since) + passed;
    this.latest = open ? Math.max(guess, Math.min(this.latest ?? 0, guess + 1)) : last;
    return this.latest;
  }

  get whole() {
    return Math.max(this.now * 1.02, 1e-3);
  }

  get moving() {
    return this.follow && (this.store.state.about.open ?? 0) > 0 && !this.store.state.about.over && !document.hidden;
  }

  advance() {
    if (this.fitted) this.range = { begin: 0, end: this.whole };
    else if (this.follow) {
      const width = this.range.end - this.range.begin;
      this.range = clamp({ begin: this.whole - width, end: this.whole }, this.whole);
    }
  }

  to(range) {
    const before = this.range;
    this.range = range;
    this.fitted = range.begin <= 0 && range.end >= this.whole * 0.9999;
    if (range.end < this.whole * 0.9999) this.follow = false;
    this.soon();
    return before.begin !== range.begin || before.end !== range.end;
  }

  zoom(factor, x = (this.painter.width + this.painter.gutter) / 2) {
    const at = this.range.begin + (Math.max(x, this.painter.gutter) - this.painter.gutter) / this.painter.scale;
    this.leave();
    return this.to(zoomed(this.range, factor, at, this.whole));
  }

  pan(pixels) {
    this.leave();
    return this.to(panned(this.range, pixels / this.painter.scale, this.whole));
  }

  fit() {
    this.follow = this.fitted = true;
    this.soon();
  }

  toggleFollow() {
    this.follow = !this.follow;
    if (!this.follow) this.fitted = false;
    this.soon();
  }

  // --- spans ------------------------------------------------------------------------------------------------------------

  /** The best that we have for what is to be seen. */
  source() {
    const { begin, end } = this.range;
    if (this.spans.covers(begin)) return { spans: this.spans };
    const near = this.close;
    if (near && near.begin <= begin && near.end >= Math.min(end, this.now) && (near.exact || near.width * this.painter.scale < 3)) return near;
    this.want(near);
    return near && near.begin <= begin && near.end >= end && near.width < this.bins.width ? near : { bins: this.bins };
  }

  want() {
    // The bins that we have are as fine as the screen.
    if (this.bins.width * this.painter.scale < 2.5) return;
    clearTimeout(this.asking);
    this.asking = setTimeout(() => {
      const { begin, end } = this.range;
      // Some more on both sides, for the way.
      const more = (end - begin) / 4;
      const ask = { op: "window", begin: Math.max(begin - more, 0), end: end + more, columns: Math.round((this.painter.width - this.painter.gutter) * 1.5) };
      const key = JSON.stringify(ask);
      if (this.asked !== key) this.ask(ask);
      this.asked = key;
    }, ASK_AFTER);
  }

  found(x, y) {
    const row = this.rows?.find((row) => {
      const top = AXIS + row.top - this.scroller.scrollTop;
      return y >= top && y < top + row.height;
    });
    if (!row || y < AXIS || x < this.painter.gutter) return null;
    const top = AXIS + row.top - this.scroller.scrollTop;
    const { spans, bins } = this.scene.source;
    const time = this.range.begin + (x - this.painter.gutter) / this.painter.scale;
    const lane = this.store.state.lanes[row.lane];
    if (!spans) {
      const bin = bins.lanes.get(row.lane)?.get(Math.floor((time - bins.origin) / bins.width));
      return bin && { row, bin, width: bins.width, start: bins.origin + bin.column * bins.width };
    }
    const slack = 3 / this.painter.scale;
    const which = Math.floor((y - top) / (row.height / Math.max(lane.rows, 1)));
    let best = null;
    for (const span of spans.lanes.get(row.lane) ?? []) {
      if (span.start > time + slack) break;
      if (span.row !== which || this.legend.hidden.has(span.fn)) continue;
      const distance = Math.max(span.start - time, time - span.start - span.duration, 0);
      if (distance <= slack && (!best || distance <= best.distance)) best = { row, span, distance };
    }
    if (!best && lane.open && time >= lane.since && time <= this.now) return { row, running: lane };
    return best;
  }

  hover(x, y) {
    const found = this.found(x, y);
    const chosen = found?.span?.number;
    if (chosen !== this.chosen) this.soon();
    this.chosen = chosen;
    this.canvas.style.cursor = found?.span ? "pointer" : "";
    this.tip.hidden = !found;
    if (!found) {
      const row = x < this.painter.gutter && this.rows?.find((row) => y >= AXIS + row.top - this.scroller.scrollTop && y < AXIS + row.top + row.height - this.scroller.scrollTop);
      set(this.canvas, "title", row ? laneTitle(this.store.state.lanes[row.lane]) : "");
      return;
    }
    set(this.canvas, "title", "");
    this.tip.replaceChildren(...this.told(found));
    const box = this.root.getBoundingClientRect();
    const plot = this.canvas.getBoundingClientRect();
    const left = Math.min(plot.left - box.left + x + 14, box.width - this.tip.offsetWidth - 8);
    const below = plot.top - box.top + y + 18;
    this.tip.style.left = `${Math.max(left, 8)}px`;
    this.tip.style.top = `${below + this.tip.offsetHeight > box.height ? Math.max(below - this.tip.offsetHeight - 30, 2) : below}px`;
  }

  told({ span, bin, running, width, start }) {
    const { functions } = this.store.state;
    const line = (...parts) => html("div", {}, ...parts);
    if (running) {
      const name = functions[running.function]?.name ?? "";
      return [line(html("b", {}, html("bdi", {}, cut(name, 60)))), line(`under way for ${seconds(Math.max(this.now - running.since, 0))}${running.open > 1 ? `, ${running.open - 1} more behind it` : ""}`)];
    }
    if (bin) {
      const name = functions[bin.fn]?.name ?? "";
      const busy = Math.min(bin.busy / width, 1);
      return [
        line(html("b", {}, `${counted(bin.count, "span")} begin here`), bin.failed ? `, ${bin.failed} failed` : ""),
        line("mostly ", html("bdi", {}, cut(name, 60))), line(`${(100 * busy).toFixed(0)} % busy, ${seconds(width)} from ${seconds(start)}`),
      ];
    }
    const fn = functions[span.fn];
    const lines = [line(html("b", {}, html("bdi", {}, cut(fn?.name ?? "", 60))))];
    if (span.state === 6) return [...lines, line(`at ${seconds(span.start)}`)];
    lines.push(line(`${seconds(span.duration)}${bad(span.state) ? " ✕ failed" : span.state ? ` ${["", "running", "", "cancelled", "retried"][span.state]}` : ""}`));
    lines.push(line(`from ${seconds(span.start)}${span.waited >= 0 ? `, waited ${seconds(span.waited)}` : ""}`));
    return lines;
  }

  leave() {
    this.tip.hidden = true;
    if (this.chosen !== undefined) this.soon();
    this.chosen = undefined;
  }

  pick(x, y) {
    const found = this.found(x, y);
    if (found?.span) this.pin(found.span);
    else if (found?.bin) this.to(clamp({ begin: found.start - 8 * found.width, end: found.start + 9 * found.width }, this.whole));
    else this.unpin();
  }

  pin(span) {
    if (this.pinned === span.number) return this.unpin();
    this.pinned = span.number;
    this.details.open(span, this.store.state);
    this.ask({ op: "span", number: span.number });
    this.soon();
  }

  unpin() {
    this.pinned = undefined;
    this.details.close();
    this.soon();
  }

  // --- keys -------------------------------------------------------------------------------------------------------------

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const step = (this.painter.width - this.painter.gutter) / (event.shiftKey ? 2 : 10);
    const keys = {
      ArrowLeft: () => this.pan(-step),
      ArrowRight: () => this.pan(step),
      ArrowUp: () => this.choose(-1),
      ArrowDown: () => this.choose(1),
      "+": () => this.zoom(1 / 1.5),
      "=": () => this.zoom(1 / 1.5),
      "-": () => this.zoom(1.5),
      0: () => this.fit(),
      Home: () => this.to(clamp({ begin: 0, end: this.range.end - this.range.begin }, this.whole)),
      End: () => this.to(clamp({ begin: Infinity, end: Infinity }, this.whole)),
      f: () => this.toggleFollow(),
      n: () => this.next(1),
      p: () => this.next(-1),
      Enter: () => this.pinChosen(),
      " ": () => this.pinChosen(),
      Escape: () => (this.pinned === undefined ? ((this.lane = null), this.leave(), this.canvas.blur()) : this.unpin()),
    };
    const run = keys[event.key];
    if (!run) return false;
    run();
    this.soon();
    return true;
  }

  choose(by) {
    const order = this.rows?.map((row) => row.lane) ?? [];
    if (!order.length) return;
    const at = order.indexOf(this.lane);
    this.lane = order[at < 0 ? (by > 0 ? 0 : order.length - 1) : Math.min(Math.max(at + by, 0), order.length - 1)];
    const row = this.rows.find((row) => row.lane === this.lane);
    const { scrollTop } = this.scroller;
    const seen = this.painter.height - AXIS;
    if (row.top < scrollTop) this.scroller.scrollTop = row.top;
    else if (row.top + row.height > scrollTop + seen) this.scroller.scrollTop = row.top + row.height - seen;
    const state = this.store.state.lanes[this.lane];
    say(this.details.spoken, `${laneName(state).join(" ")}: ${counted(state.spans, "span")}`);
  }

  next(by) {
    if (this.lane === null) this.choose(1);
    const { spans } = this.scene.source;
    if (!spans) return this.zoom(0.5);
    const { begin, end } = this.range;
    const lane = (spans.lanes.get(this.lane) ?? []).filter((span) => !this.legend.hidden.has(span.fn));
    const at = lane.findIndex((span) => span.number === this.chosen);
    const first = by > 0 ? lane.findIndex((span) => span.start + span.duration >= begin) : lane.findLastIndex((span) => span.start <= end);
    const span = lane[at < 0 ? first : at + by];
    if (!span) return;
    this.chosen = span.number;
    this.under = span;
    const width = end - begin;
    if (span.start < begin || span.start > end) this.to(clamp({ begin: span.start - width / 2, end: span.start + width / 2 }, this.whole));
    say(this.details.spoken, this.told({ span }).map((line) => line.textContent).join(", "));
  }

  pinChosen() {
    if (this.under && this.under.number === this.chosen) this.pin(this.under);
  }

  // --- saving -----------------------------------------------------------------------------------------------------------

  saveTrace() {
    this.wantsTrace = true;
    this.ask({ op: "trace" });
    this.patience = setTimeout(() => {
      if (!this.wantsTrace) return;
      // The kernel is busy, or gone: then what is here.
      this.wantsTrace = false;
      const { functions, lanes } = this.store.state;
      const events = [...this.spans.lanes].flatMap(([lane, spans]) => [
        { ph: "M", name: "thread_name", pid: 1, tid: lane + 1, args: { name: laneName(lanes[lane]).filter(Boolean).join(" · ") } },
        ...spans.map((span) => ({ ph: "X", name: functions[span.fn].name, ts: span.start * 1e6, dur: span.duration * 1e6, pid: 1, tid: lane + 1 })),
      ]);
      save(new Blob([JSON.stringify({ traceEvents: events })], { type: "application/json" }), "nbray-timeline.json");
    }, 1500);
  }

  // --- drawing ----------------------------------------------------------------------------------------------------------

  draw(state) {
    const { lanes = {}, functions = {}, about } = state;
    const order = ordered(lanes);
    const any = about.spans > 0 || about.open > 0;
    const busy = about.open > 0 && !about.over;
    set(this.root, "data-spans", about.spans ?? 0);
    this.root.classList.toggle("nbray-active", busy);
    say(this.live, !any ? "" : busy ? "live" : about.over ? "ended" : "idle");
    say(this.count, any ? `${counted(about.spans, "span")}, ${seconds(this.now)}` : "");
    say(this.failed, about.failed ? `✕ ${about.failed.toLocaleString("en")} failed` : "");
    const lost = (about.skipped ?? 0) + (about.forgotten ?? 0);
    say(this.note, lost ? `${short(lost)} older not kept` : "");
    set(this.followButton, "aria-pressed", this.follow);
    set(this.fitButton, "aria-pressed", this.fitted);
    this.empty.hidden = any;
    this.scroller.hidden = this.legend.node.hidden = !any;
    if (!any) return;
    this.legend.draw(functions);
    const width = this.scroller.clientWidth;
    if (!width) return;
    const { rows, height } = placed(lanes, order);
    this.rows = rows;
    const tall = Math.min(height + AXIS + 4, TALLEST);
    this.painter.size(width, tall);
    this.spacer.style.height = `${Math.max(height + AXIS + 4 - tall, 0)}px`;
    this.painter.scale = (width - gutterOf(width) - 8) / (this.range.end - this.range.begin);
    this.advance();
    this.painter.scale = (width - gutterOf(width) - 8) / (this.range.end - this.range.begin);
    this.scene = {
      state: { lanes, functions }, rows, range: this.range, scroll: this.scroller.scrollTop, hidden: this.legend.hidden,
      now: this.now, chosen: this.chosen, pinned: this.pinned, lane: this.lane, source: this.source(),
    };
    const drawn = this.painter.paint(this.scene);
    set(this.canvas, "data-begin", this.range.begin.toPrecision(6));
    set(this.canvas, "data-end", this.range.end.toPrecision(6));
    set(this.canvas, "data-drawn", drawn);
  }
}

function laneTitle(lane) {
  const share = lane.spans ? `, ${seconds(lane.busy)} busy` : "";
  return `${laneName(lane).filter(Boolean).join(" · ")}\n${counted(lane.spans, "span")}${share}${lane.node ? `\nnode ${lane.node}` : ""}${lane.state === "down" ? "\nended" : ""}`;
}

export default widget((store, el) => new Timeline(store, el, "timeline", "nbray timeline"));
