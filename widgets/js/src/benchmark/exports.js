// The figures as files, made in the browser: a saved notebook has no kernel to ask.

const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** Numbers as they were measured, not as they are shown. */
export function csv({ columns, rows }) {
  const lines = [Object.values(columns).map((column) => column.name)];
  for (const { cells } of Object.values(rows)) lines.push(cells.map(([text, value]) => (typeof value === "number" ? String(value) : text)));
  return lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
}

export function markdown({ about, said, columns, rows }) {
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const heads = Object.values(columns);
  const code = about.code ? ["```python", about.code, "```", ""] : [];
  return [
    `# ${about.heading}`,
    "",
    ...code,
    line(heads.map((column) => column.name)),
    `|${heads.map((column) => (column.text ? "---" : "---:")).join("|")}|`,
    ...Object.values(rows).map((row) => line(row.cells.map(([text]) => text))),
    "",
    ...Object.values(said).map((sentence) => `- ${sentence}`),
    "",
  ].join("\n");
}

export function json({ about, said, series, cases, rows }) {
  const { kind, heading, status, done, total, code, serial, rounds, note, parts } = about;
  const known = { kind, heading, status, done, total, code, serial, rounds, note };
  const entries = Object.values(rows).map(({ cells, shares, ...row }) => ({
    ...row,
    shares: shares && Object.fromEntries(parts.map((name, index) => [name, shares[index]])),
  }));
  return JSON.stringify({ ...known, sentences: Object.values(said), series, cases, rows: entries }, null, 1) + "\n";
}

export const FORMATS = {
  JSON: [json, "json", "application/json"],
  Markdown: [markdown, "md", "text/markdown"],
  CSV: [csv, "csv", "text/csv"],
};

export function save(state, name) {
  const [make, ending, type] = FORMATS[name];
  const url = URL.createObjectURL(new Blob([make(state)], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `nbray-${state.about.kind || "benchmark"}.${ending}`;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
