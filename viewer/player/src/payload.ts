// SPDX-License-Identifier: Apache-2.0
// The scene in the page: base64 in data blocks, handed to the worker piece by piece so that neither a long text nor a
// long pause is needed; a block leaves the page as soon as it is read.

/** Characters a piece; a multiple of 4, so that each piece is base64 by itself. */
const PIECE = 1 << 19;

export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

/** `give` resolves when the piece has been taken; `progress` hears the share of blocks and pieces, 0 to 1. */
export async function feed(
  blocks: HTMLElement[],
  give: (bytes: Uint8Array<ArrayBuffer>) => Promise<void>,
  progress: (share: number) => void,
): Promise<void> {
  let pending: Promise<void> = Promise.resolve();
  for (const [n, block] of blocks.entries()) {
    const text = (block.textContent as string).trim();
    block.remove();
    for (let at = 0; at < text.length; at += PIECE) {
      const bytes = bytesOf(text.slice(at, at + PIECE));
      await pending;
      pending = give(bytes);
      progress((n + Math.min(1, (at + PIECE) / text.length)) / blocks.length);
    }
  }
  await pending;
}
