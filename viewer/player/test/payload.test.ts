// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesOf, feed } from "../src/payload";

test("pieces come whole and in order, few wait, the blocks leave the page", async () => {
  const bytes = Uint8Array.from({ length: 6_000_000 }, (_, i) => (i * i) >> 7);
  const text = Buffer.from(bytes).toString("base64");
  const half = 4 * Math.floor(text.length / 8);
  let left = 2;
  const block = (text: string): HTMLElement =>
    ({ textContent: `\n${text} `, remove: () => left-- }) as unknown as HTMLElement;
  const got: Uint8Array[] = [];
  const taken: (() => void)[] = [];
  let most = 0;
  const give = (piece: Uint8Array<ArrayBuffer>): Promise<void> => {
    got.push(piece);
    return new Promise((done) => {
      taken.push(done);
      most = Math.max(most, taken.length);
    });
  };
  const shares: number[] = [];
  const fed = feed([block(text.slice(0, half)), block(text.slice(half))], give, (share) => shares.push(share));
  // What fits is handed over at once, before anything else can run.
  assert.equal(got.length, 8);
  assert.equal(shares.length, 0);
  for (let i = 0; i < got.length || i < 16; i++) {
    taken.shift()?.();
    await new Promise((later) => setTimeout(later));
  }
  await fed;
  assert.equal(most, 8);
  assert.equal(left, 0);
  assert.deepEqual(shares, [...shares].sort((a, b) => a - b));
  assert.equal(shares.at(-1), 1);
  assert.ok(Buffer.concat(got).equals(bytes));
  assert.equal(bytesOf("").length, 0);
});
