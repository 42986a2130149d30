// SPDX-License-Identifier: Apache-2.0
// What the page and its worker say to each other.
import type { Header } from "./spz";

export type ToWorker =
  | { kind: "bytes"; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "end" }
  /** depth = forward . p + offset; `order` is a buffer to fill, given back with the answer. */
  | { kind: "sort"; forward: [number, number, number]; offset: number; near: number; order: Uint32Array<ArrayBuffer> };

export interface SceneData {
  header: Header;
  rows: number;
  layers: number;
  shape: Uint32Array<ArrayBuffer>;
  base: Uint8Array<ArrayBuffer>;
  sh: Uint8Array<ArrayBuffer>;
}

export type FromWorker =
  | { kind: "taken" }
  | { kind: "scene"; scene: SceneData }
  | { kind: "order"; order: Uint32Array<ArrayBuffer>; visible: number }
  | { kind: "failed"; reason: string };
