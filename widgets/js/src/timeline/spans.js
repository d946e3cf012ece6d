// Spans and bins as the kernel packs them (reducers/timeline.py `SPAN`, reducers/bins.py `BIN`), and the spans that are known one by one.

export const STATES = ["done", "running", "failed", "cancelled", "retried", "crashed", "copied"];
export const bad = (state) => state === 2 || state === 5;
const SPAN = 36;
const BIN = 20;

export function* spansIn(view) {
  for (let at = 0; at + SPAN <= view.byteLength; at += SPAN) {
    yield {
      start: view.getFloat64(at, true),
      duration: view.getFloat32(at + 8, true),
      waited: view.getFloat32(at + 12, true),
      lane: view.getUint16(at + 16, true),
      fn: view.getUint16(at + 18, true),
      state: view.getUint8(at + 20),
      row: view.getUint8(at + 21),
      number: view.getUint32(at + 24, true),
    };
  }
}

export function* binsIn(view) {
  for (let at = 0; at + BIN <= view.byteLength; at += BIN) {
    yield {
      lane: view.getUint16(at, true),
      fn: view.getUint16(at + 2, true),
      column: view.getUint32(at + 4, true),
      busy: view.getFloat32(at + 8, true),
      count: view.getUint32(at + 12, true),
      failed: view.getUint32(at + 16, true),
    };
  }
}

/** Bins by lane: `width` seconds a column, the first begins at `origin`. */
export class Bins {
  constructor(origin = 0, width = 1) {
    this.origin = origin;
    this.width = width;
    this.lanes = new Map();
  }

  add(view) {
    for (const bin of binsIn(view)) {
      let lane = this.lanes.get(bin.lane);
      if (!lane) this.lanes.set(bin.lane, (lane = new Map()));
      lane.set(bin.column, bin);
    }
    return this;
  }
}

/** Spans of lanes, each lane in the order in which they started. */
export class Spans {
  constructor(most = 20_000) {
    this.most = most;
    this.lanes = new Map();
    this.count = 0;
    this.next = 0; // the number of the next span to come
    this.from = 0; // every span that ended after this time is here
  }

  /** New spans whose first has the number `first`. Those that are known already are passed over. */
  add(view, first) {
    if (first > this.next) this.clear();
    for (const span of spansIn(view)) {
      if (span.number < this.next) continue;
      this.next = span.number + 1;
      if (first > 0 && !this.count) this.from = Math.max(this.from, span.start + span.duration);
      this.put(span);
    }
    if (this.count > this.most) this.forget();
    return this;
  }

  put(span) {
    let lane = this.lanes.get(span.lane);
    if (!lane) this.lanes.set(span.lane, (lane = []));
    // They come in the order of their ends: on most lanes that is the order of their starts too.
    let at = lane.length;
    while (at > 0 && lane[at - 1].start > span.start) at--;
    if (at === lane.length) lane.push(span);
    else lane.splice(at, 0, span);
    this.count++;
  }

  clear() {
    this.lanes.clear();
    this.count = 0;
  }

  /** Leaves the later three quarters. */
  forget() {
    const ends = [...this.lanes.values()].flat().map((span) => span.start + span.duration).sort((a, b) => a - b);
    this.from = ends[Math.floor(ends.length / 4)];
    this.count = 0;
    for (const [key, lane] of this.lanes) {
      const kept = lane.filter((span) => span.start + span.duration > this.from);
      this.lanes.set(key, kept);
      this.count += kept.length;
    }
  }

  /** Whether all that is to be seen of [begin, end] is here. */
  covers(begin) {
    return begin >= this.from;
  }
}
