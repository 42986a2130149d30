// SPDX-License-Identifier: Apache-2.0
// The page: scene out of its data blocks, first picture, controls.
import { type StartCamera, startPose } from "./camera";
import { Controls, type Mode } from "./controls";
import { Player } from "./player";
import { Limits, type Reach } from "./reach";
import { NEAR, Renderer } from "./renderer";
import { SceneWorker } from "./scene";
import { byId, heeds, setState, showFailure, showHint, showProgress, wireBar } from "./ui";
import { enter, headsetThere } from "./xr";

/** What the exporter says about the scene; see sparse3d/formats/html.py. */
interface Meta {
  camera: StartCamera;
  /** Where the photos looked from; null where none are known. */
  reach: Reach | null;
  /** Scene units a metre in a headset. */
  metre: number;
  /** What one unit of an ordinary scene is here: lengths that are world units elsewhere are multiples of it. */
  unit: number;
}

const NO_WEBGL =
  "This scene needs WebGL 2, which this browser does not offer: it may be switched off, or the graphics driver " +
  "blocked. Another browser, or one with hardware acceleration switched on, will show it.";
const LOST =
  "The browser took the graphics memory away from this page, as phones do when it runs short. Load the page again; " +
  "closing other tabs helps.";

function openContext(canvas: HTMLCanvasElement): WebGL2RenderingContext | null {
  const options = { alpha: false, antialias: false, depth: false, stencil: false, powerPreference: "high-performance" };
  return canvas.getContext("webgl2", options) as WebGL2RenderingContext | null;
}

async function main(): Promise<void> {
  const meta = JSON.parse(byId("meta").textContent as string) as Meta;
  const canvas = byId<HTMLCanvasElement>("view");
  const touch = matchMedia("(pointer: coarse)").matches;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  // First of all, so that the worker unpacks while the browser starts its graphics.
  const scene = new SceneWorker();
  const blocks = [...document.querySelectorAll<HTMLElement>("script[data-scene]")];
  showProgress("Unpacking 0 %", 0);
  const loading = scene.load(blocks, (share) => {
    showProgress(share < 1 ? `Unpacking ${Math.round(share * 100)} %` : "Nearly there", share < 1 ? share : undefined);
  });
  // What goes wrong is said below, after what the graphics have to say.
  loading.catch(() => undefined);
  const gl = openContext(canvas);
  if (!gl) {
    showFailure(NO_WEBGL);
    return;
  }
  canvas.addEventListener("webglcontextlost", (e) => {
    e.preventDefault();
    showFailure(LOST);
  });
  scene.near = NEAR * meta.unit;
  const renderer = new Renderer(gl, scene.near);
  const data = await loading;
  renderer.upload(data);

  const { frame, pose } = startPose(meta.camera);
  const { fov } = meta.camera;
  let player: Player | undefined;
  const limits = meta.reach ? new Limits(frame, pose, meta.reach) : undefined;
  const around = { wake: () => player?.wake(), calm: () => still.matches, heeds, limits };
  const controls = new Controls(canvas, frame, pose, fov, around);
  player = new Player(canvas, renderer, scene, controls, frame, fov, touch);
  player.onFrame = (frames) => {
    document.documentElement.dataset.frames = String(frames);
    if (frames > 1) return;
    document.documentElement.dataset.firstFrameMs = String(Math.round(performance.now()));
    setState("ready");
    showHint(touch);
  };
  const { count, shDegree } = data.header;
  const setMode = (mode: Mode): void => {
    controls.mode = mode;
    player.wake();
  };
  wireBar(
    { setMode, goBack: () => controls.goBack() },
    `${count.toLocaleString("en")} splats, colours of degree ${shDegree}`,
  );
  const vr = byId("vr");
  headsetThere().then((there) => (vr.hidden = !there));
  vr.onclick = () => {
    player.pause(true);
    enter(gl, renderer, scene, frame, controls.pose, meta.metre)
      .catch(() => undefined)
      .finally(() => player.pause(false));
  };
  player.wake();
  // For tests and for people who look under the hood.
  Object.assign(window, { __sparse3d: { picture: () => player.picture(), pose: () => controls.pose } });
}

main().catch((error: Error) => showFailure(`The scene in this page cannot be shown: ${error.message}.`));
