// SPDX-License-Identifier: Apache-2.0
// node make_format_golden.mjs NODE_MODULES SOURCE.ply OUT: goldens by the reference SPZ library and by GaussianSplats3D.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, source, out] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(path.join(modules, name)));
const bytes = fs.readFileSync(source);
const end = bytes.indexOf('end_header\n') + 11;
const names = bytes.subarray(0, end).toString().split('\n').filter((l) => l.startsWith('property')).map((l) => l.split(' ')[2]);
const count = (bytes.length - end) / 4 / names.length;
const value = (i, name) => bytes.readFloatLE(end + 4 * (i * names.length + names.indexOf(name)));
const columns = (...wanted) => {
  const table = new Float32Array(count * wanted.length);
  for (let i = 0; i < count; i++) wanted.forEach((name, j) => { table[i * wanted.length + j] = value(i, name); });
  return table;
};

const spz = await (await load('@adobe/spz/dist/spz.js')).default();
const rest = [];
for (let k = 0; k < 15; k++) for (let c = 0; c < 3; c++) rest.push(`f_rest_${15 * c + k}`);
const cloud = {
  numPoints: count, shDegree: 3, antialiased: true, positions: columns('x', 'y', 'z'),
  scales: columns('scale_0', 'scale_1', 'scale_2'), rotations: columns('rot_1', 'rot_2', 'rot_3', 'rot_0'),
  alphas: columns('opacity'), colors: columns('f_dc_0', 'f_dc_1', 'f_dc_2'), sh: columns(...rest), extensions: [],
};
for (const version of [2, 3, 4]) {
  const options = { from: spz.CoordinateSystem.RDF, version, sh1Bits: 8, shRestBits: 8 };
  fs.writeFileSync(path.join(out, `adobe_v${version}.spz`), spz.saveSpzToBuffer(cloud, options));
}

const gs = await load('@mkkellogg/gaussian-splats-3d/build/gaussian-splats-3d.module.js');
const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
for (const level of [0, 1, 2]) {
  const splats = gs.PlyParser.parseToUncompressedSplatArray(buffer, 2);
  const generator = gs.SplatBufferGenerator.getStandardGenerator(1, level, 0, undefined, 5.0, 16);
  const made = generator.generateFromUncompressedSplatArray(splats);
  fs.writeFileSync(path.join(out, `mkkellogg_level${level}.ksplat`), Buffer.from(made.bufferData));
}
