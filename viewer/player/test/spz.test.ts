// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { Inflater } from "../src/inflate";
import { HEADER_BYTES, ROW, layerCount, pack, readHeader, restCount, totalBytes } from "../src/spz";

function file(count: number, degree: number, change: Record<number, number> = {}): Uint8Array<ArrayBuffer> {
  const header = { count, shDegree: degree, fractionalBits: 4, antialias: true };
  const bytes = new Uint8Array(totalBytes(header)).map((_, i) => (i * 37) & 255);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x5053474e, true);
  view.setUint32(4, 3, true);
  view.setUint32(8, count, true);
  bytes.set([degree, 4, 1, 0], 12);
  for (const [at, value] of Object.entries(change)) bytes[Number(at)] = value;
  return bytes;
}

test("header", () => {
  assert.deepEqual(readHeader(file(5, 2)), { count: 5, shDegree: 2, fractionalBits: 4, antialias: true });
  assert.throws(() => readHeader(file(5, 0, { 0: 1 })), /not an SPZ/);
  assert.throws(() => readHeader(new Uint8Array(15)), /not an SPZ/);
  assert.throws(() => readHeader(file(5, 0, { 4: 4 })), /version 4/);
  assert.throws(() => readHeader(file(5, 0, { 11: 255 })), /holds \d+ splats/);
  assert.throws(() => readHeader(file(5, 0, { 8: 0 })), /holds 0 splats/);
  assert.throws(() => readHeader(file(5, 0, { 12: 4 })), /degree 4/);
  assert.throws(() => readHeader(file(5, 0, { 13: 24 })), /24 fractional bits/);
  assert.throws(() => readHeader(file(5, 0, { 14: 2 })), /extensions/);
});

test("positions are signed 24-bit numbers", () => {
  const bytes = file(1, 0);
  bytes.set([0xff, 0xff, 0xff, 0x20, 0x00, 0x00, 0x00, 0x00, 0x80], HEADER_BYTES);
  assert.deepEqual([...pack(bytes).positions], [-1 / 16, 2, -(2 ** 23) / 16]);
});

for (const degree of [0, 1, 2, 3]) {
  test(`every byte of degree ${degree} has its place`, () => {
    const count = ROW + 3;
    const bytes = file(count, degree);
    const got = pack(bytes);
    assert.equal(got.rows, 2);
    assert.equal(got.layers, layerCount(degree));
    const rest = 3 * restCount(degree);
    const start = (perSplat: number): number => HEADER_BYTES + count * perSplat;
    for (const i of [0, 1, ROW - 1, ROW, count - 1]) {
      for (let k = 0; k < 3; k++) {
        const p = start(0) + 9 * i + 3 * k;
        const word = bytes[p] + 256 * bytes[p + 1] + 65536 * bytes[p + 2] + 2 ** 24 * bytes[start(13) + 3 * i + k];
        assert.equal(got.shape[4 * i + k], word);
        assert.equal(got.base[4 * i + k], bytes[start(10) + 3 * i + k]);
      }
      const r = start(16) + 4 * i;
      assert.equal(got.shape[4 * i + 3], bytes[r] + 256 * bytes[r + 1] + 65536 * bytes[r + 2] + 2 ** 24 * bytes[r + 3]);
      assert.equal(got.base[4 * i + 3], bytes[start(9) + i]);
      for (let b = 0; b < rest; b++) {
        const layer = Math.floor(b / 16);
        assert.equal(got.sh[16 * (layer * got.rows * ROW + i) + (b % 16)], bytes[start(20) + rest * i + b]);
      }
    }
    assert.throws(() => pack(bytes.subarray(0, -1)), /bytes where/);
  });
}

async function unpacked(gz: Uint8Array, piece: number): Promise<Uint8Array> {
  const inflater = new Inflater();
  for (let at = 0; at < gz.length; at += piece) inflater.add(gz.slice(at, at + piece)).catch(() => undefined);
  return inflater.end();
}

test("gzip pieces of any size", async () => {
  const bytes = file(100, 1);
  for (const piece of [1, 7, 1000]) assert.deepEqual(await unpacked(gzipSync(bytes), piece), bytes);
});

test("damaged, short and long files are refused", async () => {
  const bytes = file(100, 1);
  const gz = gzipSync(bytes);
  await assert.rejects(unpacked(gz.subarray(0, gz.length / 2), 64), /damaged or cut off|ends before/);
  await assert.rejects(unpacked(gzipSync(bytes.subarray(0, -1)), 64), /ends before/);
  await assert.rejects(unpacked(gzipSync(Buffer.concat([bytes, bytes])), 64), /more bytes/);
  await assert.rejects(unpacked(new Uint8Array(100), 64), /damaged/);
  await assert.rejects(unpacked(gzipSync(new Uint8Array(3)), 64), /ends before/);
});
