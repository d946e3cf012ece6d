// The part of time that is shown: pure arithmetic.

export const CLOSEST = 2e-6; // seconds from edge to edge

/** Within [0, end], and no closer than `CLOSEST`. Keeps the width where it can. */
export function clamp({ begin, end }, whole) {
  const width = Math.min(Math.max(end - begin, CLOSEST), whole);
  const first = Math.min(Math.max(begin, 0), Math.max(whole - width, 0));
  return { begin: first, end: first + width };
}

/** Zoomed by `factor` (below 1: closer) so that the time `at` stays where it is. */
export function zoomed({ begin, end }, factor, at, whole) {
  const width = Math.min(Math.max((end - begin) * factor, CLOSEST), whole);
  const part = (at - begin) / (end - begin);
  return clamp({ begin: at - part * width, end: at + (1 - part) * width }, whole);
}

export function panned({ begin, end }, by, whole) {
  return clamp({ begin: begin + by, end: end + by }, whole);
}

/** A label for a tick, in the unit and with the digits that its step asks for. */
export function tick(value, step) {
  if (value === 0) return "0";
  const digits = (unit) => Math.max(0, -Math.floor(Math.log10(step / unit) + 1e-9));
  if (value >= 59.999 && step >= 1) {
    const minutes = Math.floor(value / 60 + 1e-9);
    const rest = Math.round(value - 60 * minutes);
    return rest ? `${minutes}:${String(rest).padStart(2, "0")}` : `${minutes} min`;
  }
  // Close up, a number of milliseconds would be long: seconds then, with more digits.
  if (value >= 0.9999) return `${value.toFixed(digits(1))} s`;
  const [unit, name] = value >= 0.000_999_9 ? [1e-3, "ms"] : [1e-6, "µs"];
  return `${(value / unit).toFixed(digits(unit))} ${name}`;
}
