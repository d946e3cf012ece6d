// From values to pixels and to text, by the same rules as nbray_widgets/picture/bench_svg.py and nbray/bench/words.py.

export function scale(low, high, start, end, log = false) {
  const of = log ? Math.log10 : (value) => value;
  const [first, span] = [of(low), of(high) - of(low) || 1];
  return (value) => start + ((end - start) * (of(value) - first)) / span;
}

/** Round values on an axis, about five. */
export function ticks(low, high, log = false) {
  const found = [];
  if (log) {
    const [from, to] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    for (let power = from; power <= to; power++) {
      for (const factor of to - from < 3 ? [1, 2, 5] : [1]) {
        const value = factor * 10 ** power;
        if (value >= low && value <= high) found.push(value);
      }
    }
    return found;
  }
  const rough = (high - low) / 5 || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => unit * factor >= rough * 0.8);
  for (let index = Math.ceil(low / step); index <= Math.floor(high / step); index++) found.push(index * step);
  return found;
}

/** Three significant digits: 0.0123, 4.56, 12,300. */
export function figure(value) {
  if (!value) return "0";
  const rounded = Number(value.toPrecision(3));
  if (Math.abs(rounded) >= 100) return rounded.toLocaleString("en", { maximumFractionDigits: 0 });
  return rounded.toFixed(Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded)))))).replace(/\.?0+$/, "");
}

/** 12.3 µs, 4.56 ms, 7.89 s. */
export function duration(value) {
  for (const [unit, size] of [["s", 1], ["ms", 1e-3]]) if (value >= 0.9995 * size) return `${figure(value / size)} ${unit}`;
  return value ? `${figure(value / 1e-6)} µs` : "0 s";
}

export function percent(share) {
  return share > 0 && share < 0.00995 ? `${(100 * share).toFixed(1)} %` : `${(100 * share).toFixed(0)} %`;
}
