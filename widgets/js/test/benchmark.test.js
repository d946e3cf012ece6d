import assert from "node:assert/strict";
import { test } from "node:test";
import { csv, json, markdown } from "../src/benchmark/exports.js";
import { duration, figure, percent, scale, ticks } from "../src/benchmark/scales.js";
import { sortedRows } from "../src/benchmark/table.js";

const state = {
  about: { kind: "sweep", heading: "How to split", code: "f(chunk)", status: "done", done: 2, total: 2, parts: ["running", "rest"] },
  said: { 0: "Best: <a|b>." },
  columns: { 0: { name: "chunk", text: true }, 1: { name: "time", text: false } },
  rows: {
    0: { label: "chunk=a,b", shares: [0.25, 0.75], samples: [1, 2], cells: [['a,"b|', 'a,"b|'], ["1.5 s (1–2)", 1.5]] },
    1: { label: "chunk=2", shares: null, samples: [3], cells: [["2", 2], ["", null]] },
  },
};

test("figures have three digits, as in the kernel", () => {
  assert.deepEqual([0, 0.0123456, 4.561, 12345, 99.96].map(figure), ["0", "0.0123", "4.56", "12,300", "100"]);
  assert.deepEqual([0, 3.4e-5, 0.0456, 7.891, 120].map(duration), ["0 s", "34 µs", "45.6 ms", "7.89 s", "120 s"]);
  assert.deepEqual([0, 0.004, 0.5, 1].map(percent), ["0 %", "0.4 %", "50 %", "100 %"]);
});

test("ticks are round and inside", () => {
  assert.deepEqual(ticks(0, 10), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticks(3, 4000, true), [10, 100, 1000]);
  const place = scale(1, 100, 0, 10, true);
  assert.deepEqual([1, 10, 100].map(place), [0, 5, 10]);
});

test("CSV has what was measured, quoted where needed", () => {
  assert.equal(csv(state), 'chunk,time\n"a,""b|",1.5\n2,\n');
});

test("Markdown keeps bars out of its tables", () => {
  const page = markdown(state);
  assert.match(page, /\| a,"b\\\| \| 1\.5 s/);
  assert.match(page, /- Best: <a\|b>\./);
});

test("JSON has every run and names the parts", () => {
  const found = JSON.parse(json(state));
  assert.deepEqual(found.rows[0].shares, { running: 0.25, rest: 0.75 });
  assert.deepEqual(found.rows[0].samples, [1, 2]);
  assert.equal(found.rows[1].shares, null);
});

test("rows are sorted by value, those without one last", () => {
  const rows = [1, 10, null, 2].map((value, index) => [String(index), { cells: [["", value]] }]);
  const order = (by) => sortedRows(rows, by).map(([key]) => key).join("");
  assert.equal(order(null), "0123");
  assert.equal(order([0, 1]), "0312");
  assert.equal(order([0, -1]), "1302");
});
