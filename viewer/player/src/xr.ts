// SPDX-License-Identifier: Apache-2.0
// Stereo in a headset (WebXR, immersive-vr). One order of depths serves both eyes; each eye has its own projection.
import { type Frame, type Pose, type Vec3, add, axes, dot, scaled } from "./camera";
import type { GL } from "./gl";
import type { Eye, Renderer } from "./renderer";
import type { SceneWorker } from "./scene";

/** Whether the button is shown: a headset can answer, and the page is in a place where browsers allow it. */
export async function headsetThere(): Promise<boolean> {
  if (!isSecureContext || !navigator.xr) return false;
  return navigator.xr.isSessionSupported("immersive-vr").catch(() => false);
}

/** From the headset's room into the scene: the room's -z is the pose's level forward, `metre` scene units a metre. */
export class Room {
  private readonly side: [Vec3, Vec3, Vec3];

  constructor(
    frame: Frame,
    private readonly pose: Pose,
    private readonly metre: number,
  ) {
    const [right, , forward] = axes(frame, { ...pose, pitch: 0 });
    this.side = [right, frame.up, scaled(forward, -1)];
  }

  direction(v: Vec3): Vec3 {
    const [right, up, back] = this.side;
    return add(add(scaled(right, v[0]), up, v[1]), back, v[2]);
  }

  place(v: Vec3): Vec3 {
    return add(this.pose.position, this.direction(v), this.metre);
  }

  /** matrix: the eye in the room, columns; projection: column-major, as WebXR gives both. */
  eye(matrix: Float32Array, projection: Float32Array, x: number, y: number, width: number, height: number): Eye {
    const column = (k: number, sign: number): Vec3 =>
      this.direction([sign * matrix[4 * k], sign * matrix[4 * k + 1], sign * matrix[4 * k + 2]]);
    const rotation: [Vec3, Vec3, Vec3] = [column(0, 1), column(1, -1), column(2, -1)];
    const position = this.place([matrix[12], matrix[13], matrix[14]]);
    const translation = rotation.map((row) => -dot(row, position)) as Vec3;
    const [fx, fy] = [(projection[0] * width) / 2, (projection[5] * height) / 2];
    // x/w of OpenGL's clip space is (P0 x + P8 z) / -z: an eye's axis is off the middle by P8 and P9.
    const [cx, cy] = [((1 - projection[8]) * width) / 2, ((1 + projection[9]) * height) / 2];
    return { x, y, view: { rotation, translation, position, fx, fy, cx, cy, width, height } };
  }
}

/** Starts a session; `metre`: scene units a metre of the room. Resolves when the viewer has left it. */
export async function enter(
  gl: GL,
  renderer: Renderer,
  scene: SceneWorker,
  frame: Frame,
  pose: Pose,
  metre: number,
): Promise<void> {
  const session = await (navigator.xr as XRSystem).requestSession("immersive-vr");
  await gl.makeXRCompatible();
  const layer = new XRWebGLLayer(session, gl, { antialias: false, depth: false, stencil: false });
  await session.updateRenderState({ baseLayer: layer });
  const space = await session.requestReferenceSpace("local");
  const room = new Room(frame, pose, metre);
  const step: XRFrameRequestCallback = (_, xrFrame) => {
    session.requestAnimationFrame(step);
    const seen = xrFrame.getViewerPose(space);
    if (!seen) return;
    const eyes = seen.views.map((v) => {
      const port = layer.getViewport(v) as XRViewport;
      return room.eye(v.transform.matrix, v.projectionMatrix, port.x, port.y, port.width, port.height);
    });
    if (!scene.busy) scene.sort(eyes[0].view, (order, visible) => renderer.setOrder(order, visible));
    renderer.draw(eyes, layer.framebuffer);
  };
  session.requestAnimationFrame(step);
  await new Promise<void>((left) => session.addEventListener("end", () => left()));
}
