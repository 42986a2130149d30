// SPDX-License-Identifier: Apache-2.0
// Draws when something changed, and only then: a still page costs no battery.
import { type Frame, type Pose, type View, camFromWorld, viewOf } from "./camera";
import type { Controls } from "./controls";
import type { Renderer } from "./renderer";
import { Pace, stillRatio } from "./resolution";
import type { SceneWorker } from "./scene";

/** After this long without movement the picture is drawn with all its pixels. */
const STILL_MS = 160;
/** Depth order is made anew where the view turned or moved, by units of the scene; less than this cannot show. */
const SAME_ORDER = 1e-6;

export interface Picture {
  png: string;
  width: number;
  height: number;
  fx: number;
  fy: number;
  cx: number;
  cy: number;
  cam_from_world: number[][];
}

export class Player {
  private readonly pace = new Pace();
  private inFlight: { fence: WebGLSync; scale: number; at: number } | undefined;
  private running = false;
  private dirty = true;
  private last = 0;
  private movedAt = -Infinity;
  private shownPose: Pose | undefined;
  private steppedPose: Pose;
  private sortedFor: View | undefined;
  private frames = 0;
  private stopped = false;
  /** Called when the graphics have finished a frame. */
  onFrame: (frames: number) => void = () => undefined;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly renderer: Renderer,
    private readonly scene: SceneWorker,
    private readonly controls: Controls,
    private readonly frame: Frame,
    private readonly fov: number,
    private readonly touch: boolean,
  ) {
    this.steppedPose = controls.pose;
    new ResizeObserver(() => this.wake()).observe(canvas);
  }

  wake(): void {
    this.dirty = true;
    if (this.running || this.stopped) return;
    this.running = true;
    this.last = 0;
    requestAnimationFrame((now) => this.step(now));
  }

  /** While something else (a headset) draws. */
  pause(paused: boolean): void {
    this.stopped = paused;
    this.running = false;
    if (!paused) {
      this.sortedFor = undefined;
      this.wake();
    }
  }

  /** The current view with all its pixels, drawn now in its own depth order, and the camera it was drawn with. */
  async picture(): Promise<Picture> {
    const size = this.size(1);
    const view = viewOf(this.frame, this.controls.pose, this.fov, size.width, size.height);
    while (this.scene.busy) await new Promise((done) => setTimeout(done, 5));
    await new Promise<void>((done) => {
      this.scene.sort(view, (order, visible) => {
        this.renderer.setOrder(order, visible);
        done();
      });
    });
    this.resize(size);
    this.renderer.draw([{ view, x: 0, y: 0 }]);
    const png = this.canvas.toDataURL("image/png");
    const { width, height, fx, fy, cx, cy } = view;
    return { png, width, height, fx, fy, cx, cy, cam_from_world: camFromWorld(view) };
  }

  private size(scale: number): { width: number; height: number } {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    const ratio = stillRatio(devicePixelRatio, w, h, this.touch) * scale;
    return { width: Math.max(1, Math.round(w * ratio)), height: Math.max(1, Math.round(h * ratio)) };
  }

  private resize(size: { width: number; height: number }): void {
    if (this.canvas.width === size.width && this.canvas.height === size.height) return;
    this.canvas.width = size.width;
    this.canvas.height = size.height;
  }

  private step(now: number): void {
    if (this.stopped) return;
    const since = this.last ? now - this.last : 0;
    this.last = now;
    // One frame at a time: a queue of them would show old views late.
    const free = this.finished(now);
    const { controls, pace } = this;
    let goesOn = controls.tick(since / 1000);
    const { pose } = controls;
    if (pose !== this.steppedPose) this.movedAt = now;
    this.steppedPose = pose;
    const inMotion = now - this.movedAt < STILL_MS;
    const full = this.size(1);
    const scale = pace.scale(inMotion ? "moving" : "still", full.width * full.height);
    const size = this.size(scale);
    const resized = this.canvas.width !== size.width || this.canvas.height !== size.height;
    const view = viewOf(this.frame, pose, this.fov, size.width, size.height);
    this.order(view);
    if (free && (this.dirty || resized || pose !== this.shownPose) && this.sortedFor) {
      this.resize(size);
      this.renderer.draw([{ view, x: 0, y: 0 }]);
      this.inFlight = { fence: this.renderer.fence(), scale, at: now };
      this.dirty = false;
      this.shownPose = pose;
    }
    goesOn ||= inMotion || this.dirty || this.inFlight !== undefined;
    this.running = goesOn;
    if (goesOn) requestAnimationFrame((next) => this.step(next));
  }

  /** Whether no frame is being drawn. The time that one took tells how many pixels the next may have. */
  private finished(now: number): boolean {
    const { inFlight } = this;
    if (!inFlight) return true;
    if (!this.renderer.passed(inFlight.fence)) return false;
    this.inFlight = undefined;
    this.pace.took(now - inFlight.at, inFlight.scale);
    this.dirty ||= !this.pace.known;
    this.onFrame(++this.frames);
    return true;
  }

  private order(view: View): void {
    const before = this.sortedFor;
    const near = (a: number, b: number, unit = 1): boolean => Math.abs(a - b) <= SAME_ORDER * unit;
    const same = before?.rotation[2].every((x, i) => near(x, view.rotation[2][i]));
    if ((same && near(before!.translation[2], view.translation[2], this.scene.near)) || this.scene.busy) return;
    this.scene.sort(view, (order, visible) => {
      if (this.stopped) return;
      this.renderer.setOrder(order, visible);
      this.sortedFor = view;
      this.wake();
    });
  }
}
