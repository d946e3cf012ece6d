import assert from "node:assert/strict";
import { test } from "node:test";
import { laneName, ordered, placed } from "../src/timeline/lanes.js";
import { clamp, panned, tick, zoomed } from "../src/timeline/range.js";
import { Bins, Spans } from "../src/timeline/spans.js";

function packed(spans) {
  const view = new DataView(new ArrayBuffer(36 * spans.length));
  spans.forEach(({ start = 0, duration = 0, waited = -1, lane = 0, fn = 0, state = 0, row = 0, number = 0 }, i) => {
    const at = 36 * i;
    view.setFloat64(at, start, true);
    view.setFloat32(at + 8, duration, true);
    view.setFloat32(at + 12, waited, true);
    view.setUint16(at + 16, lane, true);
    view.setUint16(at + 18, fn, true);
    view.setUint8(at + 20, state);
    view.setUint8(at + 21, row);
    view.setUint32(at + 24, number, true);
  });
  return view;
}

test("zooming keeps the time under the pointer where it is", () => {
  const { begin, end } = zoomed({ begin: 2, end: 6 }, 0.5, 3, 10);
  assert.equal((3 - begin) / (end - begin), 0.25);
  assert.equal(end - begin, 2);
});

test("nothing before the beginning and after the end is shown", () => {
  assert.deepEqual(panned({ begin: 1, end: 3 }, -5, 10), { begin: 0, end: 2 });
  assert.deepEqual(panned({ begin: 1, end: 3 }, 50, 10), { begin: 8, end: 10 });
  assert.deepEqual(zoomed({ begin: 1, end: 3 }, 100, 2, 10), { begin: 0, end: 10 });
  assert.deepEqual(clamp({ begin: -1, end: 20 }, 10), { begin: 0, end: 10 });
});

test("ticks are told in the unit of their step", () => {
  assert.equal(tick(0, 1), "0");
  assert.equal(tick(0.25, 0.05), "250 ms");
  assert.equal(tick(0.000_02, 0.000_01), "20 µs");
  assert.equal(tick(1.5, 0.5), "1.5 s");
  assert.equal(tick(3, 1), "3 s");
  assert.equal(tick(150, 30), "2:30");
  assert.equal(tick(180, 60), "3 min");
  assert.equal(tick(100, 20), "1:40");
  assert.equal(tick(300.0005, 0.0001), "300.0005 s");
});

test("spans are kept in the order of their starts, and told twice they are there once", () => {
  const spans = new Spans();
  spans.add(packed([{ start: 2, number: 0 }, { start: 1, number: 1 }, { start: 3, lane: 1, number: 2 }]), 0);
  spans.add(packed([{ start: 1, number: 1 }, { start: 4, number: 3 }]), 1);
  assert.deepEqual(spans.lanes.get(0).map((span) => span.start), [1, 2, 4]);
  assert.equal(spans.count, 4);
  assert.ok(spans.covers(0));
});

test("after a gap only the later spans count as known", () => {
  const spans = new Spans();
  spans.add(packed([{ start: 0, duration: 1, number: 0 }]), 0);
  spans.add(packed([{ start: 5, duration: 1, number: 10 }]), 10);
  assert.equal(spans.count, 1);
  assert.ok(!spans.covers(3));
  assert.ok(spans.covers(6));
});

test("of too many spans the oldest go", () => {
  const spans = new Spans(100);
  spans.add(packed(Array.from({ length: 120 }, (_, i) => ({ start: i, duration: 1, number: i }))), 0);
  assert.ok(spans.count <= 100 && spans.count > 80);
  assert.ok(!spans.covers(0));
  assert.ok(spans.covers(60));
});

test("a bin that is told again replaces the old one", () => {
  const view = (busy) => {
    const bytes = new DataView(new ArrayBuffer(20));
    bytes.setUint32(4, 7, true);
    bytes.setFloat32(8, busy, true);
    return bytes;
  };
  const bins = new Bins(0, 1).add(view(0.5)).add(view(0.75));
  assert.equal(bins.lanes.get(0).get(7).busy, 0.75);
  assert.equal(bins.lanes.get(0).size, 1);
});

test("lanes stand by node, then tasks before actors before objects", () => {
  const lanes = {
    0: { node: "a", kind: "actor" }, 1: { node: "a", kind: "tasks" }, 2: { node: "b", kind: "tasks" }, 3: { node: "a", kind: "objects" },
  };
  assert.deepEqual(ordered(lanes), [1, 0, 3, 2]);
  const { rows } = placed(lanes, ordered(lanes));
  assert.deepEqual(rows.map((row) => row.node), ["a", null, null, "b"]);
});

test("an actor's lane is called by its class and its name", () => {
  assert.deepEqual(laneName({ kind: "actor", actor: "Board", name: "best", pid: 7, process: "ab" }), ["Board “best”", "pid 7"]);
  assert.deepEqual(laneName({ kind: "tasks", actor: "", name: "", pid: 0, process: "0123456789" }), ["tasks", "01234567"]);
});
