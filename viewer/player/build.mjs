// SPDX-License-Identifier: Apache-2.0
// Builds dist/ (`node build.mjs`) or runs the unit tests (`node build.mjs test`). `python scripts/do player` does both.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const here = dirname(fileURLToPath(import.meta.url));

/** One self-contained script of the module at `entry`; `modules`: texts of virtual modules by name. */
async function bundle(entry, modules = {}) {
  const virtual = {
    name: "virtual",
    resolveId: (id) => (id in modules ? `\0${id}` : null),
    load: (id) => (id[0] === "\0" ? modules[id.slice(1)] : null),
  };
  const lib = { entry: join(here, entry), formats: ["iife"], name: "sparse3d", fileName: () => "out.js" };
  const options = { lib, write: false, minify: true, target: "es2022", modulePreload: false };
  const made = await build({ root: here, configFile: false, logLevel: "warn", plugins: [virtual], build: options });
  return [made].flat()[0].output.find((o) => o.type === "chunk").code.trim();
}

/** Hash of everything that dist/ is made of; tests/formats/test_html.py computes the same. */
function sourcesHash() {
  const names = readdirSync(join(here, "src")).map((n) => `src/${n}`);
  const digest = createHash("sha256");
  for (const name of ["build.mjs", "package-lock.json", "tsconfig.json", ...names].sort()) {
    digest.update(`${name}\0`).update(readFileSync(join(here, name))).update("\0");
  }
  return digest.digest("hex");
}

async function main() {
  const worker = await bundle("src/worker.ts");
  const player = await bundle("src/main.ts", { "virtual:worker": `export default ${JSON.stringify(worker)};` });
  const files = { "player.js": player, "boot.js": await bundle("src/boot.ts") };
  for (const name of ["page.html", "style.css"]) files[name] = readFileSync(join(here, "src", name), "utf8");
  files["style.css"] = files["style.css"].replace(/\/\*[^]*?\*\//g, "").replace(/\s+/g, " ").trim();
  files["sources.sha256"] = `${sourcesHash()}\n`;
  rmSync(join(here, "dist"), { recursive: true, force: true });
  mkdirSync(join(here, "dist"));
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(here, "dist", name), text);
    console.log(`dist/${name}: ${Buffer.byteLength(text)} bytes`);
  }
}

async function test() {
  const out = mkdtempSync(join(tmpdir(), "player-test-"));
  const files = readdirSync(join(here, "test")).filter((n) => n.endsWith(".test.ts"));
  const input = Object.fromEntries(files.map((n) => [n.replace(/\.ts$/, ""), join(here, "test", n)]));
  const rolled = { input, output: { entryFileNames: "[name].mjs" } };
  const options = { ssr: true, outDir: out, minify: false, target: "node20", rollupOptions: rolled };
  await build({ root: here, configFile: false, logLevel: "warn", build: options });
  const tests = Object.keys(input).map((n) => join(out, `${n}.mjs`));
  const { status } = spawnSync(process.execPath, ["--test", ...tests], { stdio: "inherit" });
  rmSync(out, { recursive: true });
  process.exit(status ?? 1);
}

await (process.argv[2] === "test" ? test() : main());
