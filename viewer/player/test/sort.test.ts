// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { DepthSorter } from "../src/sort";

/** Numbers in -1..1 that are the same on every run. */
function numbers(count: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state / 0x40000000 - 1;
  });
}

function plain(positions: Float32Array, f: [number, number, number], offset: number, near: number): number[] {
  const depth = Float32Array.from({ length: positions.length / 3 }, (_, i) => {
    const [x, y, z] = positions.subarray(3 * i, 3 * i + 3);
    return f[0] * x + f[1] * y + f[2] * z + offset;
  });
  const seen = [...depth.keys()].filter((i) => depth[i] >= near);
  return seen.sort((a, b) => depth[b] - depth[a] || b - a);
}

test("far first, equal depths the later first, near ones left out", () => {
  const positions = numbers(3 * 5000);
  positions.copyWithin(3000, 0, 300);
  positions[0] = 4e5;
  const sorter = new DepthSorter(positions);
  const order = new Uint32Array(5000);
  for (const f of [[0, 0, 1], [0.6, 0, 0.8], [-1, 0, 0]] as [number, number, number][]) {
    const visible = sorter.sort(...f, 0.5, 0.01, order);
    const want = plain(positions, f, 0.5, 0.01);
    assert.equal(visible, want.length);
    const depth = (i: number): number => f[0] * positions[3 * i] + f[1] * positions[3 * i + 1] + f[2] * positions[3 * i + 2] + 0.5;
    assert.deepEqual(new Set(order.subarray(0, visible)), new Set(want));
    for (let k = 1; k < visible; k++) assert.ok(depth(order[k]) <= depth(order[k - 1]) * (1 + 1e-4));
  }
});

test("an order without rounding is exact", () => {
  const positions = new Float32Array([0, 0, 3, 0, 0, 1, 0, 0, 2, 0, 0, 1, 0, 0, -1]);
  const order = new Uint32Array(5);
  assert.equal(new DepthSorter(positions).sort(0, 0, 1, 0, 0.01, order), 4);
  assert.deepEqual([...order.subarray(0, 4)], [0, 2, 3, 1]);
});

test("nothing in view", () => {
  const order = new Uint32Array(1);
  assert.equal(new DepthSorter(new Float32Array([0, 0, -1])).sort(0, 0, 1, 0, 0.01, order), 0);
  assert.equal(new DepthSorter(new Float32Array([0, 0, NaN])).sort(0, 0, 1, 0, 0.01, order), 0);
});
