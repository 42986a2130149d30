// SPDX-License-Identifier: Apache-2.0
// SPZ version 3 (after gzip) into the words that the shaders read. Layout: nianticlabs/spz, README.md, "File Format":
// a header of 16 bytes, then positions (3 x 24 bit), alphas, colours, scales, rotations (smallest three, 32 bit), SH.
// The stored integers are kept as they are: what the page draws is what the file says, and memory stays small.

/** Texels in a row of every data texture: all WebGL2 devices have textures this wide. */
export const ROW = 2048;
export const HEADER_BYTES = 16;
const MAGIC = 0x5053474e;
const FLAG_ANTIALIAS = 1;
const FLAG_EXTENSIONS = 2;

export interface Header {
  count: number;
  shDegree: number;
  fractionalBits: number;
  antialias: boolean;
}

export interface Packed {
  header: Header;
  rows: number;
  /** Per texel 4 words: x, y, z as 24 bits with a scale byte on top, rotation. */
  shape: Uint32Array<ArrayBuffer>;
  /** Per texel red, green, blue (degree 0) and opacity. */
  base: Uint8Array<ArrayBuffer>;
  /** `layers` pictures of 16 bytes a texel: the SH bytes in file order. */
  sh: Uint8Array<ArrayBuffer>;
  layers: number;
  /** Per splat x, y, z, for sorting. */
  positions: Float32Array<ArrayBuffer>;
}

/** Coefficients a colour above degree 0. */
export function restCount(degree: number): number {
  return (degree + 1) * (degree + 1) - 1;
}

/** Pictures of 16 bytes a splat that hold the SH bytes of one splat. */
export function layerCount(degree: number): number {
  return Math.ceil((3 * restCount(degree)) / 16);
}

/** Bytes of the whole file after gzip. */
export function totalBytes(header: Header): number {
  return HEADER_BYTES + header.count * (20 + 3 * restCount(header.shDegree));
}

/** Throws an Error whose message is for the user. */
export function readHeader(bytes: Uint8Array): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.byteLength < HEADER_BYTES || view.getUint32(0, true) !== MAGIC) {
    throw new Error("its bytes are not an SPZ scene");
  }
  const version = view.getUint32(4, true);
  const count = view.getUint32(8, true);
  const shDegree = view.getUint8(12);
  const fractionalBits = view.getUint8(13);
  const flags = view.getUint8(14);
  if (version !== 3) throw new Error(`it is SPZ version ${version}, and this page reads version 3`);
  if (count < 1 || count > 1e7) throw new Error(`it says that it holds ${count} splats`);
  if (shDegree > 3) throw new Error(`its colours have degree ${shDegree}, and this page reads up to 3`);
  if (fractionalBits > 23) throw new Error(`its positions have ${fractionalBits} fractional bits`);
  if (flags & FLAG_EXTENSIONS) throw new Error("it uses extensions that this page does not know");
  return { count, shDegree, fractionalBits, antialias: (flags & FLAG_ANTIALIAS) !== 0 };
}

/** The whole file after gzip -> what the renderer uploads. Throws an Error where the length does not fit the header. */
export function pack(bytes: Uint8Array): Packed {
  const header = readHeader(bytes);
  const { count } = header;
  if (bytes.byteLength !== totalBytes(header)) {
    throw new Error(`it has ${bytes.byteLength} bytes where ${count} splats need ${totalBytes(header)}`);
  }
  const rows = Math.ceil(count / ROW);
  const texels = rows * ROW;
  const rest = 3 * restCount(header.shDegree);
  const layers = layerCount(header.shDegree);
  let at = HEADER_BYTES;
  const take = (size: number): Uint8Array => bytes.subarray(at, (at += size * count));
  const place = take(9);
  const alpha = take(1);
  const color = take(3);
  const scale = take(3);
  const turn = take(4);
  const sh = take(rest);

  const shape = new Uint32Array(4 * texels);
  const base = new Uint8Array(4 * texels);
  const positions = new Float32Array(3 * count);
  const unit = 2 ** -header.fractionalBits;
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < 3; k++) {
      const p = 9 * i + 3 * k;
      const fixed = place[p] | (place[p + 1] << 8) | (place[p + 2] << 16);
      shape[4 * i + k] = fixed | (scale[3 * i + k] << 24);
      positions[3 * i + k] = ((fixed << 8) >> 8) * unit;
      base[4 * i + k] = color[3 * i + k];
    }
    const r = 4 * i;
    shape[r + 3] = turn[r] | (turn[r + 1] << 8) | (turn[r + 2] << 16) | (turn[r + 3] << 24);
    base[r + 3] = alpha[i];
  }
  return { header, rows, shape, base, sh: shLayers(sh, count, rest, layers, texels), layers, positions };
}

/** Byte b of splat i goes to layer b / 16, texel i, byte b % 16. */
function shLayers(
  sh: Uint8Array,
  count: number,
  rest: number,
  layers: number,
  texels: number,
): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(16 * texels * layers);
  for (let layer = 0; layer < layers; layer++) {
    const first = 16 * layer;
    const size = Math.min(16, rest - first);
    for (let i = 0; i < count; i++) {
      const from = i * rest + first;
      const to = 16 * (layer * texels + i);
      for (let b = 0; b < size; b++) out[to + b] = sh[from + b];
    }
  }
  return out;
}
