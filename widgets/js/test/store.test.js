import assert from "node:assert/strict";
import { test } from "node:test";
import { Store } from "../src/shell/store.js";

function model(picture) {
  const listeners = {};
  return {
    get: () => picture,
    set: () => {},
    send: () => {},
    on: (name, run) => (listeners[name] = run),
    emit: (name, ...values) => listeners[name]?.(...values),
  };
}

test("of a kernel that was restarted nothing is shown as live, until it speaks again", () => {
  const far = model({ about: { over: false, revision: 3 }, groups: {} });
  const store = new Store(far);
  let drawn = 0;
  store.views.add({ soon: () => (drawn += 1) });
  far.emit("comm_live_update");
  assert.equal(store.state.about.over, true);
  assert.equal(drawn, 1);
  far.emit("msg:custom", { op: "change", revision: 4, change: { about: { revision: 4 } } });
  assert.equal(store.state.about.over, false);
});

test("what had ended before its kernel did stays ended", () => {
  const far = model({ about: { over: true, revision: 3 } });
  const store = new Store(far);
  far.emit("comm_live_update");
  far.emit("msg:custom", { op: "change", revision: 4, change: { about: { revision: 4 } } });
  assert.equal(store.state.about.over, true);
});
