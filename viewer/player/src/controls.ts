// SPDX-License-Identifier: Apache-2.0
// Fingers, mouse, wheel and keys -> a new pose. One finger or the left button turns, two fingers or the right button
// move, pinch and wheel come nearer. In orbit the view stays where the photos looked, or comes back there.
import { type Frame, type Pose, between, focalLength, moved, turned, zoomed } from "./camera";
import type { Limits } from "./reach";

export type Mode = "orbit" | "fly";

const KEY_TURN = 1.3;
const KEY_ZOOM = 1.4;
const WHEEL_ZOOM = 0.0012;
const GLIDE_PER_S = 6;
const RESET_S = 0.45;
/** A wheel is taken to be let go this long after its last step. */
const WHEEL_REST_MS = 250;
const HELD_KEYS = /^(Arrow(Left|Right|Up|Down)|Key[WASDQE]|Equal|Minus|Numpad(Add|Subtract)|Shift(Left|Right))$/;

export interface Surroundings {
  /** Called when something may move. */
  wake(): void;
  /** Whether the viewer asked for less motion. */
  calm(): boolean;
  /** Whether keys and wheel are for the scene and not for the page around it. */
  heeds(): boolean;
  /** How far the photos looked, where that is known. */
  limits?: Limits;
}

export class Controls {
  mode: Mode = "orbit";
  pose: Pose;
  private readonly fingers = new Map<number, { x: number; y: number }>();
  private readonly keys = new Set<string>();
  private glide = { yaw: 0, pitch: 0 };
  private lastTurn = { yaw: 0, pitch: 0, at: 0 };
  private reset: { from: Pose; t: number } | undefined;
  private wheelAt = -Infinity;
  private untouched: Pose;
  private readonly scale: number;

  constructor(
    private readonly canvas: HTMLElement,
    private readonly frame: Frame,
    private readonly first: Pose,
    private readonly fov: number,
    private readonly around: Surroundings,
  ) {
    this.pose = first;
    this.untouched = first;
    this.scale = first.distance;
    canvas.addEventListener("pointerdown", (e) => this.down(e));
    canvas.addEventListener("pointermove", (e) => this.move(e));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"] as const) {
      canvas.addEventListener(end, (e) => this.up(e));
    }
    canvas.addEventListener("contextmenu", (e) => e.preventDefault());
    canvas.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    addEventListener("keydown", (e) => this.key(e));
    addEventListener("keyup", (e) => this.keys.delete(e.code));
    for (const place of [window, canvas]) place.addEventListener("blur", () => this.keys.clear());
  }

  /** Back to the first view, in one move unless the viewer asked for less motion. */
  goBack(): void {
    this.glide = { yaw: 0, pitch: 0 };
    if (this.around.calm()) this.pose = this.first;
    else this.reset = { from: this.pose, t: 0 };
    this.around.wake();
  }

  /** Lets time pass; returns whether something goes on moving by itself. */
  tick(seconds: number): boolean {
    const dt = Math.min(seconds, 0.1);
    if (this.reset) {
      this.reset.t = Math.min(1, this.reset.t + dt / RESET_S);
      const t = this.reset.t;
      this.pose = between(this.reset.from, this.first, t * t * (3 - 2 * t));
      if (t === 1) {
        this.pose = this.first;
        this.reset = undefined;
      }
      return true;
    }
    if (this.limits && this.limits.beyond(this.pose) > 0) this.glide = { yaw: 0, pitch: 0 };
    const speed = Math.hypot(this.glide.yaw, this.glide.pitch);
    if (speed > 0.01 && this.fingers.size === 0) {
      this.turn(this.glide.yaw * dt, this.glide.pitch * dt);
      const kept = Math.exp(-GLIDE_PER_S * dt);
      this.glide = { yaw: this.glide.yaw * kept, pitch: this.glide.pitch * kept };
    }
    const keys = this.useKeys(dt);
    return this.easeBack(dt, keys) || keys || speed > 0.01;
  }

  /** In orbit only: who flies may go anywhere. */
  private get limits(): Limits | undefined {
    return this.mode === "orbit" ? this.around.limits : undefined;
  }

  /** Returns whether there is a way back to go, now or when the hand lets go. */
  private easeBack(dt: number, held: boolean): boolean {
    if (!this.limits || this.fingers.size > 0 || held) return false;
    if (performance.now() - this.wheelAt < WHEEL_REST_MS) return this.limits.beyond(this.pose) > 0;
    const next = this.around.calm() ? this.limits.nearest(this.pose) : this.limits.eased(this.pose, dt);
    if (this.limits.beyond(this.pose) === 0) return false;
    this.pose = next;
    return true;
  }

  /** Where the hand moved the view, or less far where no photo looked. */
  private go(pose: Pose): void {
    this.pose = this.limits ? this.limits.resisted(this.pose, pose) : pose;
  }

  private turn(yaw: number, pitch: number): void {
    this.go(turned(this.frame, this.pose, yaw, pitch, this.mode === "orbit" ? "pivot" : "self"));
  }

  private zoom(factor: number): void {
    if (this.mode === "orbit") {
      this.go(zoomed(this.frame, this.pose, factor, this.scale * 0.02, this.scale * 50));
    } else this.go(moved(this.frame, this.pose, 0, 0, -Math.log(factor) * this.scale));
  }

  /** CSS pixels of the whole view an angle of one radian takes. */
  private focal(): number {
    return focalLength(this.fov, this.canvas.clientWidth, this.canvas.clientHeight);
  }

  private down(e: PointerEvent): void {
    this.canvas.setPointerCapture(e.pointerId);
    this.canvas.focus({ preventScroll: true });
    if (this.fingers.size === 0) this.untouched = this.pose;
    this.fingers.set(e.pointerId, { x: e.clientX, y: e.clientY });
    this.glide = { yaw: 0, pitch: 0 };
    this.reset = undefined;
    this.around.wake();
  }

  private up(e: PointerEvent): void {
    if (!this.fingers.delete(e.pointerId)) return;
    const fresh = performance.now() - this.lastTurn.at < 60;
    // The browser took the gesture for itself, to scroll the page: it was not meant for the scene.
    if (e.type === "pointercancel") this.pose = this.untouched;
    else if (this.fingers.size === 0 && fresh && !this.around.calm()) this.glide = this.lastTurn;
    this.around.wake();
  }

  private move(e: PointerEvent): void {
    const finger = this.fingers.get(e.pointerId);
    if (!finger) return;
    const before = [...this.fingers.values()].map((f) => ({ ...f }));
    const [dx, dy] = [e.clientX - finger.x, e.clientY - finger.y];
    finger.x = e.clientX;
    finger.y = e.clientY;
    if (before.length === 1) this.drag(dx, dy, e);
    else if (before.length === 2) this.pinch(before, [...this.fingers.values()]);
    this.around.wake();
  }

  private drag(dx: number, dy: number, e: PointerEvent): void {
    if (e.buttons & 6 || e.shiftKey) {
      this.pan(dx, dy);
      return;
    }
    // Orbit: half a turn over the shorter side; fly: the picture follows the finger.
    const orbit = this.mode === "orbit";
    const side = Math.min(this.canvas.clientWidth, this.canvas.clientHeight);
    const angle = orbit ? Math.PI / side : -1 / this.focal();
    this.turn(dx * angle, -dy * angle);
    const now = performance.now();
    const seconds = Math.max(0.008, Math.min(0.1, (now - this.lastTurn.at) / 1000));
    this.lastTurn = { yaw: (dx * angle) / seconds, pitch: (-dy * angle) / seconds, at: now };
  }

  private pan(dx: number, dy: number): void {
    const k = this.pose.distance / this.focal();
    this.go(moved(this.frame, this.pose, -dx * k, -dy * k, 0));
  }

  private pinch(before: { x: number; y: number }[], after: { x: number; y: number }[]): void {
    const apart = (f: { x: number; y: number }[]): number => Math.hypot(f[0].x - f[1].x, f[0].y - f[1].y);
    const middle = (f: { x: number; y: number }[]): number[] => [(f[0].x + f[1].x) / 2, (f[0].y + f[1].y) / 2];
    const [a, b] = [middle(before), middle(after)];
    this.pan(b[0] - a[0], b[1] - a[1]);
    if (apart(before) > 0 && apart(after) > 0) this.zoom(apart(before) / apart(after));
  }

  private wheel(e: WheelEvent): void {
    // Over a page that scrolls, only a pinch or a scene that was clicked takes the wheel.
    if (!e.ctrlKey && !this.around.heeds()) return;
    e.preventDefault();
    this.wheelAt = performance.now();
    const lines = e.deltaMode === 1 ? 16 : e.deltaMode === 2 ? 400 : 1;
    // Trackpads send a pinch as a wheel with Ctrl, in small steps.
    const delta = Math.max(-240, Math.min(240, e.deltaY * lines * (e.ctrlKey ? 6 : 1)));
    this.reset = undefined;
    this.zoom(Math.exp(delta * WHEEL_ZOOM));
    this.around.wake();
  }

  private key(e: KeyboardEvent): void {
    if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
    if (!this.around.heeds()) return;
    if (HELD_KEYS.test(e.code)) {
      if (!e.code.startsWith("Shift")) e.preventDefault();
      this.keys.add(e.code);
      this.reset = undefined;
      this.around.wake();
    }
  }

  private useKeys(dt: number): boolean {
    const held = (...codes: string[]): number => (codes.some((c) => this.keys.has(c)) ? 1 : 0);
    const yaw = held("ArrowRight") - held("ArrowLeft");
    const pitch = held("ArrowUp") - held("ArrowDown");
    const side = this.mode === "orbit" ? -1 : 1;
    if (yaw || pitch) this.turn(yaw * side * KEY_TURN * dt, pitch * side * KEY_TURN * dt);
    const zoom = held("Minus", "NumpadSubtract") - held("Equal", "NumpadAdd");
    if (zoom) this.zoom(Math.exp(zoom * KEY_ZOOM * dt));
    const step = 0.5 * this.scale * dt * (held("ShiftLeft", "ShiftRight") ? 3 : 1);
    const [x, y, z] = [held("KeyD") - held("KeyA"), held("KeyQ") - held("KeyE"), held("KeyW") - held("KeyS")];
    if (x || y || z) this.go(moved(this.frame, this.pose, x * step, y * step, z * step));
    return Boolean(yaw || pitch || zoom || x || y || z);
  }
}
