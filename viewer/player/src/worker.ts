// SPDX-License-Identifier: Apache-2.0
// The worker: unpacks the scene once, then sorts it by depth as often as it is asked.
import { Inflater } from "./inflate";
import type { FromWorker, ToWorker } from "./messages";
import { DepthSorter } from "./sort";
import { pack } from "./spz";

const inflater = new Inflater();
let sorter: DepthSorter | undefined;

function say(message: FromWorker, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}

function fail(error: unknown): void {
  const memory = error instanceof RangeError;
  const reason = memory ? "this device has too little memory for it" : String((error as Error).message ?? error);
  say({ kind: "failed", reason });
}

async function unpack(): Promise<void> {
  const { positions, ...scene } = pack(await inflater.end());
  sorter = new DepthSorter(positions);
  say({ kind: "scene", scene }, [scene.shape.buffer, scene.base.buffer, scene.sh.buffer]);
}

self.onmessage = (event: MessageEvent<ToWorker>) => {
  const message = event.data;
  if (message.kind === "bytes") {
    // A failed write shows at the end, with its reason.
    inflater.add(message.bytes).catch(() => undefined).finally(() => say({ kind: "taken" }));
  } else if (message.kind === "end") {
    unpack().catch(fail);
  } else if (sorter) {
    const [x, y, z] = message.forward;
    const visible = sorter.sort(x, y, z, message.offset, message.near, message.order);
    say({ kind: "order", order: message.order, visible }, [message.order.buffer]);
  }
};
