import assert from "node:assert/strict";
import { test } from "node:test";
import { apply } from "../src/shell/delta.js";
import { bytes, counted, cut, seconds, short } from "../src/shell/words.js";

test("numbers have at most five characters", () => {
  assert.deepEqual([0, 999, 12_345, 99_960, 1_234_567].map(short), ["0", "999", "12.3k", "100k", "1.2M"]);
});

test("durations have a unit that fits", () => {
  assert.deepEqual([0.00034, 0.0123, 0.9996, 59.96, 250].map(seconds), ["340 µs", "12 ms", "1.00 s", "1 min 0 s", "4 min 10 s"]);
});

test("sizes are told in powers of 1024", () => {
  assert.deepEqual([0, 1023, 1024, 1536, 1.5 * 2 ** 30].map(bytes), ["0 B", "1023 B", "1 KiB", "1.5 KiB", "1.5 GiB"]);
});

test("nouns agree with their numbers", () => {
  assert.deepEqual([1, 12_000].map((n) => counted(n, "task")), ["1 task", "12,000 tasks"]);
});

test("long text ends with an ellipsis", () => {
  assert.equal(cut("abcdef", 4), "abc…");
});

test("null takes an entry away, and a new table comes by itself", () => {
  assert.deepEqual(apply({ a: { x: 1, y: 2 } }, { a: { x: null, y: 3 }, b: { z: 1 } }), { a: { y: 3 }, b: { z: 1 } });
});
