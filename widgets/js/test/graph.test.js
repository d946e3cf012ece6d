import assert from "node:assert/strict";
import { test } from "node:test";
import { layers } from "../src/graph/layers.js";
import { arrange, layout, shapeOf } from "../src/graph/layout.js";
import { matches, visible } from "../src/graph/visible.js";

const counts = { waiting: 0, running: 0, done: 1, failed: 0, cancelled: 0, mean: 1 };
const group = (name, more = {}) => ({ name, kind: "task", actor: null, ...counts, ...more });
const boxesApart = (boxes) => {
  const all = [...boxes.values()];
  return all.every((a, i) =>
    all.slice(i + 1).every((b) => a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y),
  );
};

function state(count, joins) {
  return {
    groups: Object.fromEntries(Array.from({ length: count }, (_, i) => [i, group(`f${i}`)])),
    actors: {},
    edges: Object.fromEntries(joins.map(([a, b]) => [`${a}>${b}>data`, 1])),
  };
}

test("no two boxes overlap, with few groups and with many, joined or not", () => {
  for (const count of [3, 12, 150]) {
    const joins = Array.from({ length: count }, (_, i) => [Math.floor(i / 2), i]).filter(([a, b]) => a !== b && b < count * 0.8);
    for (const direction of ["LR", "TB"]) assert.ok(boxesApart(layout(state(count, joins), direction, 900).boxes), `${count} ${direction}`);
  }
});

test("who needs another's results stands after it, and a cycle is no obstacle", () => {
  const size = new Map(["a", "b", "c", "d"].map((node) => [node, { width: 10, height: 10 }]));
  const edges = [["a", "b"], ["b", "c"], ["c", "b"], ["c", "d"]].map(([from, to]) => ({ from, to }));
  const { boxes } = layers(size, edges, "LR", 5, 20, 0);
  assert.ok(boxes.get("a").x < boxes.get("b").x);
  assert.ok(boxes.get("c").x < boxes.get("d").x);
  assert.ok(boxes.get("b").x < boxes.get("c").x); // what leads into the cycle says where it begins
});

test("a chain longer than any stack is laid out", () => {
  const size = new Map(Array.from({ length: 20_000 }, (_, i) => [i, { width: 10, height: 10 }]));
  const edges = Array.from({ length: 19_999 }, (_, i) => ({ from: i, to: i + 1 }));
  assert.equal(layers(size, edges, "LR", 5, 20, 0).boxes.get(19_999).x, 19_999 * 30);
});

test("the layout changes only when boxes or arrows come or go", () => {
  const before = state(3, [[0, 1]]);
  const after = structuredClone(before);
  after.groups[1].done = 50;
  assert.equal(shapeOf(before, 900), shapeOf(after, 900));
  after.edges["1>2>data"] = 1;
  assert.notEqual(shapeOf(before, 900), shapeOf(after, 900));
});

test("a chain goes to the right where that can be read, else downwards, and is never cut off or small print", () => {
  const directions = [3, 4, 5, 6, 7].map((count) => {
    const chain = state(count, Array.from({ length: count - 1 }, (_, i) => [i, i + 1]));
    const { direction, width, height, boxes } = arrange(chain, 1000, 560);
    assert.ok(boxesApart(boxes));
    assert.ok(Math.min(1000 / width, 560 / height) >= 0.7, `${count}`);
    return direction;
  });
  assert.deepEqual(directions, ["LR", "LR", "LR", "TB", "TB"]);
  assert.equal(arrange(state(2, [[0, 1]]), 400, 560).direction, "TB");
});

test("a search finds names by all its words, in whatever case", () => {
  assert.ok(matches("pkg.Stage_01_parse", "parse stage"));
  assert.ok(!matches("pkg.stage_01_parse", "parse merge"));
});

test("what is filtered out takes its arrows with it, and what is left is the state's own", () => {
  const all = state(3, [[0, 1], [1, 2]]);
  all.groups[2].failed = 1;
  const shown = visible(all, { show: "failed" });
  assert.deepEqual(Object.keys(shown.groups), ["2"]);
  assert.deepEqual(shown.edges, {});
  assert.equal(shown.groups[2], all.groups[2]);
  assert.equal(visible(all, {}), all);
});

test("an actor that is folded up is one row with the sums of its methods", () => {
  const all = {
    groups: { 0: group("f"), 1: group("A.x", { actor: "0" }), 2: group("A.y", { actor: "0", done: 3 }) },
    actors: { 0: { name: "A", queue: 0 } },
    edges: { "0>1>data": 2, "0>2>data": 3, "1>2>data": 1 },
  };
  const shown = visible(all, { folded: new Set(["0"]) });
  assert.deepEqual(Object.keys(shown.groups).sort(), ["0", "f0"]);
  assert.equal(shown.groups.f0.done, 4);
  assert.equal(shown.groups.f0.methods, 2);
  assert.deepEqual(shown.edges, { "0>f0>data": 5 });
});
