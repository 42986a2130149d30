// SPDX-License-Identifier: Apache-2.0
// The page's side of the worker.
import code from "virtual:worker";
import type { View } from "./camera";
import type { FromWorker, SceneData, ToWorker } from "./messages";
import { feed } from "./payload";
import { ROW } from "./spz";

type Sorted = (order: Uint32Array<ArrayBuffer>, visible: number) => void;

export class SceneWorker {
  /** Splats nearer than this to the camera plane are not sorted, in scene units. */
  near = 0;
  private readonly worker: Worker;
  /** Of the pieces on their way, the oldest first. */
  private readonly taken: (() => void)[] = [];
  private sorted: Sorted | undefined;
  private order: Uint32Array<ArrayBuffer> | undefined;
  private finish: ((scene: SceneData) => void) | undefined;
  private fail: (error: Error) => void = () => undefined;

  constructor() {
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    this.worker = new Worker(url);
    this.worker.onmessage = (event: MessageEvent<FromWorker>) => this.hear(event.data);
    this.worker.onerror = () => this.fail(new Error("the browser does not let this page work in the background"));
  }

  /** Unpacks the scene. Throws an Error with the reason, to be put into a sentence. */
  load(blocks: HTMLElement[], progress: (share: number) => void): Promise<SceneData> {
    return new Promise<SceneData>((finish, fail) => {
      this.finish = finish;
      this.fail = fail;
      const give = (bytes: Uint8Array<ArrayBuffer>): Promise<void> =>
        new Promise((taken) => {
          this.taken.push(taken);
          this.say({ kind: "bytes", bytes }, [bytes.buffer]);
        });
      feed(blocks, give, progress).then(() => this.say({ kind: "end" }), fail);
    });
  }

  /** Whether the order for an earlier view is still being made. */
  get busy(): boolean {
    return this.sorted !== undefined;
  }

  /** Asks for the order of the view's depths; not while busy. */
  sort(view: View, sorted: Sorted): void {
    if (!this.order) return;
    this.sorted = sorted;
    const message = { kind: "sort", forward: view.rotation[2], offset: view.translation[2], near: this.near } as const;
    this.say({ ...message, order: this.order }, [this.order.buffer]);
  }

  private say(message: ToWorker, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer);
  }

  private hear(message: FromWorker): void {
    if (message.kind === "taken") this.taken.shift()?.();
    else if (message.kind === "failed") this.fail(new Error(message.reason));
    else if (message.kind === "scene") {
      this.order = new Uint32Array(message.scene.rows * ROW);
      this.finish?.(message.scene);
    } else {
      const { sorted } = this;
      this.order = message.order;
      this.sorted = undefined;
      sorted?.(message.order, message.visible);
    }
  }
}
