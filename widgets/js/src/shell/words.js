// Numbers as they are shown, by the same rules as nbray_widgets/text.py.

/** At most five characters: 950, 12.3k, 1.2M. */
export function short(number) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (number >= size) {
      const value = number / size;
      return (value >= 99.95 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "")) + unit;
    }
  }
  return String(number);
}

/** 340 µs, 12 ms, 3.20 s, 4 min 10 s. */
export function seconds(value) {
  if (value < 0.0009995) return `${(value * 1e6).toFixed(0)} µs`;
  if (value < 0.9995) return `${(value * 1e3).toFixed(value < 0.00995 ? 1 : 0)} ms`;
  if (value < 59.95) return `${value.toFixed(value < 9.995 ? 2 : 1)} s`;
  return `${Math.floor(Math.round(value) / 60)} min ${Math.round(value) % 60} s`;
}

export function cut(text, longest) {
  return text.length > longest ? `${text.slice(0, longest - 1)}…` : text;
}

/** 950 B, 12.3 KiB, 1.5 GiB. */
export function bytes(value) {
  let [number, unit] = [value, 0];
  while (number >= 1023.5 && unit < 5) [number, unit] = [number / 1024, unit + 1];
  const digits = unit === 0 || number >= 99.95 ? 0 : 1;
  return `${number.toFixed(digits).replace(/\.0$/, "")} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]}`;
}

const digits = new Intl.NumberFormat("en"); // to make one takes longer than to draw a box

/** 12,000. */
export function grouped(number) {
  return digits.format(number);
}

/** "1 task", "12,000 tasks". */
export function counted(number, noun) {
  return `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** How long ago: 0 s, 4 min, 2 h 5 min, 3 d 4 h. */
export function age(value) {
  const whole = Math.max(Math.trunc(value), 0);
  for (const [unit, name, less, lesser] of [[86_400, "d", 3_600, "h"], [3_600, "h", 60, "min"]]) {
    if (whole >= unit) return `${Math.floor(whole / unit)} ${name} ${Math.floor((whole % unit) / less)} ${lesser}`;
  }
  return whole >= 60 ? `${Math.floor(whole / 60)} min` : `${whole} s`;
}
