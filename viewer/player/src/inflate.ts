// SPDX-License-Identifier: Apache-2.0
// Gzip pieces in, one SPZ file out, with no more memory than its header asks for.
import { HEADER_BYTES, readHeader, totalBytes } from "./spz";

export class Inflater {
  private readonly writer: WritableStreamDefaultWriter<BufferSource>;
  private readonly result: Promise<Uint8Array>;

  constructor() {
    const stream = new DecompressionStream("gzip");
    this.writer = stream.writable.getWriter();
    this.result = collect(stream.readable);
    // The reason is thrown by `end`; until then nobody listens.
    this.result.catch(() => undefined);
  }

  /** Resolves when the piece has been taken. */
  add(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    return this.writer.write(bytes);
  }

  /** The whole file. Throws an Error for the user where the bytes are no gzip or do not fit their own header. */
  async end(): Promise<Uint8Array> {
    await this.writer.close().catch(() => undefined);
    return this.result;
  }
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const reader = stream.getReader();
  const head = new Uint8Array(HEADER_BYTES);
  let all: Uint8Array = head;
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw new Error("its compressed bytes are damaged or cut off");
    });
    if (done) break;
    let from = 0;
    if (all === head) {
      from = Math.min(HEADER_BYTES - at, value.length);
      head.set(value.subarray(0, from), at);
      at += from;
      if (at < HEADER_BYTES) continue;
      all = new Uint8Array(totalBytes(readHeader(head)));
      all.set(head);
    }
    if (at + value.length - from > all.length) throw new Error("it has more bytes than its header says");
    all.set(value.subarray(from), at);
    at += value.length - from;
  }
  if (at !== all.length || all === head) throw new Error("it ends before its header says");
  return all;
}
