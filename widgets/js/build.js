// Bundles each view, src/NAME.js with its src/NAME.css, into one ES module and one style sheet without any outside reference.
//   node build.js [directory]
import { build } from "esbuild";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "nbray_widgets", "static");
const entries = readdirSync(join(here, "src")).filter((name) => /\.(js|css)$/.test(name)).sort();

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: entries.map((name) => join(here, "src", name)),
  outdir: out,
  bundle: true,
  minify: true,
  metafile: true,
  format: "esm",
  target: "es2022",
  legalComments: "inline",
  charset: "utf8",
});

// Minified packages carry no licence in their files, so we carry them beside the bundles, with the bundles each is in.
const { packages } = JSON.parse(readFileSync(join(here, "package-lock.json"), "utf8"));
const inside = new Map();
const carry = (path, file) => {
  inside.set(path, new Set([...(inside.get(path) ?? []), file]));
  // Some packages ship with what they depend on already inside their own files.
  for (const name of Object.keys(packages[path].dependencies ?? {})) carry(`node_modules/${name}`, file);
};
for (const [file, { inputs }] of Object.entries(metafile.outputs)) {
  for (const input of Object.keys(inputs)) {
    const path = Object.keys(packages).filter((path) => path && input.startsWith(`${path}/`)).sort().at(-1);
    if (path) carry(path, file.replace(/^.*\//, ""));
  }
}
const texts = [...inside.keys()].sort().map((path) => {
  const name = path.replace(/^.*node_modules\//, "");
  const file = readdirSync(join(here, path)).find((entry) => /^licen[cs]e/i.test(entry));
  const where = [...inside.get(path)].sort().join(", ");
  return `${name} ${packages[path].version} (in ${where})\n\n${readFileSync(join(here, path, file), "utf8").trim()}\n`;
});
const rule = `\n${"-".repeat(78)}\n\n`;
writeFileSync(join(out, "LICENSES.txt"), `The bundles contain the following packages.\n${rule}${texts.join(rule)}`);
