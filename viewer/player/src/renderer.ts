// SPDX-License-Identifier: Apache-2.0
// The picture: colours of all splats from where the viewer is, then one square a splat from back to front.
import type { Vec3, View } from "./camera";
import { type GL, makeProgram, makeTexture, uniformsOf } from "./gl";
import type { SceneData } from "./messages";
import { BATCH, COVER_VERTEX, SPLAT_FRAGMENT, SPLAT_VERTEX, colorFragment } from "./shaders";
import { ROW } from "./spz";

/** Splats nearer than this to the camera plane are not drawn, in units of an ordinary scene (sparse3d/conventions.py). */
export const NEAR = 0.01;
/** The projection's Jacobian is taken inside this multiple of the field of view. */
const FOV_CLAMP = 1.3;
const UNIT = { shape: 0, base: 1, sh: 2, color: 3, order: 4 };

/** Where one view goes: lower left corner in the target. */
export interface Eye {
  view: View;
  x: number;
  y: number;
}

interface Loaded {
  colors: WebGLProgram;
  colorAt: Record<string, WebGLUniformLocation | null>;
  target: WebGLFramebuffer;
  rows: number;
  unit: number;
  antialias: boolean;
}

export class Renderer {
  private readonly splats: WebGLProgram;
  private readonly splatAt: Record<string, WebGLUniformLocation | null>;
  private readonly squares: WebGLVertexArrayObject;
  private readonly nothing: WebGLVertexArrayObject;
  private visible = 0;
  private scene: Loaded | undefined;
  private coloredFrom: Vec3 | undefined;

  /** Throws an Error for the user where the driver cannot do what is needed. */
  constructor(
    private readonly gl: GL,
    private readonly near: number,
  ) {
    this.splats = makeProgram(gl, SPLAT_VERTEX, SPLAT_FRAGMENT);
    this.splatAt = uniformsOf(gl, this.splats);
    this.nothing = gl.createVertexArray();
    this.squares = gl.createVertexArray();
    gl.bindVertexArray(this.squares);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    const square = [0, 1, 2, 2, 1, 3];
    const corners = Uint16Array.from({ length: 6 * BATCH }, (_, i) => 4 * Math.floor(i / 6) + square[i % 6]);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, corners, gl.STATIC_DRAW);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.CULL_FACE);
    gl.disable(gl.DITHER);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.clearColor(0, 0, 0, 1);
  }

  /** Takes the scene to the graphics memory; the arrays can be forgotten afterwards. */
  upload(data: SceneData): void {
    const { gl } = this;
    const { rows, layers, header } = data;
    if (rows > (gl.getParameter(gl.MAX_TEXTURE_SIZE) as number)) {
      throw new Error(`${header.count} splats are more than this device's graphics can hold`);
    }
    while (gl.getError() !== gl.NO_ERROR && !gl.isContextLost()) continue;
    makeTexture(gl, UNIT.shape, gl.RGBA32UI, ROW, rows);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ROW, rows, gl.RGBA_INTEGER, gl.UNSIGNED_INT, data.shape);
    makeTexture(gl, UNIT.base, gl.RGBA8, ROW, rows);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ROW, rows, gl.RGBA, gl.UNSIGNED_BYTE, data.base);
    if (layers) {
      makeTexture(gl, UNIT.sh, gl.RGBA32UI, ROW, rows, layers);
      const words = new Uint32Array(data.sh.buffer);
      const size = [ROW, rows, layers] as const;
      gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, ...size, gl.RGBA_INTEGER, gl.UNSIGNED_INT, words);
    }
    makeTexture(gl, UNIT.order, gl.R32UI, ROW, rows);
    const color = makeTexture(gl, UNIT.color, gl.R32UI, ROW, rows);
    const target = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, color, 0);
    const whole = gl.checkFramebufferStatus(gl.FRAMEBUFFER) === gl.FRAMEBUFFER_COMPLETE;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    if ((gl.getError() !== gl.NO_ERROR || !whole) && !gl.isContextLost()) {
      throw new Error("this device's graphics memory is too small for it");
    }
    const colors = makeProgram(gl, COVER_VERTEX, colorFragment(header.shDegree));
    const unit = 2 ** -header.fractionalBits;
    const antialias = header.antialias;
    this.scene = { colors, colorAt: uniformsOf(gl, colors), target, rows, unit, antialias };
  }

  /** What to draw, the farthest first; `order` is as long as the textures are large. */
  setOrder(order: Uint32Array<ArrayBuffer>, visible: number): void {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + UNIT.order);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ROW, Math.ceil(visible / ROW), gl.RED_INTEGER, gl.UNSIGNED_INT, order);
    this.visible = visible;
  }

  /** Draws every eye into `target` (null: the canvas), cleared first. Colours are taken from the first eye's place. */
  draw(eyes: Eye[], target: WebGLFramebuffer | null = null): void {
    const { gl, scene } = this;
    if (!scene) return;
    this.colorFrom(eyes[0].view.position, scene);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(this.splats);
    gl.bindVertexArray(this.squares);
    gl.enable(gl.BLEND);
    for (const eye of eyes) {
      gl.viewport(eye.x, eye.y, eye.view.width, eye.view.height);
      this.setView(eye.view, scene);
      gl.drawElementsInstanced(gl.TRIANGLES, 6 * BATCH, gl.UNSIGNED_SHORT, 0, Math.ceil(this.visible / BATCH));
    }
    gl.disable(gl.BLEND);
  }

  /** A mark after what was drawn so far, for `passed`. */
  fence(): WebGLSync {
    const fence = this.gl.fenceSync(this.gl.SYNC_GPU_COMMANDS_COMPLETE, 0) as WebGLSync;
    this.gl.flush();
    return fence;
  }

  /** Whether the graphics have come past the mark, which is used up then. */
  passed(fence: WebGLSync): boolean {
    const { gl } = this;
    if (gl.getSyncParameter(fence, gl.SYNC_STATUS) !== gl.SIGNALED) return false;
    gl.deleteSync(fence);
    return true;
  }

  private setView(view: View, scene: Loaded): void {
    const { gl, splatAt: at } = this;
    const { fx, fy, cx, cy, width, height } = view;
    const [mx, my] = [((FOV_CLAMP - 1) * 0.5 * width) / fx, ((FOV_CLAMP - 1) * 0.5 * height) / fy];
    gl.uniform1i(at.uShape, UNIT.shape);
    gl.uniform1i(at.uBase, UNIT.base);
    gl.uniform1i(at.uColor, UNIT.color);
    gl.uniform1i(at.uOrder, UNIT.order);
    gl.uniform1ui(at.uVisible, this.visible);
    gl.uniformMatrix3fv(at.uRotation, true, view.rotation.flat());
    gl.uniform3fv(at.uTranslation, view.translation);
    gl.uniform4f(at.uFocal, fx, fy, cx, cy);
    gl.uniform2f(at.uSize, width, height);
    gl.uniform4f(at.uLimits, -cx / fx - mx, (width - cx) / fx + mx, -cy / fy - my, (height - cy) / fy + my);
    gl.uniform1f(at.uUnit, scene.unit);
    gl.uniform1f(at.uNear, this.near);
    gl.uniform1i(at.uAntialias, scene.antialias ? 1 : 0);
  }

  private colorFrom(viewer: Vec3, scene: Loaded): void {
    const { gl } = this;
    if (this.coloredFrom?.every((x, i) => x === viewer[i])) return;
    gl.bindFramebuffer(gl.FRAMEBUFFER, scene.target);
    gl.viewport(0, 0, ROW, scene.rows);
    gl.useProgram(scene.colors);
    gl.bindVertexArray(this.nothing);
    gl.uniform1i(scene.colorAt.uShape, UNIT.shape);
    gl.uniform1i(scene.colorAt.uBase, UNIT.base);
    gl.uniform1i(scene.colorAt.uSh, UNIT.sh);
    gl.uniform3fv(scene.colorAt.uViewer, viewer);
    gl.uniform1f(scene.colorAt.uUnit, scene.unit);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    this.coloredFrom = viewer;
  }
}
