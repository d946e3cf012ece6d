// Bundles src/ into one ES module and one style sheet without any outside reference.
//   node build.js [directory]
import { build } from "esbuild";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "nbray_widgets", "static");

await build({
  absWorkingDir: here,
  entryPoints: [join(here, "src", "graph.js"), join(here, "src", "graph.css")],
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "inline",
  charset: "utf8",
});

// Minified packages carry no licence in their files, so we carry it beside the bundle.
const { packages } = JSON.parse(readFileSync(join(here, "package-lock.json"), "utf8"));
const bundled = Object.keys(packages).filter((path) => path && !packages[path].dev);
const texts = bundled.sort().map((path) => {
  const name = path.replace(/^.*node_modules\//, "");
  const file = readdirSync(join(here, path)).find((entry) => /^licen[cs]e/i.test(entry));
  return `${name} ${packages[path].version}\n\n${readFileSync(join(here, path, file), "utf8").trim()}\n`;
});
const rule = `\n${"-".repeat(78)}\n\n`;
writeFileSync(join(out, "LICENSES.txt"), `graph.js contains the following packages.\n${rule}${texts.join(rule)}`);
