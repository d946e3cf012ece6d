// The state of a view: tables of entries. The kernel sends one whole state and then what changed in it.

/** Makes a change to `state` in place, by the rule of `reducers/delta.py`: null means gone. */
export function apply(state, change) {
  for (const [table, entries] of Object.entries(change)) {
    const target = (state[table] ??= {});
    for (const [key, entry] of Object.entries(entries)) {
      if (entry === null) delete target[key];
      else target[key] = entry;
    }
  }
  return state;
}
